"""What the settings of a deployment let a client ask for."""

from __future__ import annotations

import json

import pytest

from tests.forecasts import as_csv, as_json

HEAD = b"tenure,monthly charge,contract,region,plan,senior\n"
ROW = b"12,70.5,One year,01,2,True\n"


def sent(rows, kind):
    if kind == "csv":
        return HEAD + rows * ROW, "text/csv"
    values = [12, 70.5, "One year", "01", 2, True]
    names = HEAD.decode().strip().split(",")
    row = dict(zip(names, values, strict=True))
    return json.dumps([row] * rows).encode(), "application/json"


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
def test_surplus_requests_are_429_with_the_wait(predict, layout):
    deployment = predict.deploy("churn", requests_per_minute=2)
    for _ in range(2):
        assert predict(deployment, HEAD + ROW, layout=layout).status_code == 200
    answer = predict(deployment, HEAD + ROW, layout=layout)
    assert answer.status_code == 429
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 60
    text = f"The deployment may be asked 2 times a minute; try again in {wait} s"
    assert answer.json == {"message": text}
    assert answer.headers.getlist("Content-Type") == ["application/json"]


def test_all_layouts_and_explanations_count_together(predict):
    deployment = predict.deploy("churn", requests_per_minute=3)
    for query, layout in (("", "legacy"), ("maxExplanations=2", "serverless")):
        answer = predict(deployment, HEAD + ROW, query=query, layout=layout)
        assert answer.status_code == 200
    stored = predict.services.store.deployment(deployment)
    path = f"/predApi/v1.0/{stored.id}/{stored.model_id}/predict"
    header = {"Authorization": f"Bearer {predict.site.tokens['ann@example.com']}"}
    statuses = [
        predict.client.post(path, data=HEAD + ROW, headers=header).status_code
        for _ in range(2)
    ]
    assert statuses == [200, 429]


def test_limits_of_others_are_their_own(predict):
    first, second = (predict.deploy("churn", requests_per_minute=1) for _ in "ab")
    for deployment in (first, second, "churn", "churn"):
        assert predict(deployment, HEAD + ROW).status_code == 200
    for deployment in (first, second):
        assert predict(deployment, HEAD + ROW).status_code == 429


def test_strangers_use_up_nothing(predict, site):
    deployment = predict.deploy("churn", requests_per_minute=1)
    for token, status in (("no", 401), (site.tokens["bob"], 404)):
        headers = {"Authorization": f"Bearer {token}"}
        answer = predict(deployment, HEAD + ROW, headers=headers)
        assert answer.status_code == status
    assert predict(deployment, HEAD + ROW).status_code == 200


def test_raised_limit_counts_at_once(predict):
    deployment = predict.deploy("churn", requests_per_minute=1)
    assert predict(deployment, HEAD + ROW).status_code == 200
    assert predict(deployment, HEAD + ROW).status_code == 429
    settings = {"requests_per_minute": None}
    predict.services.store.update_deployment(deployment, settings=settings)
    predict.services.refresh()
    assert predict(deployment, HEAD + ROW).status_code == 200


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_more_rows_than_the_deployment_takes_are_413(predict, kind):
    deployment = predict.deploy("churn", rows_per_request=3)
    assert len(predict(deployment, *sent(3, kind)).json["data"]) == 3
    for rows in (4, 5000):
        answer = predict(deployment, *sent(rows, kind))
        assert answer.status_code == 413
        assert answer.json == {"message": "The body has more than 3 rows"}
    assert len(predict("churn", *sent(4, kind)).json["data"]) == 4


def test_rows_of_the_server_are_the_most_anyway(serve):
    predict = serve(max_rows=2)
    deployment = predict.deploy("churn", rows_per_request=3)
    answer = predict(deployment, *sent(3, "csv"))
    assert answer.json == {"message": "The body has more than 2 rows"}


@pytest.mark.parametrize(("fewer", "status"), [(0, 200), (1, 413)])
def test_history_counts_among_the_rows(forecast, forecasters, fewer, status):
    rows = forecasters["sales"].request()
    deployment = forecast.deploy("sales", rows_per_request=len(rows) - fewer)
    sent = as_csv(rows), as_json(rows, {"sales"})
    for body, kind in zip(sent, ("text/csv", "application/json"), strict=True):
        assert forecast(deployment, body, kind).status_code == status
