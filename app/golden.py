"""Golden rows: rows in a bundle with the answers that the model must give to them.

The answers are computed when packaging, by the training library or by a session of
its own, from the rows as they stand here: not by the code that they are to check.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.training_data import spread
from backends.base import Backend
from backends.bundle import GOLDEN, write_json
from backends.by_distance import member
from backends.features import Columns, DataError, Decoder
from backends.model import Feature, Label, Model

Record = dict[str, Any]
Floats = NDArray[np.float64]

_MIXED_ROWS = 30
# Features for each of which a row without a value is made.
_MISSING_ROWS = 10
_NUMBERS = (0, 1, -1, 2**40, -0.0, 1e-40, 0.5, -1e18, 1e30)
_UNSEEN = "☃ unseen"
_TEXTS = ("", '"quoted", then\na new line', "naïve ☃", "x" * 2000)


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows, and what the model answers.

    rows: cells as a client may send them.
    values, raw: float64 (n_rows, k), as `Backend.predict` and `raw_scores` say.
    """

    rows: Sequence[Record]
    values: Floats
    raw: Floats

    def write(self, folder: Path) -> None:
        content = {
            "rows": list(self.rows),
            "values": self.values.tolist(),
            "raw": self.raw.tolist(),
        }
        write_json(folder / GOLDEN, content)

    @classmethod
    def read(cls, folder: Path) -> Golden:
        """Read what `write` wrote. Raises ValueError if it is anything else."""
        try:
            content = json.loads((folder / GOLDEN).read_bytes())
            values, raw = (
                np.array(content[key], np.float64) for key in ("values", "raw")
            )
            rows = [dict(row) for row in content["rows"]]
        except (KeyError, TypeError, FileNotFoundError) as error:
            raise ValueError(f"{GOLDEN} does not hold golden rows") from error
        if not rows or values.ndim != 2 or not len(rows) == len(values) == len(raw):
            raise ValueError(f"{GOLDEN} does not hold an answer for each of its rows")
        return cls(rows, values, raw)


def make(folder: Path, backend: Backend, table: pa.Table, columns: Columns) -> Golden:
    """Choose golden rows for a model, and have them answered another way.

    folder: with the model file.
    table, columns: the training data, as it stands there and decoded.
    """
    model = backend.model
    rows = _mixed_rows(model, table, columns)
    rows += _edge_rows(model, rows[0], columns)
    answer = answering(folder, model)
    decoder = Decoder.of(model)
    kept, values, raw = [], [], []
    for row in rows:
        # Not every model takes every edge: a graph may refuse numbers it cannot hold,
        # and what is not finite is no prediction.
        try:
            backend.predict(decoder.from_records([row]))
        except DataError:
            continue
        answered = answer([row])
        if all(np.isfinite(each).all() for each in answered):
            kept.append(row)
            values.append(answered[0])
            raw.append(answered[1])
    return Golden(kept, np.concatenate(values), np.concatenate(raw))


# ---- Rows


