"""Explanations of forecasts, in the words of derived features; and humility rules."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta

import numpy as np
import pytest

from backends.humility import (
    LowObservation,
    NewSeries,
    NoOperation,
    OutlyingInput,
    Override,
    Rule,
    ThrowError,
    UncertainPrediction,
)
from tests.contract.test_forecast_errors import refused
from tests.contract.test_forecasts import REGRESSION, ROUNDED, at, lines_of, rows_of
from tests.forecasts import as_csv

ALL = "maxExplanations=50"
SHAP = "explanationAlgorithm=shap"


def exemplars(each):
    """Of each explained feature its position, its values, and their weights.

    Categories as their positions, as the models take them.
    """
    content = json.loads((each.folder / "exemplars.json").read_text())
    names = [feature.name for feature in each.model.features]
    for entry in content["features"]:
        position = names.index(entry["name"])
        levels = each.model.features[position].categories or ()
        values = [
            np.nan if value is None else levels.index(value) if levels else value
            for value, _ in entry["values"]
        ]
        yield position, values, [weight for _, weight in entry["values"]]


def derived(each, row):
    """The features of a row of the answer, as training derived them."""
    pairs = each.training.pairs
    for place, position in enumerate(pairs.rows.tolist()):
        known = each.rows[position]
        if (
            each.time(known) == at(row)
            and pairs.distances[place] == row["forecastDistance"]
            and known.get(each.spec.series_id_column or "") == row["seriesId"]
        ):
            return each.training.matrix[place]
    raise AssertionError(row)


def week_before(each, row):
    """The target a week before a row: what the model's answer is added to."""
    for known in each.rows:
        if (
            each.time(known) == at(row) - timedelta(days=7)
            and known.get(each.spec.series_id_column or "") == row["seriesId"]
        ):
            return float(known[each.spec.target])
    raise AssertionError(row)


def in_units_of_sales(each, row, answers):
    return np.expm1(answers + math.log1p(week_before(each, row)))


def in_units_of_stores(each, row, answers):
    return answers + week_before(each, row)


def log_odds(each, row, answers):
    return np.log(answers / (1 - answers))


@pytest.mark.parametrize(
    ("name", "in_units"),
    [
        ("sales", in_units_of_sales),
        ("stores", in_units_of_stores),
        ("passengers", log_odds),
    ],
)
def test_strengths_are_what_substitution_changes(forecast, forecasters, name, in_units):
    each = forecasters[name]
    features = each.model.features
    for row in rows_of(forecast(name, as_csv(each.request()), query=ALL)):
        features_of_row = derived(each, row)
        expected = {}
        for position, values, weights in exemplars(each):
            rows = np.tile(features_of_row, (len(values) + 1, 1))
            rows[1:, position] = values
            said = np.asarray(each.boosters[0].predict(rows, num_threads=1))
            said = in_units(each, row, said)
            expected[features[position].name] = said[0] - np.dot(weights, said[1:])
        told = row["predictionExplanations"]
        found = {each["feature"]: each["strength"] for each in told}
        assert found == pytest.approx(expected, abs=1e-8)
        sizes = [abs(each["strength"]) for each in told]
        assert sizes == sorted(sizes, reverse=True)


def test_explanations_name_derived_features_and_their_values(forecast, forecasters):
    each = forecasters["sales"]
    body = as_csv(each.request())
    rows = rows_of(forecast("sales", body, query=ALL))
    for row in rows:
        assert list(row) == [*REGRESSION, "predictionExplanations"]
        values = dict(zip(each.spec.names, derived(each, row).tolist(), strict=True))
        values["weather (actual)"] = ("clear", "rain", "snow")[
            int(values["weather (actual)"])
        ]
        told = row["predictionExplanations"]
        assert {item["feature"]: item["featureValue"] for item in told} == values
        assert {item["label"] for item in told} == {"sales (actual)"}
    plain = rows_of(forecast("sales", body))
    for row in rows:
        del row["predictionExplanations"]
    assert rows == plain


