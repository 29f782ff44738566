"""The rows API over HTTP, in its process."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from app.errors import DeadlineExceeded
from backends.humility import Override, Rule, ThrowError, UncertainPrediction

JSON = "application/json"
NO_TOKEN = {"Authorization": ""}


def rows_of(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))


def ask(predict, name, rows, **given):
    return predict(name, json.dumps({"rows": rows}), JSON, layout="rows", **given)


def told(answer):
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.data)


def refused(answer):
    body = json.loads(answer.data)
    assert list(body) == ["errorCode", "errorMessage"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.data.isascii()
    return answer.status_code, body["errorCode"], body["errorMessage"]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def url(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "name",
    [
        *("churn", "price", "plan", "grade", "onnx-price", "onnx-risk"),
        *("onnx-parcel", "onnx-iris"),
    ],
)
def test_columns_are_scored_as_the_library_scores_them(predict, specimens, name):
    specimen = specimens[name]
    model, frame = specimen.model, specimen.frame.head(40)
    expected = specimen.score(frame)
    if model.task == "binary":
        place = model.labels.index(model.positive_label)
        pair = [1 - expected[:, 0], expected[:, 0]]
        expected = np.stack(pair if place else pair[::-1], axis=1)
    found = told(ask(predict, name, rows_of(frame)))["rows"]
    assert [list(row) for row in found] == [[model.target]] * 40
    if model.task == "regression":
        values = [[row[model.target]] for row in found]
    else:
        labels = [str(label) for label in model.labels]
        assert all(list(row[model.target]) == labels for row in found)
        values = [list(row[model.target].values()) for row in found]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


def test_four_rows_of_the_document_are_answered_in_its_shape(predict):
    rows = [
        {"colour": "red", "width": 0.4, "pieces": 1},
        {"colour": "01", "width": 1.2, "pieces": 2},
        {"colour": "red", "width": 80, "pieces": 3},
        {"colour": "gr\u00fcn, hell", "width": 3.2, "pieces": 4},
    ]
    answer = ask(predict, "onnx-parcel", rows)
    singly = [told(ask(predict, "onnx-parcel", [row]))["rows"][0] for row in rows]
    assert told(answer) == {"rows": singly}
    assert answer.data.startswith(b'{"rows":[{"fragile":{"no":0.')


def test_form_is_answered_with_a_bare_object(predict):
    row = {"colour": "red", "width": "0.4", "pieces": "1"}
    answer = predict("onnx-parcel", row, "multipart/form-data", layout="rows")
    expected = {"colour": "red", "width": 0.4, "pieces": 1}
    assert told(answer) == told(ask(predict, "onnx-parcel", [expected]))["rows"][0]
    answer = predict(
        "onnx-parcel",
        "colour=red&width=0.4&pieces=1",
        "application/x-www-form-urlencoded",
        layout="rows",
    )
    assert told(answer) == told(ask(predict, "onnx-parcel", [expected]))["rows"][0]


def test_text_of_a_form_may_be_a_file(predict):
    row = {"colour": (io.BytesIO(b"red"), "c.txt"), "width": "1", "pieces": "1"}
    answer = predict("onnx-parcel", row, "multipart/form-data", layout="rows")
    expected = [{"colour": "red", "width": 1, "pieces": 1}]
    assert told(answer) == told(ask(predict, "onnx-parcel", expected))["rows"][0]


def test_many_rows_are_answered_as_few_are(serve, specimens):
    predict = serve(bulk_body=1000)
    rows = rows_of(specimens["churn"].frame) * 300
    found = told(ask(predict, "churn", rows))["rows"]
    few = told(ask(predict, "churn", rows[:400]))["rows"]
    assert found == few * 300


def test_compressed_bodies_and_answers_are_the_same_rows(predict, specimens):
    rows = rows_of(specimens["churn"].frame)
    plain = told(ask(predict, "churn", rows))
    body = gzip.compress(json.dumps({"rows": rows}).encode())
    answer = predict(
        *("churn", body, JSON),
        layout="rows",
        headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip"},
    )
    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.data)) == plain


def test_missing_values_are_null_and_never_absent(predict, specimens):
    rows = rows_of(specimens["churn"].frame.head(3))
    rows[1]["tenure"] = None
    assert len(told(ask(predict, "churn", rows))["rows"]) == 3
    del rows[1]["tenure"]
    expected = "row 1, input 'tenure': the row does not have it"
    assert refused(ask(predict, "churn", rows)) == (400, "FeatureNotFound", expected)


def test_other_names_are_ignored(predict, specimens):
    (row,) = rows_of(specimens["churn"].frame.head(1))
    first = told(ask(predict, "churn", [row]))
    assert told(ask(predict, "churn", [{**row, "other": [1, {"x": 2}]}])) == first


def test_settings_for_odd_values_count(predict, specimens):
    (row,) = rows_of(specimens["churn"].frame.head(1))
    odd = {**row, "tenure": "many", "contract": "unheard of"}
    status, code, text = refused(ask(predict, "churn", [odd]))
    assert (status, code) == (400, "BadData")
    assert "'tenure', row 0" in text and "'many'" in text
    lenient = predict.deploy("churn", invalid_numbers="missing")
    as_missing = {**odd, "tenure": None}
    assert told(ask(predict, lenient, [odd])) == told(
        ask(predict, lenient, [as_missing])
    )
    strict = predict.deploy("churn", unknown_categories="error")
    assert refused(ask(predict, strict, [as_missing]))[1] == "BadData"


def ruled(action):
    return (Rule("1" * 24, "always", UncertainPrediction(0.0, 1.0), action),)


def test_humility_rule_replaces_the_number_of_a_regression(predict, specimens):
    always = (Rule("1" * 24, "far", UncertainPrediction(1e9, 2e9), Override(5)),)
    deployed = predict.deploy("price", humility=always)
    rows = rows_of(specimens["price"].frame.head(2))
    assert told(ask(predict, deployed, rows)) == {"rows": [{"price": 5.0}] * 2}


def test_humility_rule_leaves_probabilities_as_they_are(predict, specimens):
    rows = rows_of(specimens["churn"].frame.head(2))
    deployed = predict.deploy("churn", humility=ruled(Override("Yes")))
    assert told(ask(predict, deployed, rows)) == told(ask(predict, "churn", rows))


def test_humility_rule_may_refuse_the_request(predict, specimens):
    rows = rows_of(specimens["churn"].frame.head(2))
    deployed = predict.deploy("churn", humility=ruled(ThrowError("No, not größer")))
    expected = (400, "BadData", "No, not größer")
    assert refused(ask(predict, deployed, rows)) == expected


def test_token_is_needed(predict):
    status, code, _ = refused(ask(predict, "churn", [{}], headers=NO_TOKEN))
    assert (status, code) == (401, "InvalidTokenError")


@pytest.mark.parametrize("scheme", ["Bearer {}", "Token {}", "bearer {}"])
def test_token_may_come_in_any_scheme(predict, specimens, scheme):
    (row,) = rows_of(specimens["churn"].frame.head(1))
    token = predict.site.tokens["ann@example.com"]
    told(ask(predict, "churn", [row], headers={"Authorization": scheme.format(token)}))


def test_token_may_be_the_user_without_a_password(predict, specimens):
    (row,) = rows_of(specimens["churn"].frame.head(1))
    token = predict.site.tokens["ann@example.com"]
    for pair in (f"{token}:", f"ann@example.com:{token}"):
        basic = "Basic " + base64.b64encode(pair.encode()).decode()
        told(ask(predict, "churn", [row], headers={"Authorization": basic}))


def test_deployment_token_opens_its_deployment_alone(predict, specimens):
    store = predict.services.store
    deployment_id = predict.site.deployments["churn"]
    _, secret = store.create_deployment_token(deployment_id)
    predict.services.refresh()
    bearer = {"Authorization": f"Bearer {secret}"}
    (row,) = rows_of(specimens["churn"].frame.head(1))
    told(ask(predict, "churn", [row], headers=bearer))
    for other in ("price", "0" * 24):
        status, code, text = refused(ask(predict, other, [row], headers=bearer))
        assert (status, code) == (403, "InsufficientScopeTokenError")
        assert text == "The token is for another deployment"


def test_deployments_of_others_are_not_found(predict, specimens):
    bob = {"Authorization": f"Bearer {predict.site.tokens['bob']}"}
    status, code, _ = refused(ask(predict, "churn", [{}], headers=bob))
    assert (status, code) == (404, "ResourceNotFound")
    root = {"Authorization": f"Bearer {predict.site.tokens['root']}"}
    (row,) = rows_of(specimens["churn"].frame.head(1))
    told(ask(predict, "churn", [row], headers=root))


def test_disabled_deployment_says_so_in_the_documents_words(predict):
    deployment_id = predict.site.deployments["disabled"]
    assert refused(ask(predict, "disabled", [{}])) == (
        *(403, "DeploymentNotEnabled"),
        f"\N{OCTAGONAL SIGN} Deployment '{deployment_id}' is not enabled",
    )


@pytest.mark.parametrize(
    ("name", "body", "content_type", "expected"),
    [
        ("external", b"{}", JSON, (400, "BadData")),
        ("0" * 24, b"{}", JSON, (404, "ResourceNotFound")),
        ("x", b"{}", JSON, (404, "ResourceNotFound")),
        ("churn", b"", JSON, (400, "BadData")),
        ("churn", b"{", JSON, (400, "JsonParsingError")),
        ("churn", b"[]", JSON, (400, "JsonPropertyTypeMismatch")),
        ("churn", b"a,b\n1,2\n", "text/csv", (415, "UnsupportedContentType")),
        ("churn", b'{"rows": []}', JSON, (400, "BadData")),
    ],
)
def test_bad_requests_have_the_documented_codes(
    predict, name, body, content_type, expected
):
    assert refused(predict(name, body, content_type, layout="rows"))[:2] == expected


def test_addresses_below_speak_the_same_dialect(client):
    assert refused(client.get("/deployment/x/forwards"))[:2] == (
        404,
        "ResourceNotFound",
    )
    answer = client.get("/deployment/x/forward")
    assert refused(answer)[:2] == (405, "MethodNotAllowed")
    assert "POST" in answer.headers["Allow"]


def test_too_many_rows_are_refused(predict, serve, specimens):
    rows = rows_of(specimens["churn"].frame.head(4))
    few = predict.deploy("churn", rows_per_request=3)
    told(ask(predict, few, rows[:3]))
    expected = (413, "RequestTooLarge", "The request has more than 3 rows")
    assert refused(ask(predict, few, rows)) == expected
    assert refused(ask(serve(max_rows=3), "churn", rows)) == expected


def test_too_many_requests_are_told_when_to_come_again(predict, specimens):
    rows = rows_of(specimens["churn"].frame.head(1))
    seldom = predict.deploy("churn", requests_per_minute=2)
    for _ in range(2):
        told(ask(predict, seldom, rows))
    answer = ask(predict, seldom, rows)
    assert refused(answer)[:2] == (429, "TooManyRequests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    # Of whatever address: it is the deployment that is asked.
    answer = predict(seldom, json.dumps(rows), JSON)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_answers_have_a_largest_size(serve_tensors):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    forward = serve_tensors(max_answer=1000)
    row = {"photo": url(png(pixels))}
    assert len(told(ask(forward, "negative", [row] * 2))["rows"]) == 2
    assert refused(ask(forward, "negative", [row] * 40))[:2] == (413, "RequestTooLarge")


def test_pictures_have_a_largest_size(serve_tensors):
    forward = serve_tensors(max_pixels=100)
    small, large = (url(png(np.zeros((n, n), np.uint8))) for n in (10, 11))
    told(ask(forward, "digits", [{"x": small}]))
    status, code, text = refused(ask(forward, "digits", [{"x": small}, {"x": large}]))
    assert (status, code) == (400, "BadData")
    assert text.startswith("row 1, input 'x': ")


def test_picture_may_be_a_data_url_or_a_file(forward):
    data = png(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    from_url = told(ask(forward, "digits", [{"x": url(data)}]))["rows"][0]
    form = {"x": (io.BytesIO(data), "a.png", "image/png")}
    answer = forward("digits", form, "multipart/form-data", layout="rows")
    assert told(answer) == from_url
    assert sum(from_url["probs"].values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, "FeatureNotFound"),
        ({"x": "AAAA"}, "DataUriError"),
        ({"x": "data:image/png;base64,AAAA"}, "BadData"),
        ({"x": 7}, "JsonPropertyTypeMismatch"),
    ],
)
def test_values_that_are_no_pictures_have_the_documented_codes(forward, row, code):
    assert refused(ask(forward, "digits", [row]))[:2] == (400, code)


def test_many_pictures_are_answered_as_each_is(serve_tensors):
    forward = serve_tensors(bulk_body=1000)
    rng = np.random.default_rng(5)
    rows = [
        {"x": url(png(rng.integers(0, 256, (9, 7), dtype=np.uint8)))}
        for _ in range(200)
    ]
    found = told(ask(forward, "digits", rows))["rows"]
    for row, answered in list(zip(rows, found, strict=True))[::40]:
        alone = told(ask(forward, "digits", [row]))["rows"][0]["probs"]
        assert answered["probs"] == pytest.approx(alone, rel=1e-5)


def test_first_bad_row_of_many_is_named(serve_tensors):
    forward = serve_tensors(bulk_body=1000)
    rows = [{"x": [1, 2, 3, 4, 5, 6]}] * 500 + [{"x": [1, 2]}] + [{"x": "?"}]
    status, code, text = refused(ask(forward, "matrix", rows))
    assert (status, code) == (400, "BadData")
    assert text.startswith("row 500, input 'x': ")


def test_row_of_a_later_piece_is_named(predict, serve_tensors, specimens):
    # Behind a megabyte of JSON, behind 64 rows of arrays, behind 8 MB of pictures.
    rows = rows_of(specimens["churn"].frame)[:1] * 12_000
    rows.append({**rows[0], "tenure": "many"})
    assert "'tenure', row 12000" in refused(ask(predict, "churn", rows))[2]
    del rows[-1]["tenure"]
    assert "row 12000, input 'tenure'" in refused(ask(predict, "churn", rows))[2]
    forward = serve_tensors()
    good, bad = {"x": [1, 2, 3, 4, 5, 6]}, {"x": [3e38] * 6}
    text = refused(ask(forward, "matrix", [good] * 200 + [bad] + [good] * 20))[2]
    assert text.startswith("row 200: the model's output 'y'")
    long = {"steps": [[0.5, 0.5]] * 30_000}
    broken = {"steps": [[3e38, 3e38]] * 2}
    text = refused(ask(forward, "steps", [long] * 40 + [broken]))[2]
    assert text.startswith("row 40: the model's output")


def test_request_that_takes_too_long_is_ended(serve_tensors):
    row = {"x": url(png(np.zeros((2000, 2000), np.uint8)))}
    body = json.dumps({"rows": [row] * 60})
    for bulk_body in (100, 10**9):
        forward = serve_tensors(request_seconds=0.3, bulk_body=bulk_body)
        started = time.monotonic()
        answer = forward("digits", body, JSON, layout="rows")
        assert refused(answer)[:2] == (504, "GatewayTimeout")
        assert time.monotonic() - started < 5
        # What is left of it does not go on in the threads behind.
        pool = forward.services.bulk
        assert list(pool.map(len, ["a"], time.monotonic() + 5)) == [1]


def test_pictures_of_a_request_share_a_budget(serve_tensors):
    forward = serve_tensors(max_pixels=100)
    row = {"x": url(png(np.zeros((10, 10), np.uint8)))}
    told(ask(forward, "digits", [row] * 20))
    status, code, text = refused(ask(forward, "digits", [row] * 21))
    assert (status, code) == (400, "BadData")
    assert text.startswith("row 20, input 'x': the request's pictures have more than")


def test_no_more_graphs_run_at_once_than_there_are_slots(serve_tensors):
    forward = serve_tensors(scoring_threads=1)
    row = {"x": [1, 2, 3, 4, 5, 6]}
    far, near = time.monotonic() + 60, time.monotonic() + 0.1
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(forward.services.admission.heavy(far))
        with pytest.raises(DeadlineExceeded), forward.services.admission.heavy(near):
            pass
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, forward, "matrix", [row])
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            taken.close()
            assert len(told(waiting.result(timeout=120))["rows"]) == 1


def test_triggered_rules_are_counted(serve, specimens):
    predict = serve()
    rules = ruled(Override("Yes"))
    deployed = predict.deploy("churn", humility=rules)
    told(ask(predict, deployed, rows_of(specimens["churn"].frame.head(3))))
    totals = predict.services.humility_totals
    predict.services.humility_counts.keep(totals)
    [total] = totals.read(deployed)
    assert (total.triggered, total.looked_at) == (3, 3)


def test_arrays_are_answered_as_the_deployment_says(forward):
    row = {"x": [1, 2, 3, 4, 5, 6]}
    as_json = told(ask(forward, "matrix", [row]))["rows"][0]["y"]
    assert as_json["shape"] == [5] and len(as_json["data"]) == 5
    older = forward.deploy("matrix", tensor_json=False)
    text = told(ask(forward, older, [row]))["rows"][0]["y"]
    head, _, data = text.partition(",")
    assert head == "data:application/x.peltarion.npy;base64"
    array = np.load(io.BytesIO(base64.b64decode(data)))
    assert array.tolist() == np.float32(as_json["data"]).tolist()


@pytest.mark.parametrize("layout", ["legacy", "serverless", "time series"])
def test_graph_of_tensors_is_refused_elsewhere(forward, layout):
    answer = forward("matrix", b"x\n1\n", layout=layout)
    assert answer.status_code == 422
    assert "/deployment/<id>/forward" in json.loads(answer.data)["message"]


def test_time_series_are_refused_here(forecast):
    name = next(iter(forecast.site.deployments))
    status, code, text = refused(ask(forecast, name, [{}]))
    assert (status, code) == (400, "BadData")
    assert "timeSeriesPredictions" in text


def test_page_of_facts_tells_what_a_deployment_takes(forward, client):
    token = forward.site.tokens["ann@example.com"]
    path = f"/deployment/{forward.site.deployments['columns']}"
    bearer = {"Authorization": f"Bearer {token}"}
    facts = told(forward.client.get(path, headers=bearer))
    assert facts["url"] == f"http://localhost{path}/forward"
    assert facts["status"] == "enabled"
    assert [each["name"] for each in facts["inputs"]] == ["a", "kind", "is it"]
    assert [each["shape"] for each in facts["outputs"]] == [[1], [1], [3]]
    assert refused(forward.client.get(path))[:2] == (401, "InvalidTokenError")


def test_facts_of_a_disabled_deployment_say_so(predict):
    token = predict.site.tokens["ann@example.com"]
    path = f"/deployment/{predict.site.deployments['disabled']}"
    answer = predict.client.get(path, headers={"Authorization": f"Bearer {token}"})
    assert told(answer)["status"] == "disabled"