def _mixed_rows(model: Model, table: pa.Table, columns: Columns) -> list[Record]:
    """Rows of which each cell comes from another row of the training data.

    As likely or unlikely as they are, they are nobody's.
    """
    finite = np.flatnonzero(~np.isinf(columns.matrix).any(axis=1))
    order = finite[spread(len(finite))]
    step = max(len(order) // len(model.features), 1)
    rows: list[Record] = [{} for _ in range(min(_MIXED_ROWS, len(order)))]
    for position, feature in enumerate(model.features):
        chosen = np.roll(order, -step * position)[: len(rows)]
        cells = table[feature.name].take(chosen).to_pylist()
        for row, source, raw in zip(rows, chosen.tolist(), cells, strict=True):
            row[feature.name] = _cell(feature, columns, position, source, raw)
    for name, numbers in _beside(model, columns):
        chosen = np.roll(order, step)[: len(rows)]
        for row, number in zip(rows, numbers[chosen].tolist(), strict=True):
            row[name] = _shortest(number)
    return rows


def _beside(model: Model, columns: Columns) -> Iterator[tuple[str, Floats]]:
    """Offset and exposure, as far as the model has them."""
    for name, numbers in (
        (model.offset, columns.offset),
        (model.exposure, columns.exposure),
    ):
        if name is not None and numbers is not None:
            yield name, numbers


def _cell(
    feature: Feature, columns: Columns, position: int, row: int, raw: Any
) -> Label | None:
    """A cell as JSON would bring it: numbers as numbers, levels as levels."""
    if feature.kind == "text":
        return str(columns.texts[position][row])
    value = float(columns.matrix[row, position])
    if feature.kind == "categorical" and not np.isnan(value):
        return (feature.categories or ())[int(value)]
    if np.isnan(value):
        # A level that the model does not know stays what it is.
        unknown = feature.kind == "categorical" and raw not in (None, "") and raw == raw
        return str(raw) if unknown else None
    return _shortest(value)


def _edge_rows(model: Model, base: Record, columns: Columns) -> list[Record]:
    """Rows at the edges of what a model may be sent."""
    own = model.features[:-1] if model.files else model.features
    numeric = [f for f in own if f.kind == "numeric"]
    texts = [f.name for f in model.features if f.kind == "text"]
    optional = [f.name for f in model.features if _may_be_missing(f)]
    edges: list[Record] = [
        *({model.features[-1].name: distance} for distance in model.files),
        *_extremes(model, columns),
        *({f.name: n for f in numeric if _fits(f, n)} for n in _NUMBERS),
        {f.name: _unseen(f) for f in model.features if f.kind == "categorical"},
        *(dict.fromkeys(texts, text) for text in _TEXTS),
        dict.fromkeys(optional),
        *({name: None} for name in optional[:_MISSING_ROWS]),
    ]
    return [base | edge for edge in edges if edge]


def _extremes(model: Model, columns: Columns) -> list[Record]:
    """The smallest numbers of the training data, and the largest."""
    smallest, largest = {}, {}
    for position, feature in enumerate(model.features):
        values = columns.matrix[:, position]
        values = values[np.isfinite(values)]
        if feature.kind == "numeric" and values.size:
            smallest[feature.name] = _shortest(float(values.min()))
            largest[feature.name] = _shortest(float(values.max()))
    for name, numbers in _beside(model, columns):
        smallest[name] = _shortest(float(numbers.min()))
        largest[name] = _shortest(float(numbers.max()))
    return [smallest, largest]


def _shortest(number: float) -> float | int:
    is_whole = number.is_integer() and abs(number) < 2**53
    return int(number) if is_whole else number


def _fits(feature: Feature, number: float) -> bool:
    return feature.dtype != "int64" or (number % 1 == 0 and abs(number) <= 2**53)


def _may_be_missing(feature: Feature) -> bool:
    # An empty CSV cell is the level "", where there is one.
    return feature.missing != "error" and "" not in (feature.categories or ())


def _unseen(feature: Feature) -> Label:
    levels = feature.categories or ()
    if levels and all(isinstance(level, int | float) for level in levels):
        return int(max(float(level) for level in levels)) + 1
    return _UNSEEN


# ---- Answers

Answer = Callable[[Sequence[Record]], tuple[Floats, Floats]]


def answering(folder: Path, model: Model) -> Answer:
    """What answers rows another way than serving: predictions, and raw scores.

    folder: with the model files. Its libraries are too heavy for a server.
    """
    if not model.files:
        return _ANSWERS[model.format](folder, model)
    name = model.features[-1].name
    members = {
        distance: _ANSWERS[model.format](folder, member(model, distance))
        for distance in model.files
    }

    def answer(rows: Sequence[Record]) -> tuple[Floats, Floats]:
        singly = [members[row[name]]([row]) for row in rows]
        values, raw = zip(*singly, strict=True)
        return np.concatenate(values), np.concatenate(raw)

    return answer


def _lightgbm(folder: Path, model: Model) -> Answer:
    """Have the training library answer, from a pandas frame."""
    import lightgbm
    import pandas as pd

    booster = lightgbm.Booster(model_file=folder / model.file)
    levels = [list(f.categories) for f in model.features if f.categories is not None]
    # Else it was trained on the codes themselves, as derived features are.
    takes_levels = [*map(list, booster.pandas_categorical or [])] == levels != []

    def column(feature: Feature, cells: Sequence[Any]) -> Any:
        levels = feature.categories
        if levels is not None and takes_levels:
            known = [cell if cell in levels else None for cell in cells]
            return pd.Categorical(known, categories=list(levels))
        numbers = [_coded(feature, cell) for cell in cells]
        return pd.Series([np.nan if cell is None else float(cell) for cell in numbers])

    def answer(rows: Sequence[Record]) -> tuple[Floats, Floats]:
        frame: Any = pd.DataFrame(
            {f.name: column(f, [row[f.name] for row in rows]) for f in model.features}
        )
        if not takes_levels:
            # The library would look for the category columns that there may have been.
            frame = frame.to_numpy()
        values = np.asarray(booster.predict(frame, num_threads=1))
        raw = np.asarray(booster.predict(frame, raw_score=True, num_threads=1))
        values, raw = (each.reshape(len(rows), -1) for each in (values, raw))
        if model.link is not None:
            values = _adjusted(model, raw, rows)
        return _of_positive(model, values), raw

    return answer


def _adjusted(model: Model, raw: Floats, rows: Sequence[Record]) -> Floats:
    """What the library leaves out of its answers, put in number by number."""
    values = []
    for row, (margin,) in zip(rows, raw.tolist(), strict=True):
        if model.offset is not None:
            margin += row[model.offset]
        value = margin
        if model.link == "log":
            value = _exp(margin)
        elif model.link == "logit":
            value = 1 / (1 + _exp(-margin))
        factor = 1 if model.exposure is None else row[model.exposure]
        values.append([value * factor])
    return np.array(values, np.float64)


def _exp(number: float) -> float:
    try:
        return math.exp(number)
    except OverflowError:
        return math.inf


def _onnx(folder: Path, model: Model) -> Answer:
    """Have a session of its own answer, fed row by row and input by input."""
    from backends.onnx import open_session

    session = open_session(folder / model.file)

    def tensor(declared: Any, cells: list[Any]) -> Any:
        kinds = {"float": "float32", "double": "float64", "string": "object"}
        name = declared.type.removeprefix("tensor(").removesuffix(")")
        values = np.array(
            [np.nan if cell is None and name != "string" else cell for cell in cells],
            dtype=kinds.get(name, name),
        )
        if name == "string":
            values = np.array([text or "" for text in values], dtype=object)
        rows = declared.shape[0] if isinstance(declared.shape[0], int) else 1
        shape = (rows,) if len(declared.shape) == 1 else (rows, len(cells))
        return np.broadcast_to(values, shape).copy()

    def answer(rows: Sequence[Record]) -> tuple[Floats, Floats]:
        answers = []
        for row in rows:
            cells = [_coded(each, row[each.name]) for each in model.features]
            feed = {}
            for declared in session.get_inputs():
                width = declared.shape[1] if len(declared.shape) == 2 else 1
                taken = width if isinstance(width, int) else len(cells)
                feed[declared.name] = tensor(declared, cells[:taken])
                cells = cells[taken:]
            (output,) = session.run([model.output], feed)
            answers.append(np.asarray(output, np.float64).reshape(len(output), -1)[0])
        raw = np.stack(answers)
        return _of_positive(model, raw), raw

    return answer


_ANSWERS: Mapping[str, Callable[[Path, Model], Answer]] = {
    "lightgbm": _lightgbm,
    "onnx": _onnx,
}


def _coded(feature: Feature, cell: Any) -> Any:
    """A level's position in its categories, None if it is none; other cells as such."""
    if feature.categories is None:
        return cell
    return feature.categories.index(cell) if cell in feature.categories else None


def _of_positive(model: Model, values: Floats) -> Floats:
    """The values as a backend gives them: of a binary model the positive label's."""
    if model.task != "binary":
        return values
    is_second = model.positive_label == model.labels[1]
    if values.shape[1] == 2:
        return values[:, 1:] if is_second else values[:, :1]
    return values if is_second else 1 - values


# ---- As clients send them


def as_csv(names: Sequence[str], rows: Sequence[Record]) -> bytes:
    """The rows as a CSV body; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_csv_cell(row[name]) for name in names] for row in rows)
    return text.getvalue().encode()


def _csv_cell(cell: Label | None) -> str:
    if cell is None:
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)


def as_json(rows: Sequence[Record]) -> bytes:
    """The rows as a JSON body."""
    return json.dumps(list(rows), ensure_ascii=False, allow_nan=False).encode()