def test_as_many_explanations_as_asked_for(forecast, forecasters):
    body = as_csv(forecasters["sales"].request())
    for row in rows_of(forecast("sales", body, query="maxExplanations=3")):
        assert len(row["predictionExplanations"]) == 3
    rows = rows_of(forecast("sales", body, query="maxExplanations=0"))
    assert "predictionExplanations" not in rows[0]


def test_explanations_in_csv_come_before_the_approval(forecast, forecasters):
    deployment = forecast.deploy(
        "sales", approval_workflow=True, prediction_intervals=True
    )
    body = as_csv(forecasters["sales"].request())
    query = "maxExplanations=2&passthroughColumns=promo&predictionWarningEnabled=1"
    rows = rows_of(forecast(deployment, body, query=query))
    lines = lines_of(
        forecast(deployment, body, query=query, headers={"Accept": "text/csv"})
    )
    told = [
        f"EXPLANATION_{number}_{what}"
        for number in (1, 2)
        for what in ("FEATURE_NAME", "STRENGTH", "ACTUAL_VALUE", "QUALITATIVE_STRENGTH")
    ]
    assert list(lines[0]) == [
        *("FORECAST_POINT", "Time", "FORECAST_DISTANCE", "sales (actual)_PREDICTION"),
        *("PREDICTION_80_PERCENTILE_LOW", "PREDICTION_80_PERCENTILE_HIGH"),
        *("IS_OUTLIER_PREDICTION", *told, "DEPLOYMENT_APPROVAL_STATUS", "promo"),
    ]
    for row, line in zip(rows, lines, strict=True):
        first = row["predictionExplanations"][0]
        assert line["EXPLANATION_1_FEATURE_NAME"] == first["feature"]
        assert float(line["EXPLANATION_1_STRENGTH"]) == first["strength"]
    assert list(rows[0]) == [
        *(*REGRESSION, "predictionIntervals", "isOutlierPrediction"),
        *("deploymentApprovalStatus", "predictionExplanations", "passthroughValues"),
    ]


def test_only_rows_beyond_the_thresholds_are_explained(forecast, forecasters):
    body = as_csv(forecasters["sales"].request())
    query = "maxExplanations=2&thresholdLow=95&thresholdHigh=115"
    rows = rows_of(forecast("sales", body, query=query))
    counts = [len(row["predictionExplanations"]) for row in rows]
    assert counts == [0 if 95 <= row["prediction"] <= 115 else 2 for row in rows]
    assert set(counts) == {0, 2}


def test_classes_are_explained_by_their_names(forecast, forecasters):
    each = forecasters["passengers"]
    rows = rows_of(forecast("passengers", as_csv(each.request()), query=ALL))
    for row in rows:
        told = row["predictionExplanations"]
        assert {item["label"] for item in told} == {"high"}
        values = {item["feature"]: item["featureValue"] for item in told}
        assert values["load (lag 0)"] in ("low", "high")
    each = forecasters["weather"]
    query = "maxExplanations=2&explanationNumTopClasses=2"
    for row in rows_of(forecast("weather", as_csv(each.request()), query=query)):
        labels = [item["label"] for item in row["predictionExplanations"]]
        assert len(labels) == 4
        assert labels[0] == row["prediction"]
    query = "maxExplanations=1&explanationClassNames=wei%C3%9F"
    for row in rows_of(forecast("weather", as_csv(each.request()), query=query)):
        [item] = row["predictionExplanations"]
        assert item["label"] == "weiß"


@pytest.mark.parametrize("name", ["stores", "by-distance", "onnx-power", "visits"])
def test_shap_values_add_up_to_the_prediction(forecast, forecasters, name):
    each = forecasters[name]
    for query in (SHAP, f"{SHAP}&maxExplanations=2"):
        for row in rows_of(forecast(name, as_csv(each.request()), query=query)):
            told, metadata = (
                row["predictionExplanations"],
                row["shapExplanationsMetadata"],
            )
            assert list(metadata) == ["warnings", "remainingTotal", "baseValue"]
            total = sum(item["strength"] for item in told)
            total += metadata["baseValue"] + metadata["remainingTotal"]
            assert total == pytest.approx(row["prediction"], abs=1e-4)


