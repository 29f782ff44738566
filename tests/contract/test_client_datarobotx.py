"""What DataRobotX reads of a deployment before it asks for predictions, and how.

It stops at a key that is not there, and finds its columns by the target's name.
"""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
import pytest

from tests.api_client import api_of
from tests.contract.test_forecast_clients import frame_of


class Client:
    """One deployment, as the client sees it."""

    def __init__(self, caller, name):
        self.caller = caller
        self.api = api_of(caller, scheme="Bearer")
        # Other tokens are refused before anything is sent.
        assert re.search(r"^[a-zA-Z0-9]+$", self.api.token)
        self.id = caller.site.deployments.get(name, name)
        self.told = self.api.get(f"deployments/{self.id}/")
        settings = self.api.get(f"deployments/{self.id}/settings/")
        self.time_column = settings["predictionsByForecastDate"]["columnName"]
        model = self.told["model"]
        assert model["projectId"]
        assert model["unsupervisedMode"] is False
        assert self.told["capabilities"]["supportsSecondaryDatasets"] is False
        assert self.told["label"]
        self.target, self.kind = model["targetName"], model["targetType"]

    @property
    def url(self):
        """Where predictions are asked for."""
        server = self.told["defaultPredictionServer"]
        return f"{server['url']}/predApi/v1.0/deployments/{self.id}"

    def predict(self, frame, **query):
        """The answer's columns, those of predictions by what the client calls them."""
        body = frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()
        server = self.told["defaultPredictionServer"]
        answer = self.caller.client.post(
            f"{self.url}/predictions",
            query_string=query,
            data={"file": (io.BytesIO(body), "0_rows.csv"), "value": "0_rows.csv"},
            headers={
                "Authorization": f"Bearer {self.api.token}",
                "Accept": "text/csv",
                **(
                    {"DataRobot-Key": server["datarobot-key"]}
                    if server["datarobot-key"]
                    else {}
                ),
            },
        )
        assert answer.status_code == 200, answer.data
        found = pd.read_csv(io.StringIO(answer.text))
        return found.rename(columns={f"{self.target}_PREDICTION": "prediction"})

    def classes(self, found):
        """Names of classes, which are between the target's name and a word."""
        pattern = re.compile(re.escape(f"{self.target}_") + "(.*)_PREDICTION")
        return {match[1] for name in found if (match := pattern.fullmatch(name))}


def test_binary(predict, specimens):
    client = Client(predict, "churn")
    assert client.kind == "Binary"
    frame = specimens["churn"].frame
    found = client.predict(frame)
    assert set(found["prediction"]) <= {"Yes", "No"}
    assert client.classes(found) == {"Yes", "No"}
    assert {"THRESHOLD", "POSITIVE_CLASS"} <= set(found)
    assert len(found) == len(frame)


def test_key_of_the_prediction_server_opens_it(serve, specimens):
    client = Client(serve(datarobot_key="DR-key-1"), "churn")
    assert client.told["defaultPredictionServer"]["datarobot-key"] == "DR-key-1"
    assert len(client.predict(specimens["churn"].frame[:3])) == 3


def test_regression_and_multiclass(predict, specimens):
    frame = specimens["price"].frame[:20]
    price = Client(predict, "price")
    assert price.kind == "Regression"
    assert price.predict(frame)["prediction"].dtype == float
    plan = Client(predict, "plan")
    assert plan.kind == "Multiclass"
    assert plan.classes(plan.predict(frame)) == {"S", "M", "größer"}


def test_explanations(predict, specimens):
    found = Client(predict, "churn").predict(
        specimens["churn"].frame[:5], maxExplanations=2
    )
    wanted = {
        f"EXPLANATION_{number}_{what}"
        for number in (1, 2)
        for what in ("FEATURE_NAME", "STRENGTH", "ACTUAL_VALUE")
    }
    assert wanted <= set(found)


@pytest.mark.parametrize(("name", "first"), [("sales", None), ("stores", "store")])
def test_forecasts(forecast, forecasters, name, first):
    client = Client(forecast, name)
    spec = forecasters[name].spec
    assert client.time_column == spec.datetime_column
    frame = frame_of(forecasters[name])
    found = client.predict(frame, relaxKnownInAdvanceFeaturesCheck="true")
    # Every other column that ends in _PREDICTION is dropped.
    assert found["prediction"].dtype == float
    assert {"FORECAST_POINT", "FORECAST_DISTANCE", client.time_column} <= set(found)
    assert found.columns[0] == (first or "FORECAST_POINT")


def test_no_column_of_time_where_there_is_no_time_series(predict):
    assert Client(predict, "churn").time_column is None


def test_deployment_is_found_by_its_project(predict, site):
    client = Client(predict, "churn")
    listed = client.api.items("deployments", limit=100)
    # Each deployment has a model here, those that are scored elsewhere as well.
    found = [
        each["id"]
        for each in listed
        if each["model"]["projectId"] == client.told["model"]["projectId"]
    ]
    assert site.deployments["churn"] in found


def test_error_has_a_message(predict):
    client = Client(predict, "churn")
    answer = client.api.ask("GET", f"deployments/{'0' * 24}/")
    assert answer.status != 200
    assert json.loads(answer.body)["message"]


def test_unstructured_is_json_without_its_type(send):
    client = Client(send, "statistics")
    answer = client.api.ask(
        "POST",
        f"{client.url}/predictionsUnstructured",
        body=json.dumps({"text": "zwölf Boxkämpfer"}).encode(),
        Accept="*/*",
        Content_Type="application/octet-stream",
    )
    assert answer.status == 200, answer.body
    # It takes the text apart, whatever type that is said to have.
    assert json.loads(answer.body.decode()) == {"characters": 16, "words": 2}
