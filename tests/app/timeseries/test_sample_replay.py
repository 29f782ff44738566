"""A bundle whose rows do not become the forecasts that they became is refused."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.bundling import PackagingRefused
from app.config import Config
from app.timeseries.card import TimeSeriesOptions
from app.timeseries.packaging import package
from app.timeseries.sample_replay import read_answer
from app.validation import validate
from backends import bundle
from backends.bundle import BundleRejected
from backends.model import Model
from tests.forecasts import Forecaster, as_csv
from tests.training_files import write_training_files

CONFIG = Config()


def make(folder: Path, made: Forecaster, **changes: Any) -> Path:
    """Package a forecaster, its spec changed."""
    given = write_training_files(folder, made, **changes)
    return package(TimeSeriesOptions(**given), CONFIG).folder


def bundle_card(folder: Path) -> Model:
    """What a changed model.json says."""
    card = json.loads((folder / bundle.CARD).read_text())
    for key in ("files", "checksum"):
        del card[key]
    return Model.from_json(card, "")


def refused(folder: Path) -> str:
    """What validation says of a changed bundle, summed up anew."""
    bundle.write(folder, bundle_card(folder))
    with pytest.raises(BundleRejected) as error:
        validate(folder, CONFIG)
    return str(error.value)


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Change a file of JSON."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["stores", "jobs", "by-distance", "onnx-power"])
def test_other_forecast_is_named_with_its_row(
    again: Callable[[str], Path], name: str
) -> None:
    folder = again(name)
    data = json.loads((folder / "sample_expected.json").read_text())["data"]
    row, value = data[1]["rowId"], data[1]["prediction"]

    def edit(answer: Any) -> None:
        answer["data"][1]["prediction"] = value * 1.001

    change(folder / "sample_expected.json", edit)
    said = refused(folder)
    shown = str(value)[:5]
    assert f"the forecast 1 of sample.csv, of row {row}, differs: {shown}" in said
    assert f"instead of {value * 1.001}" in said


@pytest.mark.parametrize("label", ["dry", "wet"])
def test_other_probability_is_noticed(again: Callable[[str], Path], label: str) -> None:
    folder = again("weather")

    def edit(answer: Any) -> None:
        told = answer["data"][0]["predictionValues"]
        next(each for each in told if each["label"] == label)["value"] += 1e-4

    change(folder / "sample_expected.json", edit)
    assert "the forecast 0 of sample.csv" in refused(folder)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("sales", ["features", 3, "ddof"], 0),
        ("sales", ["features", 2, "window"], 8),
        ("sales", ["targetTransform"], [{"op": "log1p"}]),
        ("stores", ["targetTransform", 0, "period"], 6),
        ("stores", ["features", 4, "categories"], ["007", "north", '12, "b"']),
        ("jobs", ["features", 1, "offset"], -1),
        ("jobs", ["targetTransform", 1, "period"], 11),
        ("weather", ["features", 3, "window"], 1),
        ("onnx-power", ["features", 2, "offset"], -10),
        ("by-distance", ["features", 1, "period"], 6),
    ],
)
def test_other_derivation_is_noticed(
    again: Callable[[str], Path], name: str, path: list[Any], value: Any
) -> None:
    folder = again(name)

    def edit(card: Any) -> None:
        found = card["time_series"]
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    change(folder / bundle.CARD, edit)
    assert "of sample.csv" in refused(folder)


def test_request_that_is_refused_is_told(again: Callable[[str], Path]) -> None:
    folder = again("stores")
    lines = (folder / "sample.csv").read_text().splitlines(keepends=True)
    (folder / "sample.csv").write_text(lines[0] + "".join(lines[2:]))
    said = refused(folder)
    assert "sample.csv cannot be forecast from: The following errors are found" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("change_to", "words"),
    [
        ({"rowId": 3}, "has the row id 14, not 3"),
        ({"forecastDistance": 2}, "has the distance 1, not 2"),
        ({"seriesId": "12"}, "has the series north, not 12"),
        ({"timestamp": "2021-01-01T00:00:00.000000Z"}, "has the timestamp 2021"),
    ],
)
def test_other_rows_are_told_apart(
    again: Callable[[str], Path], change_to: dict[str, Any], words: str
) -> None:
    folder = again("stores")
    change(
        folder / "sample_expected.json",
        lambda answer: answer["data"][0].update(change_to),
    )
    assert words in refused(folder)


def test_forecasts_are_as_many_as_expected(again: Callable[[str], Path]) -> None:
    folder = again("stores")
    change(folder / "sample_expected.json", lambda answer: answer["data"].pop())
    assert "is answered with 9 forecasts, 8 are expected" in refused(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"data": []}', '{"data": [1]}', '{"data": [{"rowId": 1}]}'],
)
def test_answer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected.json"):
        read_answer(text.encode(), "expected.json")


# ---- The author's own sample


def given_answer(made: Forecaster, folder: Path) -> list[dict[str, Any]]:
    """A request for the end of the data, and what the booster and pandas say."""
    rows = made.request(history=20)
    (folder / "mine.csv").write_bytes(as_csv(rows))
    known = {(row["store"], row["day"]): float(row["sold"]) for row in made.rows}
    answers = made.answers()
    expected = []
    for row_id, row in enumerate(rows):
        if row["sold"]:
            continue
        label, time = row["store"], made.time(row)
        distance = len([each for each in expected if each["store"] == label]) + 1
        before = (time - timedelta(days=7)).strftime("%Y-%m-%d")
        value = answers[label, time, distance][0] + known[label, before]
        expected.append(
            {"rowId": row_id, "prediction": round(value, 6), "store": label}
        )
    return expected


def test_sample_of_the_author_is_taken_along(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    expected = given_answer(forecasters["stores"], tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps({"data": expected}))
    names = {"request": "mine.csv", "expected": "mine.json"}
    folder = make(tmp_path, forecasters["stores"], goldenSample=names)
    assert validate(folder, CONFIG).forecasts == 18
    files = {path.name for path in folder.iterdir()}
    assert {"given_sample.csv", "given_sample_expected.json"} <= files


def test_sample_of_the_author_has_to_agree(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    expected = given_answer(forecasters["stores"], tmp_path)
    expected[4]["prediction"] += 0.01
    (tmp_path / "mine.json").write_text(json.dumps({"data": expected}))
    names = {"request": "mine.csv", "expected": "mine.json"}
    with pytest.raises(BundleRejected, match="forecast 4 of given_sample.csv"):
        make(tmp_path, forecasters["stores"], goldenSample=names)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"request": "mine.csv"}, "request and expected are both needed"),
        ({"request": "mine.txt", "expected": "a"}, "neither .csv nor .json"),
    ],
)
def test_sample_needs_two_files(
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
    names: dict[str, str],
    words: str,
) -> None:
    with pytest.raises(PackagingRefused, match=words):
        make(tmp_path, forecasters["stores"], goldenSample=names)


def test_json_request_answers_as_csv(again: Callable[[str], Path]) -> None:
    folder = again("stores")
    rows = list(csv.DictReader(io.StringIO((folder / "sample.csv").read_text())))
    cells = [{name: text or None for name, text in row.items()} for row in rows]
    (folder / "given_sample.json").write_text(json.dumps(cells))
    shutil.copy(folder / "sample_expected.json", folder / "given_sample_expected.json")
    bundle.write(folder, bundle_card(folder))
    assert validate(folder, CONFIG).forecasts == 18