def test_shap_values_are_the_models(forecast, forecasters):
    each = forecasters["sales"]
    for row in rows_of(forecast("sales", as_csv(each.request()), query=SHAP)):
        said = each.boosters[0].predict(
            derived(each, row)[None], pred_contrib=True, num_threads=1
        )[0]
        told = {
            item["feature"]: item["strength"] for item in row["predictionExplanations"]
        }
        assert told == pytest.approx(
            dict(zip(each.spec.names, said.tolist(), strict=False)), abs=ROUNDED
        )
        metadata = row["shapExplanationsMetadata"]
        # Those of a logarithm add up to it: the metadata says so.
        assert metadata["space"] == "model"
        base = said[-1] + math.log1p(week_before(each, row))
        assert metadata["baseValue"] == pytest.approx(base, abs=ROUNDED)
        total = sum(told.values()) + metadata["baseValue"]
        assert total == pytest.approx(math.log1p(row["prediction"]), abs=1e-9)


def test_recursive_steps_are_explained_as_they_were_predicted(forecast, forecasters):
    each = forecasters["jobs"]
    for row in rows_of(forecast("jobs", as_csv(each.request()), query=SHAP)):
        metadata = row["shapExplanationsMetadata"]
        total = sum(item["strength"] for item in row["predictionExplanations"])
        total += metadata["baseValue"] + metadata["remainingTotal"]
        assert total == pytest.approx(row["prediction"], abs=1e-8)
    for row in rows_of(forecast("jobs", as_csv(each.request()), query=ALL)):
        told = {item["feature"]: item for item in row["predictionExplanations"]}
        assert told["month"]["featureValue"] == at(row).month


def test_multiclass_forecasts_have_no_shap_values(forecast, forecasters):
    body = as_csv(forecasters["weather"].request())
    assert refused(forecast("weather", body, query=SHAP), 422) == (
        "Multiclass models cannot be used for Prediction Explanations"
    )


@pytest.mark.parametrize("query", [SHAP, ALL])
def test_a_range_is_explained_as_its_points_are(forecast, forecasters, query):
    each = forecasters["stores"]
    body = as_csv(each.request(history=15))
    everything = (
        "predictionsStartDate=1900-01-01T00:00:00Z"
        "&predictionsEndDate=2262-04-11T23:47:16.854775+00:00"
    )
    in_range = rows_of(forecast("stores", body, query=f"{query}&{everything}"))
    for row in rows_of(forecast("stores", body, query=query)):
        assert row in in_range


# ---- Humility rules


def rule(trigger, action, number=1):
    return Rule(str(number) * 24, f"rule {number}", trigger, action)


def test_a_new_series_triggers_its_rule(forecast, forecasters):
    deployment = forecast.deploy("stores", humility=(rule(NewSeries(), Override(0.5)),))
    rows = forecasters["stores"].request()
    renamed = [
        {**row, "store": "moon" if row["store"] == "007" else row["store"]}
        for row in rows
    ]
    known = rows_of(forecast(deployment, as_csv(rows)))
    assert not any("humility" in row for row in known)
    found = rows_of(forecast(deployment, as_csv(renamed)))
    for row in found:
        is_new = row["seriesId"] == "moon"
        assert ("humility" in row) == is_new
        value = row["predictionValues"][0]["value"]
        assert row["prediction"] == (0.5 if is_new else value)
        if is_new:
            assert row["humility"] == [
                {"ruleId": "1" * 24, "triggered": True, "ruleName": "rule 1"}
            ]
    lines = lines_of(
        forecast(deployment, as_csv(renamed), headers={"Accept": "text/csv"})
    )
    assert [line["sold (actual)_PREDICTION"] for line in lines[3:6]] == ["0.5"] * 3


