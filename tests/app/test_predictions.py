"""The prediction view in its process: places, time, models, log lines."""

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from backends.trees.backend import TreesBackend

HEADER = b"tenure,monthly charge,contract,region,plan,senior\n"
ROW = b"12,70.5,One year,01,2,True\n"
CSV = HEADER + ROW


def message(answer):
    return json.loads(answer.data)["message"]


class Stream:
    """A body that arrives in pieces; an exception among them is raised."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read(self, size=-1):
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, bytes):
            return piece
        raise piece


def test_body_may_arrive_in_pieces(predict):
    pieces = [bytes([byte]) for byte in CSV]
    assert predict("churn", Stream(*pieces)).data == predict("churn", CSV).data


def test_client_that_stops_sending_is_answered_408(predict):
    answer = predict("churn", Stream(HEADER, TimeoutError()))
    assert answer.status_code == 408
    assert message(answer) == "The request's body did not arrive in time"


def test_broken_connection_is_a_broken_body(predict):
    answer = predict("churn", Stream(HEADER, ConnectionResetError()))
    assert answer.status_code == 400
    assert message(answer) == "The body ends before it is complete"


def test_body_shorter_than_announced_is_refused(predict, client, site):
    answer = client.post(
        f"/api/v2/deployments/{site.deployments['churn']}/predictions",
        data=CSV,
        headers={"Authorization": f"Bearer {site.tokens['ann@example.com']}"},
        environ_overrides={"CONTENT_LENGTH": str(len(CSV) + 10)},
    )
    assert answer.status_code == 400
    expected = f"The body ends after {len(CSV)} of the {len(CSV) + 10} bytes announced"
    assert message(answer) == expected


def test_every_refusal_gives_its_place_back(serve):
    predict = serve(max_in_flight=1, workers=1)
    for body, kind, headers in (
        (b"", "text/csv", {}),
        (b"{", "application/json", {}),
        (CSV, "image/png", {}),
        (CSV, "text/csv", {"Authorization": "Bearer x"}),
        (CSV, "text/csv", {"Accept": "image/png"}),
        (Stream(HEADER, TimeoutError()), "text/csv", {}),
        (HEADER + ROW * 50_000 + b"x,1,,,1,True\n", "text/csv", {}),
    ):
        assert predict("churn", body, kind, headers=headers).status_code >= 400
        assert predict("churn", CSV).status_code == 200


def test_requests_beyond_the_places_are_told_to_come_again(serve):
    predict = serve(max_in_flight=2, workers=1)
    begun, go_on = threading.Semaphore(0), threading.Event()

    class Slow(Stream):
        def read(self, size=-1):
            begun.release()
            go_on.wait(120)
            return super().read(size)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(predict, "churn", Slow(CSV))
        assert begun.acquire(timeout=120)
        with predict.services.admission:
            refused = predict("churn", CSV)
        # The one that is left is answered while the slow one goes on.
        assert predict("churn", CSV).status_code == 200
        go_on.set()
        assert slow.result(120).status_code == 200
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"


def test_large_body_waits_for_its_slot_and_no_longer_than_a_request_may(serve):
    predict = serve(bulk_body=100, request_seconds=1.0)
    large = HEADER + ROW * 10
    with predict.services.admission.bulk(time.monotonic() + 9):
        started = time.monotonic()
        answer = predict("churn", large)
        waited = time.monotonic() - started
        assert predict("churn", CSV).status_code == 200
    assert answer.status_code == 504
    assert 0.9 < waited < 9
    assert predict("churn", large).status_code == 200


def test_compressed_body_counts_for_what_it_may_hold(serve):
    predict = serve(bulk_body=1000)
    packed = gzip.compress(HEADER + ROW * 500)
    assert len(packed) < 1000
    with ThreadPoolExecutor(1) as pool:
        with predict.services.admission.bulk(time.monotonic() + 1):
            headers = {"Content-Encoding": "gzip"}
            waiting = pool.submit(predict, "churn", packed, headers=headers)
            time.sleep(0.1)
            assert not waiting.done()
        assert waiting.result(120).status_code == 200


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("deployments/{}/predictions", "maxExplanations=1"),
        ("deployments/{}/predictions", "explanationAlgorithm=shap"),
        ("deployments/{}/predictionExplanations", ""),
    ],
)
def test_body_to_be_explained_counts_for_the_work_it_makes(serve, path, query):
    predict = serve(bulk_body=1000, request_seconds=0.5)
    body = HEADER + ROW * 10
    assert 1000 / 20 < len(body) < 1000
    headers = {"Authorization": f"Bearer {predict.site.tokens['ann@example.com']}"}
    address = path.format(predict.site.deployments["churn"])

    def ask(query):
        url = f"/predApi/v1.0/{address}?{query}"
        return predict.client.post(url, data=body, headers=headers).status_code

    with predict.services.admission.bulk(time.monotonic() + 9):
        assert ask(query) == 504
        assert ask("maxExplanations=0") == 200
    assert ask(query) == 200


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("query", ["maxExplanations=2", "explanationAlgorithm=shap"])
def test_bulk_explanations_are_those_of_small_requests(serve, predict, query, accept):
    bulk = serve(bulk_body=1, scoring_threads=2)
    rows = HEADER + (ROW + b",18.25,,NA,3,False\n") * 8000
    small = HEADER + ROW + b",18.25,,NA,3,False\n"
    headers = {"Accept": accept}
    many = bulk("churn", rows, query=query, headers=headers).data
    few = predict("churn", small, query=query, headers=headers).data
    if accept == "text/csv":
        lines = few.splitlines()
        assert many.splitlines() == [lines[0], *lines[1:] * 8000]
        return
    expected = json.loads(few)["data"] * 8000
    for number, row in enumerate(json.loads(many)["data"]):
        assert row == {**expected[number], "rowId": number}


def test_time_is_over_between_two_chunks(serve, monkeypatch):
    predict = serve(request_seconds=1.0)
    assert predict("churn", CSV).status_code == 200
    real = TreesBackend.predict

    def slow(backend, columns):
        time.sleep(1.2)
        return real(backend, columns)

    monkeypatch.setattr(TreesBackend, "predict", slow)
    answer = predict("churn", HEADER + ROW * 200_000)
    assert answer.status_code == 504
    assert message(answer) == "The request took longer than the server allows"


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_bulk_answers_are_those_of_small_requests(serve, predict, kind, accept):
    bulk = serve(bulk_body=1, scoring_threads=2)
    body, kind = HEADER + ROW * 3000, "text/csv"
    if kind == "json":
        names = HEADER.decode().strip().split(",")
        values = [12, 70.5, "One year", "01", 2, True]
        record = dict(zip(names, values, strict=True))
        body, kind = json.dumps([record] * 3000).encode(), "application/json"
    asked = {"headers": {"Accept": accept}, "query": "passthroughColumns=region"}
    assert bulk("churn", body, kind, **asked).data == (
        predict("churn", body, kind, **asked).data
    )


def test_bad_row_of_a_later_chunk_is_named_by_its_number(predict):
    body = HEADER + ROW * 100_000 + b"x,1,,,1,True\n"
    answer = predict("churn", body)
    assert answer.status_code == 422
    assert message(answer) == (
        "column 'tenure', row 100000: a number is expected, not 'x'"
    )


def test_row_that_is_not_finite_is_named_by_its_number(predict):
    body = "sepal length,sepal width,pétale\n" + "1,1,1\n" * 300_000 + ",1,1\n"
    answer = predict("onnx-price", body.encode())
    assert answer.status_code == 422
    assert message(answer) == (
        "row 300000: the model's prediction is not a finite number"
    )


def test_model_id_is_that_of_the_model_that_answers(predict, services, specimens):
    swapped = predict.deploy("churn")
    body = specimens["churn"].frame[:5].to_csv(index=False).encode()
    before = predict(swapped, body)
    services.store.replace_model(swapped, specimens["price"].model.id)
    assert predict(swapped, body).data == before.data
    services.refresh()
    after = predict(swapped, body)
    assert before.headers["X-DataRobot-Model-Id"] == specimens["churn"].model.id
    assert after.headers["X-DataRobot-Model-Id"] == specimens["price"].model.id
    assert after.data == predict("price", body).data


def test_models_are_swapped_under_load_without_a_failure(predict, services, specimens):
    swapped = predict.deploy("plan")
    body = specimens["plan"].frame[:3].to_csv(index=False).encode()
    models = {specimens[name].model.id: name for name in ("plan", "grade")}
    expected = {each: predict(name, body).data for each, name in models.items()}
    stop = threading.Event()

    def ask():
        answers = []
        while not stop.is_set() and len(answers) < 5000:
            answers.append(predict(swapped, body))
        return answers

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for number in range(10):
                services.store.replace_model(swapped, list(models)[number % 2])
                services.refresh()
        finally:
            stop.set()
        answers = [answer for each in asking for answer in each.result(120)]
    assert len(answers) > 10
    for answer in answers:
        assert answer.status_code == 200
        assert answer.data == expected[answer.headers["X-DataRobot-Model-Id"]]


def test_disabling_counts_at_once_and_enabling_too(predict, services):
    switched = predict.deploy("churn")
    for enabled, status in ((False, 422), (True, 200)):
        services.store.set_enabled(switched, enabled)
        services.refresh()
        assert predict(switched, CSV).status_code == status


def test_revoked_and_expired_tokens_are_refused(predict, services, monkeypatch):
    token, secret = services.store.create_token("ann@example.com")
    services.refresh()
    header = {"Authorization": f"Bearer {secret}"}
    assert predict("churn", CSV, headers=header).status_code == 200
    services.store.revoke_token(token.id)
    services.refresh()
    assert predict("churn", CSV, headers=header).status_code == 401


def test_server_that_has_not_read_its_store_says_so(site):
    from app.config import Config
    from app.factory import create_app

    client = create_app(Config(home=site.home)).test_client()
    header = {"Authorization": f"Bearer {site.tokens['ann@example.com']}"}
    path = f"/api/v2/deployments/{site.deployments['churn']}/predictions"
    answer = client.post(path, data=CSV, headers=header)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert message(answer) == "The server is not ready"
    assert client.get("/readyz").status_code == 503


def test_log_line_tells_who_what_and_how_long(predict, site, specimens, capfd):
    token = site.tokens["ann@example.com"]
    query = "passthroughColumns=region"
    answer = predict("churn", CSV + ROW, query=query)
    [line] = capfd.readouterr().out.splitlines()
    logged = json.loads(line)
    assert logged["request_id"] == answer.headers["X-DataRobot-Request-ID"]
    assert logged["user"] == site.users["ann@example.com"]
    assert logged["deployment"] == site.deployments["churn"]
    assert logged["model"] == specimens["churn"].model.id
    assert logged["method"] == "POST"
    assert logged["status"] == 200
    assert logged["rows"] == 2
    assert logged["bytes_in"] == len(CSV + ROW)
    assert logged["bytes_out"] == len(answer.data)
    assert list(logged["stages"]) == ["accept", "read", "decode", "score", "finish"]
    assert 0 < sum(logged["stages"].values()) <= logged["ms"] + 1
    assert token not in line
    assert "One year" not in line


def test_log_line_of_a_refusal_tells_what_is_known(predict, site, capfd):
    secret = "Bearer " + "s" * 40
    predict("churn", CSV, headers={"Authorization": secret})
    predict("churn", b"a\n1\n")
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert (first["status"], first["user"], first["rows"]) == (401, None, None)
    assert (second["status"], second["rows"]) == (422, None)
    assert second["user"] == site.users["ann@example.com"]
    assert "ssss" not in json.dumps(first)


def test_internal_error_keeps_its_reason_to_the_log(predict, monkeypatch, caplog):
    def broken(backend, columns):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(TreesBackend, "predict", broken)
    answer = predict("churn", CSV)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/json"
    expected = "The server met an internal error; its log has the request id"
    assert message(answer) == expected
    assert answer.headers["X-DataRobot-Request-ID"] in caplog.text
    assert "secret detail" in caplog.text


def test_prediction_that_is_not_finite_is_never_answered(predict, monkeypatch):
    def odd(backend, columns):
        return np.full((len(columns), 1), np.nan)

    monkeypatch.setattr(TreesBackend, "predict", odd)
    answer = predict("price", CSV)
    assert answer.status_code == 422
    assert message(answer) == "row 0: the model's prediction is not a finite number"
