"""What the prediction routes answer: keys, columns, numbers, headers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re

import numpy as np
import pytest

CSV = (
    b"tenure,monthly charge,contract,region,plan,senior,note\n"
    b"12,70.50,One year,01,2,True,007\n"
    b',18.25,,"Nord, S\xc3\xbcd",3,False,"a ""b"", c"\n'
)
JSON = json.dumps(
    [
        {
            "tenure": 12,
            "monthly charge": 70.5,
            "contract": "One year",
            "region": "01",
            "plan": 2,
            "senior": True,
            "note": 7,
        },
        {
            "tenure": None,
            "monthly charge": "18.25",
            "region": "Nord, Süd",
            "plan": 3,
            "senior": False,
            "note": None,
        },
    ]
)
AS_CSV = {"Accept": "text/csv"}


def rows(answer):
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.data)["data"]


def table(answer):
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(answer.data.decode(), newline="")))


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
def test_binary_rows(predict, layout):
    first, second = rows(predict("churn", CSV, layout=layout))
    assert list(first) == [
        *("predictionValues", "predictionThreshold", "prediction", "rowId")
    ]
    assert [list(each) for each in first["predictionValues"]] == [
        ["value", "label"]
    ] * 2
    assert [each["label"] for each in first["predictionValues"]] == [1, 0]
    assert [type(each["label"]) for each in first["predictionValues"]] == [int, int]
    assert type(first["prediction"]) is int
    assert first["predictionThreshold"] == 0.4
    assert [first["rowId"], second["rowId"]] == [0, 1]
    positive, negative = (each["value"] for each in first["predictionValues"])
    assert positive + negative == pytest.approx(1, abs=1e-9)
    assert first["prediction"] == int(positive > 0.4)


def test_regression_rows(predict):
    first, _ = rows(predict("price", CSV))
    assert list(first) == ["predictionValues", "prediction", "rowId"]
    [value] = first["predictionValues"]
    assert value == {"value": first["prediction"], "label": "price"}


@pytest.mark.parametrize(
    ("name", "labels"),
    [("plan", ["S", "M", "größer"]), ("grade", ["1", "3", "2"])],
)
def test_multiclass_rows(predict, name, labels):
    for row in rows(predict(name, CSV)):
        assert list(row) == ["predictionValues", "prediction", "rowId"]
        assert [each["label"] for each in row["predictionValues"]] == labels
        best = max(row["predictionValues"], key=lambda each: each["value"])
        assert row["prediction"] == best["label"]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (
            "churn",
            ["Churn_Yes_PREDICTION", "Churn_No_PREDICTION", "Churn_PREDICTION"]
            + ["THRESHOLD", "POSITIVE_CLASS"],
        ),
        ("price", ["price_PREDICTION"]),
        (
            "plan",
            ["size_S_PREDICTION", "size_M_PREDICTION", "size_größer_PREDICTION"]
            + ["size_PREDICTION"],
        ),
        (
            "grade",
            ["grade_1_PREDICTION", "grade_3_PREDICTION", "grade_2_PREDICTION"]
            + ["grade_PREDICTION"],
        ),
    ],
)
def test_csv_answer_has_the_numbers_of_the_json_answer(predict, name, columns):
    header, *lines = table(predict(name, CSV, headers=AS_CSV))
    assert header == columns
    answered = rows(predict(name, CSV))
    values = [[each["value"] for each in row["predictionValues"]] for row in answered]
    width = len(values[0])
    assert [[float(cell) for cell in line[:width]] for line in lines] == values
    if name == "churn":
        label = ["No", "Yes"]
        assert [line[2:] for line in lines] == [
            [label[row["prediction"]], "0.4", "Yes"] for row in answered
        ]
    elif width > 1:
        assert [line[-1] for line in lines] == [row["prediction"] for row in answered]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/*", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("TEXT/CSV", "csv"),
        ("text/csv, application/json", "json"),
        ("application/json, text/csv", "json"),
        ("text/csv;q=0.5, application/json;q=0.9", "json"),
        ("text/csv;q=0.9, */*;q=0.1", "csv"),
        ("text/html, text/csv;q=0.2", "csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv; charset=utf-8", "csv"),
        ("application/json;charset=UTF-8", "json"),
        ("application/json;q=0.1, text/csv; charset=utf-8; q=0.5", "csv"),
    ],
)
def test_accept_chooses_the_form(predict, accept, kind):
    answer = predict("price", CSV, headers={"Accept": accept})
    assert answer.status_code == 200
    assert kind in answer.headers["Content-Type"]


def test_passthrough_of_csv_is_text_as_sent(predict):
    query = "passthroughColumns=note&passthroughColumns=monthly%20charge"
    query += "&passthroughColumns=tenure"
    assert [
        row["passthroughValues"] for row in rows(predict("price", CSV, query=query))
    ] == [
        {"note": "007", "monthly charge": "70.50", "tenure": "12"},
        {"note": 'a "b", c', "monthly charge": "18.25", "tenure": ""},
    ]
    header, *lines = table(predict("price", CSV, query=query, headers=AS_CSV))
    assert header[1:] == ["note", "monthly charge", "tenure"]
    assert [line[1:] for line in lines] == [
        ["007", "70.50", "12"],
        ['a "b", c', "18.25", ""],
    ]


def test_passthrough_of_json_is_as_sent(predict):
    query = {"passthroughColumns": ["note", "tenure", "monthly charge", "contract"]}
    answer = predict("price", JSON, "application/json", query=query)
    first, second = (row["passthroughValues"] for row in rows(answer))
    assert first == {
        "note": 7,
        "tenure": 12,
        "monthly charge": 70.5,
        "contract": "One year",
    }
    assert second == {
        "note": None,
        "tenure": None,
        "monthly charge": "18.25",
        "contract": None,
    }
    assert type(first["tenure"]) is int


def test_passthrough_order_is_that_of_the_request(predict):
    for names in (["note", "plan"], ["plan", "note"]):
        [row, _] = rows(predict("price", CSV, query={"passthroughColumns": names}))
        assert list(row["passthroughValues"]) == names


def test_passthrough_of_all_columns_keeps_their_order(predict):
    query = "passthroughColumnsSet=all"
    names = CSV.splitlines()[0].decode().split(",")
    first, _ = rows(predict("price", CSV, query=query))
    assert list(first["passthroughValues"]) == names
    assert list(first)[-1] == "passthroughValues"
    header, *_ = table(predict("price", CSV, query=query, headers=AS_CSV))
    assert header == ["price_PREDICTION", *names]


def test_passthrough_of_a_repeated_name_is_answered_once(predict):
    query = "passthroughColumns=note&passthroughColumns=note"
    [row, _] = rows(predict("price", CSV, query=query))
    assert row["passthroughValues"] == {"note": "007"}
    header, *lines = table(predict("price", CSV, query=query, headers=AS_CSV))
    assert [len(line) for line in lines] == [len(header)] * 2


def test_passthrough_names_are_percent_encoded_utf8(predict):
    body = CSV.replace(b"note", '"größe, ½"'.encode())
    [row, _] = rows(
        predict("price", body, query="passthroughColumns=gr%C3%B6%C3%9Fe%2C+%C2%BD")
    )
    assert row["passthroughValues"] == {"größe, ½": "007"}


def test_association_id_is_passed_through_unasked(predict):
    marked = predict.deploy("price", association_id="note")
    for query, names in (
        ("", ["note"]),
        ("passthroughColumns=plan", ["note", "plan"]),
        ("passthroughColumns=plan&passthroughColumns=note", ["plan", "note"]),
    ):
        [row, _] = rows(predict(marked, CSV, query=query))
        assert list(row["passthroughValues"]) == names


def test_association_id_may_be_missing_from_the_data(predict):
    marked = predict.deploy("price", association_id="nothing")
    [row, _] = rows(predict(marked, CSV))
    assert "passthroughValues" not in row
    header, *_ = table(predict(marked, CSV, headers=AS_CSV))
    assert header == ["price_PREDICTION"]


@pytest.mark.parametrize("decimals", [0, 1, 3, 10, 15, 30])
def test_decimals_number_is_the_most_digits_after_the_point(
    predict, specimens, decimals
):
    specimen = specimens["price"]
    frame = specimen.frame[:50]
    body = frame.to_csv(index=False)
    answered = rows(predict("price", body, query=f"decimalsNumber={decimals}"))
    values = specimen.score(frame)[:, 0].tolist()
    expected = [round(value, decimals) for value in values]
    assert [row["prediction"] for row in answered] == expected
    text = predict("price", body, query=f"decimalsNumber={decimals}").data.decode()
    for digits in re.findall(r'"value":-?[0-9]+\.([0-9]+)', text):
        assert len(digits) <= max(decimals, 1)
        assert digits == "0" or not digits.endswith("0")


def test_ten_decimals_are_the_default(predict, specimens):
    frame = specimens["churn"].frame[:50]
    body = frame.to_csv(index=False)
    assert predict("churn", body).data == (
        predict("churn", body, query="decimalsNumber=10").data
    )


@pytest.mark.parametrize("value", ["true", "True", "1", "t", "YES", "on", " y "])
def test_prediction_warning(predict, value):
    query = {"predictionWarningEnabled": value}
    answered = rows(predict("price", CSV, query=query))
    for row in answered:
        assert list(row) == [
            *("predictionValues", "isOutlierPrediction", "rowId", "prediction")
        ]
        assert row["isOutlierPrediction"] is not (100 <= row["prediction"] <= 1000)
    assert [row["isOutlierPrediction"] for row in answered] == [False, True]
    header, *lines = table(predict("price", CSV, query=query, headers=AS_CSV))
    assert header == ["price_PREDICTION", "IS_OUTLIER_PREDICTION"]
    assert [line[1] for line in lines] == [
        str(row["isOutlierPrediction"]) for row in answered
    ]


@pytest.mark.parametrize("value", ["false", "0", "no", "None", "off", "N"])
def test_no_prediction_warning(predict, value):
    [row, _] = rows(predict("price", CSV, query={"predictionWarningEnabled": value}))
    assert "isOutlierPrediction" not in row


def test_prediction_warning_by_the_deployments_own_bounds(predict):
    query = "predictionWarningEnabled=true"
    value = rows(predict("price", CSV))[0]["prediction"]
    for bounds, expected in (
        ({"prediction_warning_lower": value + 1}, True),
        ({"prediction_warning_lower": value - 1}, False),
        ({"prediction_warning_upper": value - 1}, True),
        (
            {
                "prediction_warning_lower": value - 1,
                "prediction_warning_upper": value + 1,
            },
            False,
        ),
    ):
        bounded = predict.deploy("price", **bounds)
        row = rows(predict(bounded, CSV, query=query))[0]
        assert row["isOutlierPrediction"] is expected, bounds


def test_prediction_warning_may_be_off_for_a_deployment(predict):
    off = predict.deploy("price", prediction_warning=False)
    [row, _] = rows(predict(off, CSV, query="predictionWarningEnabled=true"))
    assert "isOutlierPrediction" not in row


@pytest.mark.parametrize("name", ["churn", "plan", "onnx-iris"])
def test_classification_has_no_prediction_warning(predict, specimens, name):
    body = specimens[name].frame[:3].to_csv(index=False)
    warned = predict(name, body, query="predictionWarningEnabled=true")
    assert warned.data == predict(name, body).data


def test_threshold_of_the_deployment_comes_before_the_models(predict):
    [row, _] = rows(predict("churn", CSV))
    assert row["predictionThreshold"] == 0.4
    for threshold in (0.0, 0.3092, 1.0):
        own = predict.deploy("churn", threshold=threshold)
        [row, _] = rows(predict(own, CSV))
        assert row["predictionThreshold"] == threshold
        assert row["prediction"] == int(row["predictionValues"][0]["value"] > threshold)


def test_probability_equal_to_the_threshold_is_negative(predict, specimens):
    specimen = specimens["churn"]
    frame = specimen.frame[:1]
    body = frame.to_csv(index=False)
    [[probability]] = specimen.score(frame)
    for threshold, expected in (
        (probability, 0),
        (np.nextafter(probability, 0), 1),
        (np.nextafter(probability, 1), 0),
    ):
        own = predict.deploy("churn", threshold=float(threshold))
        [row] = rows(predict(own, body))
        assert row["prediction"] == expected
        _, line = table(predict(own, body, headers=AS_CSV))
        assert line[2] == ["No", "Yes"][expected]


def test_labels_may_be_names(predict):
    named = predict.deploy("churn", labels="names")
    [row, _] = rows(predict(named, CSV))
    assert [each["label"] for each in row["predictionValues"]] == ["Yes", "No"]
    assert row["prediction"] in ("Yes", "No")
    assert table(predict(named, CSV, headers=AS_CSV)) == (
        table(predict("churn", CSV, headers=AS_CSV))
    )


@pytest.mark.parametrize("status", ["APPROVED", "PENDING"])
def test_approval_workflow(predict, status):
    watched = predict.deploy("price", approval_workflow=True, approval_status=status)
    [row, _] = rows(predict(watched, CSV))
    assert row["deploymentApprovalStatus"] == status
    query = "passthroughColumns=note&predictionWarningEnabled=1"
    header, *lines = table(predict(watched, CSV, query=query, headers=AS_CSV))
    assert header == [
        *("price_PREDICTION", "IS_OUTLIER_PREDICTION", "DEPLOYMENT_APPROVAL_STATUS"),
        "note",
    ]
    assert [line[2] for line in lines] == [status] * 2


def test_row_ids_number_all_rows_of_a_large_body(predict, specimens):
    frame = specimens["price"].frame
    body = frame.to_csv(index=False, header=False)
    header = frame[:0].to_csv(index=False)
    answered = rows(predict("price", header + body * 100))
    assert [row["rowId"] for row in answered] == list(range(100 * len(frame)))
    once = [row["prediction"] for row in rows(predict("price", header + body))]
    assert [row["prediction"] for row in answered] == once * 100


def test_headers_of_an_answer(predict, specimens, services):
    services.models.drop_all_but(set())
    answer = predict("churn", CSV)
    headers = answer.headers
    assert headers["X-DataRobot-Model-Cache-Hit"] == "false"
    assert predict("churn", CSV).headers["X-DataRobot-Model-Cache-Hit"] == "true"
    assert float(headers["X-DataRobot-Execution-Time"]) > 0
    assert headers["X-DataRobot-Model-Id"] == specimens["churn"].model.id
    assert re.fullmatch("[0-9a-f]{32}", headers["X-DataRobot-Request-ID"])
    assert int(headers["Content-Length"]) == len(answer.data)
    assert headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Expose-Headers"] == (
        "Content-Type,Content-Length,X-DataRobot-Execution-Time,"
        "X-DataRobot-Model-Cache-Hit,X-DataRobot-Model-Id,X-DataRobot-Request-Id"
    )
    assert headers["Access-Control-Allow-Headers"] == (
        "Content-Type,Authorization,datarobot-key"
    )
    names = [name.lower() for name, _ in headers]
    assert len(names) == len(set(names))


def test_request_ids_differ(predict):
    ids = {predict("churn", CSV).headers["X-DataRobot-Request-ID"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("encoding", ["gzip", "gzip, deflate", "*", "br, gzip;q=0.5"])
def test_large_answers_are_compressed(predict, specimens, accept, encoding):
    body = specimens["churn"].frame.to_csv(index=False)
    plain = predict("churn", body, headers={"Accept": accept})
    packed = predict(
        "churn", body, headers={"Accept": accept, "Accept-Encoding": encoding}
    )
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.data)
    assert gzip.decompress(packed.data) == plain.data
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("encoding", ["", "identity", "gzip;q=0", "deflate"])
def test_answers_are_plain_unless_asked_for(predict, specimens, encoding):
    body = specimens["churn"].frame.to_csv(index=False)
    answer = predict("churn", body, headers={"Accept-Encoding": encoding})
    assert "Content-Encoding" not in answer.headers
    assert len(rows(answer)) == 400


@pytest.mark.parametrize("path", ["/ping", "/predApi/v1.0/ping", "/predApi/v1.0/ping/"])
def test_ping(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert json.loads(answer.data) == {"response": "pong"}


def test_health(client, services):
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == (200 if services.is_ready else 503)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_data_without_the_association_id_is_scored_all_the_same(predict, accept):
    marked = predict.deploy("price", association_id="note")
    body = "tenure,monthly charge,contract,region,plan,senior\n1,2,One year,1,1,true\n"
    answer = predict(marked, body, headers={"Accept": accept})
    assert answer.status_code == 200
    assert "note" not in answer.text