def test_ids_that_are_numbers_are_known_by_their_texts(forecast, forecasters):
    deployment = forecast.deploy("stores", humility=(rule(NewSeries(), NoOperation()),))
    rows = forecasters["stores"].request(series=["007"])
    for value, is_new in (("007", False), (7, True), ("7", True)):
        body = json.dumps([{**row, "store": value} for row in rows])
        found = rows_of(forecast(deployment, body, "application/json"))
        assert ["humility" in row for row in found] == [is_new] * 3


def test_an_error_of_a_rule_is_the_whole_answer(forecast, forecasters):
    deployment = forecast.deploy(
        "stores", humility=(rule(NewSeries(), ThrowError("A shop unheard of")),)
    )
    rows = forecasters["stores"].request()
    assert len(rows_of(forecast(deployment, as_csv(rows)))) == 9
    new = [{**row, "store": row["store"] + "x"} for row in rows]
    assert refused(forecast(deployment, as_csv(new)), 480) == "A shop unheard of"


def test_rules_look_at_derived_features(forecast, forecasters):
    each = forecasters["sales"]
    rules = (
        rule(LowObservation("weather (actual)", ("clear", "rain")), NoOperation(), 1),
        rule(OutlyingInput("promo (actual)", 0.0, 0.5), Override(1.0), 2),
        rule(UncertainPrediction(90.0, 110.0), NoOperation(), 3),
    )
    deployment = forecast.deploy("sales", humility=rules)
    rows = each.request()
    rows[36]["weather"], rows[37]["weather"] = "snow", "hail"
    for row in rows_of(
        forecast(deployment, as_csv(rows), query="relaxKnownInAdvanceFeaturesCheck=1")
    ):
        sent, value = rows[row["rowId"]], row["predictionValues"][0]["value"]
        expected = [sent["weather"] in ("snow", "hail"), sent["promo"] == "1"]
        expected.append(not 90 <= value <= 110)
        told = [item["ruleName"] for item in row.get("humility", [])]
        assert told == [f"rule {n + 1}" for n in range(3) if expected[n]]
        assert row["prediction"] == (1.0 if expected[1] else value)


def test_classes_are_overridden_by_their_names(forecast, forecasters):
    always = UncertainPrediction(0.0, 1.0)
    deployment = forecast.deploy(
        "passengers", humility=(rule(always, Override("low")),)
    )
    body = as_csv(forecasters["passengers"].request())
    assert {row["prediction"] for row in rows_of(forecast(deployment, body))} == {"low"}


def test_rows_of_forecasts_are_counted(forecast, forecasters):
    deployment = forecast.deploy("stores", humility=(rule(NewSeries(), NoOperation()),))
    rows = forecasters["stores"].request(series=["north", "007"])
    for row in rows[17:]:
        row["store"] = "moon"
    rows_of(forecast(deployment, as_csv(rows)))
    services = forecast.services
    services.humility_counts.keep(services.humility_totals)
    [found] = services.humility_totals.read(deployment)
    assert (found.triggered, found.looked_at) == (3, 6)


def test_explanations_have_a_time_of_their_own(serve_forecasts, forecasters):
    caller = serve_forecasts(explanation_seconds=1e-9)
    each = forecasters["sales"]
    before = time.monotonic()
    answer = caller("sales", as_csv(each.request()), query=ALL)
    assert refused(answer, 422) == (
        "The rows cannot be explained in the time that explanations may take: send"
        " fewer rows at once"
    )
    assert time.monotonic() - before < 5


def test_explanations_have_room_for_so_many(serve_forecasts, forecasters):
    caller = serve_forecasts(max_explanations=20)
    body = as_csv(forecasters["sales"].request())
    assert len(rows_of(caller("sales", body, query="maxExplanations=2"))) == 7
    assert refused(caller("sales", body, query="maxExplanations=3"), 413) == (
        "The answer has room for the explanations of 6 rows: send fewer rows at once,"
        " or ask for fewer explanations"
    )
