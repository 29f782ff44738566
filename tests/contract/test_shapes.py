"""Every shape of an answer, stated in a file and written from its numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.decode import Chunk
from app.encode import Answer, CsvWriter, JsonWriter
from app.scoring import Predictions
from backends.features import Columns
from backends.model import Feature, Model
from tests.contract.spelling import compact, value_text

SHAPES = sorted((Path(__file__).parent / "shapes").glob("*.json"))


@dataclass(frozen=True)
class Shape:
    """What is to be written, and what it must look like.

    json: without blanks between tokens.
    """

    answer: Answer
    predictions: Predictions
    passthrough: dict[str, list[Any]]
    json: str
    csv: str


@pytest.fixture(params=SHAPES, ids=lambda path: path.stem)
def shape(request: pytest.FixtureRequest) -> Shape:
    text = request.param.read_text(encoding="utf-8")
    stated = json.loads(text)
    passthrough = stated.get("passthrough", {})
    labels = tuple(stated["model"].pop("labels", ()))
    features = (Feature("x", "numeric"),)
    model = Model(
        "0" * 24,
        "m",
        "onnx",
        "m.onnx",
        features=features,
        labels=labels,
        **stated["model"],
    )
    answer = Answer(model, passthrough=tuple(passthrough), **stated.get("settings", {}))
    values = np.array(stated["values"], np.float64)
    outliers = stated.get("outliers")
    return Shape(
        answer,
        Predictions(
            values,
            positive=values[:, 0] > answer.threshold,
            outliers=None if outliers is None else np.array(outliers),
        ),
        passthrough,
        compact(value_text(text, text.index('"json":') + len('"json":'))),
        "".join(f"{line}\n" for line in stated["csv"]),
    )


@pytest.mark.parametrize(("writer", "form"), [(JsonWriter, "json"), (CsvWriter, "csv")])
def test_answer_is_the_stated_one(shape, writer, form):
    written = writer(shape.answer)
    columns = Columns(np.empty((len(shape.predictions), 1)))
    chunk = Chunk(0, columns, shape.passthrough)
    rows = written.rows(shape.predictions, chunk)
    assert (written.head + rows + written.foot).decode() == getattr(shape, form)
