"""Rows as the Qlik connector reads them: into classes whose members have types.

A number that is null, or a text where a number is expected, ends its work.
"""

from __future__ import annotations

import json

import pytest

from tests.contract.test_forecast_clients import frame_of

NUMBER = (int, float)
TYPES = {
    "predictionValues": list,
    "predictionThreshold": NUMBER,
    "rowId": int,
    "passthroughValues": dict,
    "forecastPoint": (str, type(None)),
    "timestamp": (str, type(None)),
    "forecastDistance": int,
    "originalFormatTimestamp": (str, type(None)),
    "predictionExplanations": list,
}


def check(row):
    """A key that is not there is nothing; one that is has the type."""
    assert "prediction" in row
    for name, kinds in TYPES.items():
        assert isinstance(row.get(name, kinds_of_none(kinds)), kinds), name
    for each in row["predictionValues"]:
        assert isinstance(each["value"], NUMBER)
        assert not isinstance(each["label"], dict | list)
    for each in row.get("predictionExplanations", ()):
        assert isinstance(each["strength"], NUMBER)
        assert isinstance(each["feature"], str)
        assert isinstance(each["qualitativeStrength"], str | None)


def kinds_of_none(kinds):
    """Any value of a type, in the place of what is not there."""
    return (kinds if isinstance(kinds, type) else kinds[0])()


def asked(caller, name, frame, path="predictions?passthroughColumns=KEY&"):
    deployment = caller.site.deployments[name]
    body = frame.assign(KEY=[f"K-{number}" for number in range(len(frame))])
    answer = caller.client.post(
        f"/predApi/v1.0/deployments/{deployment}/{path}",
        data=body.to_csv(index=False).encode(),
        content_type="text/csv; charset=UTF-8",
        headers={"Authorization": f"Token {caller.site.tokens['ann@example.com']}"},
    )
    assert answer.status_code == 200, answer.data
    return json.loads(answer.data)["data"]


@pytest.mark.parametrize("name", ["churn", "price", "plan", "grade"])
def test_rows_have_the_types(predict, specimens, name):
    rows = asked(predict, name, specimens[name].frame[:30])
    for number, row in enumerate(rows):
        check(row)
        assert row["passthroughValues"] == {"KEY": f"K-{number}"}


@pytest.mark.parametrize("name", ["churn", "price"])
def test_explained_rows_have_the_types(predict, specimens, name):
    path = (
        "predictionExplanations?passthroughColumns=KEY&maxCodes=3"
        "&thresholdHigh=0.5&thresholdLow=0.5"
    )
    rows = asked(predict, name, specimens[name].frame[:30], path)
    for row in rows:
        check(row)
    assert {len(row["predictionExplanations"]) for row in rows} == {3}


@pytest.mark.parametrize("name", ["sales", "stores", "jobs"])
def test_forecasts_have_the_types(forecast, forecasters, name):
    rows = asked(forecast, name, frame_of(forecasters[name]), "timeSeriesPredictions")
    assert rows
    for row in rows:
        check(row)
        assert isinstance(row["forecastDistance"], int)


def test_error_has_a_message(predict, site):
    answer = predict("churn", b"KEY\r\n1\r\n", "text/csv; charset=UTF-8")
    assert answer.status_code == 422
    assert isinstance(json.loads(answer.data)["message"], str)
