"""docs/contract.md says what the code does."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import json
import re
from pathlib import Path

import pytest

from app import errors
from app.config import Config, environment_name
from app.error_handlers import _INTERNAL, _STATUS, _UNKNOWN_URL
from backends.explanations.base import ExplanationTooSlow, NotInitialized
from backends.humility import ThrowError
from schemas import arguments, predictions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def test_every_route_is_described(app):
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            path = re.sub("<[a-z]+:", "<", rule.rule)
            path = path.replace("_id>", " id>").replace("deployment id", "id")
            assert f"{path}`" in PAGE


@pytest.mark.parametrize("name", sorted(arguments.KNOWN))
def test_every_parameter_is_described(name):
    assert re.search(rf"^\| .*`{name}`", PAGE, re.M)


def test_every_status_is_described():
    for status in {*_STATUS.values(), 405, 500}:
        assert f"\n| {status} | " in PAGE


def test_every_fixed_text_is_quoted():
    texts = [_INTERNAL, _UNKNOWN_URL]
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if len(inspect.signature(kind.__init__).parameters) == 1:
            texts.append(str(kind()))
    texts += [str(NotInitialized()), str(ExplanationTooSlow()), ThrowError().message]
    assert len(texts) > 15
    for text in texts:
        assert f"`{text}`" in PAGE, text


def raised_pieces():
    """The constant pieces of every text that an error of the application is given."""
    kinds = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    for path in (ROOT / "app").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds:
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path.name, part.value


def test_every_reason_not_to_explain_is_quoted():
    pieces = []
    for path in [*(ROOT / "app").glob("*.py"), *(ROOT / "backends").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if getattr(getattr(node, "func", None), "id", "") == "NotExplainable":
                pieces += [
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
    assert len(pieces) > 5
    for piece in pieces:
        assert piece.strip().strip("%0.") in PAGE, piece


def refusals():
    """The constant pieces of every text that refuses the rows of a time series."""
    folder = ROOT / "backends" / "timeseries"
    for node in ast.walk(ast.parse((folder / "refusals.py").read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from pieces_in(node)
    for path in [*folder.glob("*.py"), *(ROOT / "app" / "timeseries").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if name in ("ForecastTooLarge", "DataError"):
                yield from pieces_in(node)


def pieces_in(node):
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_every_refusal_of_a_forecast_is_quoted():
    pieces = list(refusals())
    assert len(pieces) > 40
    for piece in pieces:
        assert piece.strip().replace("\n", "\\n") in PAGE, piece


OFFLINE = {
    *("offline.py", "package.py", "training_data.py", "model_file.py", "golden.py"),
    *("validation.py", "reference.py"),
}


def test_every_text_of_an_error_is_quoted():
    pieces = [each for each in raised_pieces() if each[0] not in OFFLINE]
    assert len(pieces) > 20
    for file, piece in pieces:
        assert piece.strip() in PAGE, f"{file}: {piece}"


def test_every_limit_has_its_default():
    for name, shown in (
        ("max_inflation", "200"),
        ("max_rows", "5,000,000"),
        ("max_columns", "10,000"),
        ("max_pixels", "50,000,000"),
        ("request_seconds", "600"),
        ("max_in_flight", "64"),
        ("explanation_seconds", "60"),
        ("max_explanations", "5,000,000"),
        ("max_forecasts", "500,000"),
        ("max_steps", "20,000,000"),
    ):
        assert f"`{environment_name(name)}`, {shown}" in PAGE
        assert float(shown.replace(",", "")) == getattr(Config(), name)


def test_every_row_keeps_to_its_schema():
    schemas = [
        *(predictions.RegressionRow, predictions.RegressionWarningRow),
        *(predictions.BinaryRow, predictions.MulticlassRow),
        # Humility rules, an exposure; explanations of two classes, of several, and by
        # SHAP.
        *(predictions.BinaryRow, predictions.RegressionRow, predictions.BinaryRow),
        *(predictions.MulticlassRow, predictions.ShapRow),
        *(predictions.TimeSeriesRegressionRow, predictions.TimeSeriesBinaryRow),
        *(predictions.TimeSeriesMulticlassRow, predictions.TimeSeriesRegressionRow),
    ]
    for text, schema in zip(blocks("json"), schemas, strict=True):
        for row in json.loads(text)["data"]:
            assert schema().validate(row) == {}
            assert list(row) == [name for name in schema().fields if name in row]


def test_csv_samples_are_tables():
    for sample in blocks("csv"):
        header, *rows = csv.reader(io.StringIO(sample))
        assert {len(row) for row in rows} == {len(header)}
