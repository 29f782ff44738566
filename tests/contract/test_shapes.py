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
from app.explaining import Explanations, Mismatch
from app.explanation_columns import Told
from app.scoring import Predictions
from backends.explanations.strength import SYMBOLS
from backends.features import Columns
from backends.humility import (
    Humbled,
    NoOperation,
    Override,
    Rule,
    UncertainPrediction,
)
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
    chunk: Chunk
    json: str
    csv: str


def is_number(values: list[Any]) -> bool:
    return not any(isinstance(value, str) for value in values)


def model_of(stated: dict[str, Any], sent: dict[str, list[Any]]) -> Model:
    """A model of what is sent: numbers and texts."""
    features = tuple(
        Feature(name, "numeric")
        if is_number(values)
        else Feature(name, "text", dtype="string", missing="empty")
        for name, values in sent.items()
    )
    labels = tuple(stated.pop("labels", ()))
    return Model(
        *("0" * 24, "m", "onnx", "m.onnx"), features=features, labels=labels, **stated
    )


def chunk_of(
    sent: dict[str, list[Any]],
    passthrough: dict[str, list[Any]],
    count: int,
    exposure: list[float] | None,
) -> Chunk:
    columns = [
        values if is_number(values) else [None] * count for values in sent.values()
    ]
    cells = {name: values for name, values in sent.items() if not is_number(values)}
    matrix = np.array(columns, np.float64).T
    years = None if exposure is None else np.array(exposure)
    return Chunk(0, Columns(matrix, exposure=years), passthrough, cells)


def explanations_of(model: Model, stated: dict[str, Any]) -> Explanations:
    """The stated ones, with positions for names."""
    names = [feature.name for feature in model.features]
    features = np.vectorize(names.index)(np.array(stated["features"]))
    symbols = stated.get("symbols")
    classes = stated.get("classes", [["?"]] * len(features))
    mismatch = stated.get("mismatch")
    base, remaining = stated.get("base"), stated.get("remaining")
    return Explanations(
        np.array(stated["explained"]),
        np.array(
            [[max(0, find(model.labels, each)) for each in row] for row in classes]
        ),
        features,
        np.array(stated["strengths"], np.float64),
        None if symbols is None else np.vectorize(SYMBOLS.index)(np.array(symbols)),
        None if base is None else np.full(len(features), base),
        None if remaining is None else np.array(remaining),
        None if mismatch is None else Mismatch(**mismatch),
    )


def find(labels: tuple[Any, ...], label: Any) -> int:
    return labels.index(label) if label in labels else -1


def rules_of(stated: dict[str, Any]) -> tuple[Rule, ...]:
    """A rule for each id, with what it puts in a prediction's place, if anything."""
    trigger = UncertainPrediction(0.0, 1.0)
    return tuple(
        Rule(
            each, f"rule {number}", trigger, Override(value) if value else NoOperation()
        )
        for number, (each, value) in enumerate(stated["rules"].items(), 1)
    )


@pytest.fixture(params=SHAPES, ids=lambda path: path.stem)
def shape(request: pytest.FixtureRequest) -> Shape:
    text = request.param.read_text(encoding="utf-8")
    stated = json.loads(text)
    passthrough = stated.get("passthrough", {})
    values = np.array(stated["values"], np.float64)
    sent = stated.get("features", {"x": [0] * len(values)})
    model = model_of(stated["model"], sent)
    told, humility = stated.get("told"), stated.get("humility")
    answer = Answer(
        model,
        passthrough=tuple(passthrough),
        told=None if told is None else Told(**told),
        humility=() if humility is None else rules_of(humility),
        **stated.get("settings", {}),
    )
    outliers = stated.get("outliers")
    predictions = Predictions(
        values,
        positive=values[:, 0] > answer.threshold,
        outliers=None if outliers is None else np.array(outliers),
        humbled=None
        if humility is None
        else Humbled(np.array(humility["triggered"]), np.array(humility["overriding"])),
        explanations=None
        if told is None
        else explanations_of(model, stated["explanations"]),
    )
    return Shape(
        answer,
        predictions,
        chunk_of(sent, passthrough, len(values), stated.get("exposure")),
        compact(value_text(text, text.index('"json":') + len('"json":'))),
        "".join(f"{line}\n" for line in stated["csv"]),
    )


@pytest.mark.parametrize(("writer", "form"), [(JsonWriter, "json"), (CsvWriter, "csv")])
def test_answer_is_the_stated_one(shape, writer, form):
    written = writer(shape.answer)
    rows = written.rows(shape.predictions, shape.chunk)
    assert (written.head + rows + written.foot).decode() == getattr(shape, form)
