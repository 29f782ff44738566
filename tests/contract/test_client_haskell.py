"""What a client with types needs of a prediction: numbers, labels, and a header."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize("name", ["churn", "price", "plan", "grade"])
def test_values_have_a_label_and_a_number(predict, specimens, name):
    frame = specimens[name].frame[:20]
    answer = predict(name, frame.to_csv(index=False).encode())
    assert float(answer.headers["X-DataRobot-Execution-Time"]) > 0
    rows = json.loads(answer.data)["data"]
    assert len(rows) == 20
    for row in rows:
        for each in row["predictionValues"]:
            assert isinstance(each["label"], str | int | float)
            assert isinstance(each["value"], int | float)
