"""Requests as unmodified client programs send them, and what they need back."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json

import pandas as pd
import pytest

KEY = "DR-key-1"


@pytest.fixture(scope="module")
def frame(specimens):
    return specimens["churn"].frame


@pytest.fixture
def keyed(serve):
    """A server that asks for the datarobot-key."""
    return serve(datarobot_key=KEY)


def body_of(answer) -> bytes:
    packed = answer.headers.get("Content-Encoding") == "gzip"
    return gzip.decompress(answer.data) if packed else answer.data


def all_quoted(frame) -> bytes:
    return frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()


def scored_by_datarobot_predict(answer, frame) -> None:
    """The client hands whatever 2xx it gets to pandas, as UTF-8."""
    assert 200 <= answer.status_code < 300, answer.data
    found = pd.read_csv(io.BytesIO(body_of(answer)), encoding="utf-8")
    assert list(found.columns[:5]) == [
        *("Churn_Yes_PREDICTION", "Churn_No_PREDICTION", "Churn_PREDICTION"),
        *("THRESHOLD", "POSITIVE_CLASS"),
    ]
    assert len(found) == len(frame)
    assert set(found["Churn_PREDICTION"]) <= {"Yes", "No"}


def test_datarobot_predict_on_a_dedicated_server(keyed, site, frame):
    answer = keyed(
        "churn",
        frame.to_csv(index=False).encode(),
        "text/csv",
        query="maxExplanations=0&passthroughColumns=tenure&passthroughColumns=region",
        headers={
            "Authorization": f"Token {site.tokens['ann@example.com']}",
            "datarobot-key": KEY,
            "Accept": "text/csv",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "DataRobotPythonClient/3.20.0",
        },
    )
    scored_by_datarobot_predict(answer, frame)
    found = pd.read_csv(io.BytesIO(body_of(answer)), keep_default_na=False)
    assert list(found.columns[5:]) == ["tenure", "region"]


def test_datarobot_predict_on_a_serverless_platform(client, site, frame):
    path = f"/api/v2/deployments/{site.deployments['churn']}/predictions"
    answer = client.post(
        path,
        query_string="maxExplanations=0",
        data=frame.to_csv(index=False).encode(),
        headers={
            "Authorization": f"Bearer {site.tokens['ann@example.com']}",
            "Content-Type": "text/csv",
            "Accept": "text/csv",
            "Accept-Encoding": "gzip, deflate",
        },
        # An endpoint that ends in a slash is joined as it is.
        environ_overrides={"PATH_INFO": path.replace("/v2/", "/v2//")},
    )
    scored_by_datarobot_predict(answer, frame)


def test_datarobot_predict_with_an_endpoint_of_its_own_sends_no_key(
    predict, site, frame
):
    answer = predict(
        "churn",
        frame.to_csv(index=False).encode(),
        query="maxExplanations=0&passthroughColumnsSet=all",
        headers={
            "Authorization": f"Token {site.tokens['ann@example.com']}",
            "Accept": "text/csv",
        },
    )
    scored_by_datarobot_predict(answer, frame)


def test_datarobot_predict_does_not_retry_what_will_not_change(predict, frame):
    # It repeats 429, 502, 503, 504 and 570 up to ten times.
    again = {429, 502, 503, 504, 570}
    body = frame[:1].to_csv(index=False).encode()
    for name, query in (
        ("external", ""),
        ("disabled", ""),
        ("churn", "maxExplanations=3&explanationNumTopClasses=2"),
        ("plan", "maxExplanations=0&explanationAlgorithm=shap"),
        ("churn", "forecastPoint=2013-12-20T01:30:00"),
        (
            "churn",
            "predictionsStartDate=1900-01-01T00%3A00%3A00.000000Z"
            "&predictionsEndDate=2262-04-11T23%3A47%3A16.854775%2B00%3A00",
        ),
        ("churn", "relaxKnownInAdvanceFeaturesCheck=True"),
    ):
        answer = predict(name, body, query=query)
        assert answer.status_code not in {200, *again}, query
        # Any other type is read as ASCII text.
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(json.loads(answer.data)["message"], str)


def test_datarobotx_sends_a_form_of_quoted_cells(keyed, site, frame):
    form = {
        "file": (io.BytesIO(all_quoted(frame)), "a.csv", "text/csv"),
        "value": "a.csv",
    }
    answer = keyed(
        "churn",
        form,
        "multipart/form-data",
        headers={
            "Authorization": f"Bearer {site.tokens['ann@example.com']}",
            "DataRobot-Key": KEY,
            "Accept": "text/csv",
        },
    )
    scored_by_datarobot_predict(answer, frame)


@pytest.mark.parametrize("compress", [False, True])
def test_batch_scoring(keyed, site, frame, compress):
    user = f"ann@example.com:{site.tokens['ann@example.com']}"
    body = frame.to_csv(index=False, lineterminator="\r\n").encode()
    answer = keyed(
        "churn",
        gzip.compress(body) if compress else body,
        "text/csv; charset=utf8",
        headers={
            "Authorization": "Basic " + base64.b64encode(user.encode()).decode(),
            "datarobot-key": KEY,
            "Content-Encoding": "gzip" if compress else "",
            "Accept-Encoding": "gzip, deflate",
        },
    )
    assert answer.status_code == 200
    # Without this header the client sends the batch again and again.
    assert float(answer.headers["X-DataRobot-Execution-Time"]) > 0
    rows = json.loads(body_of(answer))["data"]
    assert [row["rowId"] for row in rows] == list(range(len(frame)))
    for row in rows:
        labels = sorted(each["label"] for each in row["predictionValues"])
        assert list(map(str, labels)) == ["0", "1"]
        assert {"prediction", "predictionThreshold"} <= set(row)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("deployments/{deployment}/predictionExplanations", "predictionExplanations"),
        ("{deployment}/{model}/reasonCodesPredictions", "reasonCodes"),
    ],
)
def test_batch_scoring_asks_for_reason_codes(keyed, site, specimens, frame, path, key):
    user = f"ann@example.com:{site.tokens['ann@example.com']}"
    address = path.format(
        deployment=site.deployments["churn"], model=specimens["churn"].model.id
    )
    answer = keyed.client.post(
        f"/predApi/v1.0/{address}?maxCodes=2",
        data=frame.to_csv(index=False, lineterminator="\r\n").encode(),
        content_type="text/csv; charset=utf8",
        headers={
            "Authorization": "Basic " + base64.b64encode(user.encode()).decode(),
            "datarobot-key": KEY,
        },
    )
    assert float(answer.headers["X-DataRobot-Execution-Time"]) > 0
    for number, row in enumerate(json.loads(body_of(answer))["data"]):
        assert row["rowId"] == number
        assert [{"feature", "strength"} <= set(each) for each in row[key]] == [True] * 2


@pytest.mark.parametrize("own_ids", [False, True])
def test_batch_scoring_of_a_project_and_a_model(keyed, site, specimens, frame, own_ids):
    deployment, model = site.deployments["churn"], specimens["churn"].model.id
    if own_ids:
        ids = {"project_id": "5" * 24, "project_model_id": "6" * 24}
        deployment, model = ids.values()
        keyed.deploy("churn", **ids)
    body = frame[:5].to_csv(index=False).encode()
    headers = {
        "Authorization": f"Bearer {site.tokens['ann@example.com']}",
        "datarobot-key": KEY,
    }
    path = f"/predApi/v1.0/{deployment}/{model}/predict"
    answer = keyed.client.post(path, data=body, headers=headers)
    assert answer.status_code == 200
    assert answer.data == keyed("churn", body, headers=headers).data


@pytest.mark.parametrize("status", [401, 404, 422, 400])
def test_batch_scoring_reads_the_message_of_an_error(keyed, site, frame, status):
    user = f"ann@example.com:{site.tokens['ann@example.com']}"
    good = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    body = frame[:1].to_csv(index=False).encode()
    asked = {
        401: ("churn", body, {"datarobot-key": "other"}),
        404: ("0" * 24, body, {"datarobot-key": KEY}),
        422: ("churn", b"a,b\r\n1,2\r\n", {"datarobot-key": KEY}),
        400: ("churn", body + b'"', {"datarobot-key": KEY}),
    }
    name, sent, headers = asked[status]
    answer = keyed(name, sent, "text/csv; charset=utf8", headers={**good, **headers})
    assert answer.status_code == status
    assert json.loads(answer.data.decode())["message"]


def test_snippet_of_the_user_interface(keyed, site, frame):
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "Authorization": f"Bearer {site.tokens['ann@example.com']}",
        "DataRobot-Key": KEY,
    }
    answer = keyed("churn", frame.to_csv(index=False).encode(), None, headers=headers)
    assert answer.status_code == 200
    assert len(json.loads(answer.data)["data"]) == len(frame)


def test_qlik_connector(keyed, site):
    body = (
        b"KEY,tenure,monthly charge,contract,region,plan,senior\r\n"
        b"A-1,12,70.5,One year,01,2,True\r\n"
    )
    headers = {
        "Authorization": f"Token {site.tokens['ann@example.com']}",
        "datarobot-key": KEY,
    }
    # The ampersand at the end is the client's.
    answer = keyed(
        "churn",
        body,
        "text/csv; charset=UTF-8",
        query="passthroughColumns=KEY&",
        headers=headers,
    )
    [row] = json.loads(answer.data)["data"]
    assert row["passthroughValues"] == {"KEY": "A-1"}
    # Numbers that are null do not fit the client's types.
    assert None not in row.values()


def test_qlik_connector_asks_for_explanations(keyed, site):
    body = (
        b"KEY,tenure,monthly charge,contract,region,plan,senior\r\n"
        b"A-1,12,70.5,One year,01,2,True\r\n"
    )
    query = "passthroughColumns=KEY&maxCodes=2&thresholdHigh=0.0&thresholdLow=1.0&"
    churn = site.deployments["churn"]
    answer = keyed.client.post(
        f"/predApi/v1.0/deployments/{churn}/predictionExplanations?{query}",
        data=body,
        content_type="text/csv; charset=UTF-8",
        headers={
            "Authorization": f"Token {site.tokens['ann@example.com']}",
            "datarobot-key": KEY,
        },
    )
    [row] = json.loads(answer.data)["data"]
    assert len(row["predictionExplanations"]) == 2
    assert row["passthroughValues"] == {"KEY": "A-1"}


def test_keep_alive_example_of_the_guide(predict, frame):
    record = frame.astype(object).where(frame.notna(), None).iloc[0].to_dict()
    answer = predict("churn", json.dumps(record), "text/json")
    assert [row["rowId"] for row in json.loads(answer.data)["data"]] == [0]


def test_pandas_records(predict, frame):
    body = frame.to_json(orient="records")
    answer = predict("churn", body, "application/json; charset=UTF-8")
    assert len(json.loads(answer.data)["data"]) == len(frame)


def test_pandas_index_column_is_ignored(predict, frame):
    plain = predict("churn", frame.to_csv(index=False).encode())
    assert predict("churn", frame.to_csv().encode()).data == plain.data


@pytest.mark.parametrize("orient", ["columns", "index", "split", "values"])
def test_other_orientations_of_pandas_are_told_the_form(predict, frame, orient):
    body = frame[:2].astype(object).to_json(orient=orient)
    for kind in ("application/json", "text/plain"):
        answer = predict("churn", body, kind)
        assert answer.status_code in (400, 422)
        message = json.loads(answer.data)["message"]
        if kind == "application/json":
            assert "an array of row objects is expected" in message
