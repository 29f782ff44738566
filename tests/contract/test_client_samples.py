"""Requests of the published samples in Python, Node, Go, Java and .NET.

They send the same array of records, and differ in what they say of it.
"""

from __future__ import annotations

import json

import pytest

KEY = "DR-key-1"


@pytest.mark.parametrize(
    ("content_type", "accept", "key"),
    [
        ("application/json; charset=UTF-8", "*/*", "datarobot-key"),
        ("application/json", "application/json", "datarobot-key"),
        ("application/json;charset=utf-8", "*/*", "DataRobot-Key"),
        ("application/json", "application/json, text/plain, */*", "Datarobot-key"),
    ],
)
def test_records(serve, site, specimens, content_type, accept, key):
    frame = specimens["churn"].frame[:5].astype(object)
    records = frame.where(frame.notna(), None).to_dict("records")
    answer = serve(datarobot_key=KEY)(
        "churn",
        json.dumps(records, default=bool),
        content_type,
        headers={"Accept": accept, key: KEY, "Accept-Encoding": "gzip, deflate, br"},
    )
    assert answer.status_code == 200, answer.data
    assert answer.headers["Content-Type"].startswith("application/json")
    assert [row["rowId"] for row in answer.get_json()["data"]] == list(range(5))
