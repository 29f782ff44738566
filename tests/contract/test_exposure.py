"""Predictions with offset and exposure over HTTP, and adjusted ones beside them."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.config import Config
from app.factory import create_app
from app.services import Services
from tests.conftest import Caller, Site
from tests.insurance import FEATURES, Policy, people

FRAME = people(12, seed=11)
BOTH_LAYOUTS = pytest.mark.parametrize("layout", ["legacy", "serverless"])


@pytest.fixture(scope="module")
def insured(
    insurance: Mapping[str, Policy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """Asks a server over a store of its own, which the command line filled."""
    home = tmp_path_factory.mktemp("insured") / "home"
    runner = CliRunner(env={"FORETELL_HOME": str(home)})

    def run(*arguments: str) -> str:
        result = runner.invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    run("user", "add", "ann@example.com", "--admin")
    token = run("token", "create", "ann@example.com").splitlines()[0]
    deployments = {
        name: run("deploy", str(policy.bundle), "--label", name)
        for name, policy in insurance.items()
    }
    ruled = run("deploy", str(insurance["claims"].bundle), "--label", "ruled")
    outlying = ("--outlying", "age", "--lower", "0", "--upper", "60")
    run("humility", ruled, "add", *outlying, "--override", "7.5")
    deployments["ruled"] = ruled
    chances = run("deploy", str(insurance["fraud"].bundle), "--label", "chances")
    run("update", chances, "--set", "shap_output=probability")
    deployments["chances"] = chances
    app = create_app(Config(home=home))
    services: Services = app.extensions["foretell"]
    services.refresh()
    site = Site(Path(home), {}, {"ann@example.com": token}, deployments)
    yield Caller(services, app.test_client(), site)
    services.close()


def records(frame: pd.DataFrame = FRAME) -> list[dict[str, Any]]:
    plain = frame.astype({"town": object})
    found: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return found


def sent(way: str, frame: pd.DataFrame = FRAME) -> tuple[Any, str]:
    """A body and its type."""
    text = frame.to_csv(index=False).encode()
    if way == "json":
        return json.dumps(records(frame)).encode(), "application/json"
    if way == "multipart":
        return {"file": (io.BytesIO(text), "rows.csv")}, "multipart/form-data"
    return text, "text/csv"


def rows_of(insured: Caller, name: str, way: str = "json", **asked: Any) -> Any:
    answer = insured(name, *sent(way), **asked)
    assert answer.status_code == 200, answer.data
    return answer.json["data"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["claims", "costs", "price", "fraud"])
@BOTH_LAYOUTS
def test_every_way_of_sending_rows_answers_as_the_booster_by_hand(
    insured: Caller, insurance: Mapping[str, Policy], name: str, layout: str
) -> None:
    policy = insurance[name]
    ways = [rows_of(insured, name, way, layout=layout) for way in ("json", "csv")]
    ways.append(rows_of(insured, name, "multipart", layout=layout))
    assert ways[0] == ways[1] == ways[2]
    values = [row["predictionValues"][0]["value"] for row in ways[0]]
    np.testing.assert_allclose(values, policy.expected(FRAME), rtol=0, atol=0.51e-10)
    model_id = policy.model.id
    assert insured.services.models.engine(model_id) == "trees"


def test_large_body_is_answered_as_a_small_one(
    insured: Caller, insurance: Mapping[str, Policy]
) -> None:
    frame = people(40_000, seed=2)
    body = frame.to_csv(index=False).encode()
    answer = insured("costs", body, headers={"Accept": "text/csv"})
    scored = pd.read_csv(io.BytesIO(answer.data))["target_PREDICTION"]
    expected = insurance["costs"].expected(frame)
    np.testing.assert_allclose(scored, expected, rtol=0, atol=0.51e-10)


@BOTH_LAYOUTS
@pytest.mark.parametrize("told", ["false", "0", "OFF"])
@pytest.mark.parametrize("name", ["claims", "costs"])
def test_adjusted_predictions_are_per_unit_of_exposure(
    insured: Caller, name: str, layout: str, told: str
) -> None:
    query = f"excludeAdjustedPredictions={told}"
    rows = rows_of(insured, name, query=query, layout=layout)
    for row, years in zip(rows, FRAME["years"], strict=True):
        assert list(row)[-2:] == ["adjustedPrediction", "adjustedPredictionValues"]
        assert row["adjustedPrediction"] == pytest.approx(
            row["prediction"] / years, abs=1e-9
        )
        assert row["adjustedPredictionValues"] == [
            {"value": row["adjustedPrediction"], "label": "target"}
        ]


@BOTH_LAYOUTS
@pytest.mark.parametrize("query", ["", "excludeAdjustedPredictions=true"])
def test_adjusted_predictions_are_left_out_unless_asked_for(
    insured: Caller, layout: str, query: str
) -> None:
    for row in rows_of(insured, "claims", query=query, layout=layout):
        assert list(row) == ["predictionValues", "prediction", "rowId"]


@pytest.mark.parametrize("name", ["price", "fraud"])
def test_models_without_exposure_have_no_adjusted_predictions(
    insured: Caller, name: str
) -> None:
    plain = rows_of(insured, name)
    assert rows_of(insured, name, query="excludeAdjustedPredictions=false") == plain


@BOTH_LAYOUTS
@pytest.mark.parametrize("garbage", ["maybe", "", "2", "null"])
def test_garbage_is_refused_in_the_documented_words(
    insured: Caller, layout: str, garbage: str
) -> None:
    answer = insured(
        *("claims", *sent("json")),
        query=f"excludeAdjustedPredictions={garbage}",
        layout=layout,
    )
    assert answer.status_code == 422
    assert answer.json == {
        "message": "{'exclude_adjusted_predictions':"
        " DataError(value can't be converted to Bool)}"
    }


def test_adjusted_keys_stand_behind_all_others(insured: Caller) -> None:
    query = "excludeAdjustedPredictions=false&passthroughColumns=years"
    query += "&predictionWarningEnabled=true&maxExplanations="
    for algorithm in ("2", "2&explanationAlgorithm=shap"):
        row = rows_of(insured, "claims", query=query + algorithm)[3]
        keys = list(row)
        assert keys[-2:] == ["adjustedPrediction", "adjustedPredictionValues"]
        assert {"passthroughValues", "predictionExplanations"} <= set(keys)
        assert row["passthroughValues"] == {"years": FRAME["years"][3]}
        assert row["adjustedPrediction"] == pytest.approx(
            row["prediction"] / FRAME["years"][3], abs=1e-9
        )


def test_decimals_hold_for_adjusted_predictions(insured: Caller) -> None:
    query = "excludeAdjustedPredictions=false&decimalsNumber="
    exact = rows_of(insured, "claims", query=query + "20")
    short = rows_of(insured, "claims", query=query + "2")
    for row, full in zip(short, exact, strict=True):
        assert row["adjustedPrediction"] == round(full["adjustedPrediction"], 2)


def test_csv_has_no_column_of_adjusted_predictions(insured: Caller) -> None:
    query = "excludeAdjustedPredictions=false"
    headers = {"Accept": "text/csv"}
    answer = insured("claims", *sent("csv"), query=query, headers=headers)
    assert answer.data.splitlines()[0] == b"target_PREDICTION"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("claims", {"years": None}, "column 'years', row 1: a value is missing"),
        ("claims", {"years": 0}, "column 'years', row 1: a finite number above 0"),
        ("claims", {"years": "long"}, "column 'years', row 1: a number is expected"),
        ("price", {"grade": None}, "column 'grade', row 1: a value is missing"),
        ("fraud", {"grade": []}, "column 'grade', row 1: a number is expected"),
    ],
)
def test_row_without_offset_or_exposure_is_refused(
    insured: Caller, name: str, change: dict[str, Any], said: str
) -> None:
    rows = records()[:3]
    rows[1] |= change
    answer = insured(name, json.dumps(rows), "application/json")
    assert answer.status_code == 422 and said in answer.json["message"]  # type: ignore[index]


def test_request_without_the_column_is_refused(insured: Caller) -> None:
    body = FRAME.drop(columns="years").to_csv(index=False)
    answer = insured("claims", body)
    assert answer.status_code == 422
    assert "not in the data: 'years'" in answer.json["message"]  # type: ignore[index]


def test_prediction_beyond_all_numbers_names_its_row(insured: Caller) -> None:
    rows = records()[:2]
    rows[1]["grade"] = 1e6
    answer = insured("costs", json.dumps(rows), "application/json")
    assert answer.status_code == 422
    assert "1" in answer.json["message"]  # type: ignore[index]


def test_overridden_prediction_is_adjusted_as_it_is_told(insured: Caller) -> None:
    query = "excludeAdjustedPredictions=false"
    rows = rows_of(insured, "ruled", query=query)
    is_old = FRAME["age"] > 60
    assert is_old.any() and not is_old.all()
    for row, own, years, old in zip(
        *(rows, rows_of(insured, "claims", query=query), FRAME["years"], is_old),
        strict=True,
    ):
        keys = ["adjustedPrediction", "adjustedPredictionValues"]
        assert list(row)[3:] == (["humility"] if old else []) + keys
        assert row["adjustedPredictionValues"] == own["adjustedPredictionValues"]
        assert row["adjustedPrediction"] == pytest.approx(
            7.5 / years if old else own["adjustedPrediction"], abs=1e-9
        )


@pytest.mark.parametrize("name", ["claims", "costs", "price", "fraud"])
def test_shap_adds_up_to_what_the_trees_alone_say(
    insured: Caller, insurance: Mapping[str, Policy], name: str
) -> None:
    policy = insurance[name]
    margins = np.asarray(
        policy.booster.predict(FRAME[FEATURES], raw_score=True, num_threads=1)
    )
    if policy.model.task == "binary":
        margins = -margins
    rows = rows_of(insured, name, query="explanationAlgorithm=shap&maxExplanations=1")
    for row, total in zip(rows, margins.tolist(), strict=True):
        metadata = row["shapExplanationsMetadata"]
        assert metadata["warnings"] is None
        strengths = [each["strength"] for each in row["predictionExplanations"]]
        added = sum(strengths, metadata["baseValue"] + metadata["remainingTotal"])
        assert added == pytest.approx(total, abs=1e-9)


def test_shap_of_a_probability_with_an_offset_is_refused(insured: Caller) -> None:
    query = "explanationAlgorithm=shap"
    answer = insured("chances", *sent("json"), query=query)
    assert answer.status_code == 422
    assert "shap_output=margin" in answer.json["message"]  # type: ignore[index]
