"""Predictions to JSON or CSV bytes, column by column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from app.decode import Chunk
from app.errors import OutputColumnsClash
from app.scoring import Predictions
from backends.model import Label, Model

Passthrough = Mapping[str, Sequence[Any] | pa.Array]
Tokens = Iterable[bytes]

# The largest power of ten that a double holds exactly.
_LARGEST_EXACT_POWER = 22
# Up to so many numbers, numpy's calls cost more than Python's rounding.
_FEW = 32
_CSV_QUOTED = re.compile(r'[",\r\n]')


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer is to look like.

    threshold: binary only.
    decimals: most digits after the point.
    named_labels: binary labels in JSON by name instead of 1 and 0.
    with_outliers: whether the predictions carry outlier flags.
    approval: the deployment's approval status; None where the workflow is off.
    passthrough: names of the passthrough columns, in order.
    """

    model: Model
    threshold: float = 0.5
    decimals: int = 10
    named_labels: bool = False
    with_outliers: bool = False
    approval: str | None = None
    passthrough: Sequence[str] = ()


class JsonWriter:
    """Writes rows in the documented key order.

    Rows differ in their numbers only: whole columns are turned into text at once, and
    each row of them fills the same template.
    """

    media_type = "application/json"
    head = b'{"data":['
    separator = b","
    foot = b"]}"

    def __init__(self, answer: Answer) -> None:
        self.model = answer.model
        self.decimals = answer.decimals
        labels = json_labels(answer.model, named=answer.named_labels)
        self.labels = list(map(orjson.dumps, labels))
        self._row = _template(answer, self.labels)
        self._end = b"}"
        if answer.approval is not None:
            approval = _constant(orjson.dumps(answer.approval))
            self._end = b',"deploymentApprovalStatus":' + approval + b"}"

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' objects joined by commas, without the enclosing list."""
        passthrough = chunk.passthrough
        row_ids = _row_ids(chunk.first_row, len(predictions))
        cells = _JSON_CELLS[self.model.task](self, predictions, row_ids)
        cells += [map(json_value, _plain(values)) for values in passthrough.values()]
        row = self._row + _passed(passthrough) + self._end
        return b",".join([row % each for each in zip(*cells, strict=True)])

    def _binary(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        positive = predictions.values[:, 0]
        flags = np.asarray(predictions.positive)
        yes, no = self.labels
        return [
            number_tokens(positive, self.decimals),
            number_tokens(1.0 - positive, self.decimals),
            _pick([no, yes], flags),
            row_ids,
        ]

    def _regression(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        values = number_tokens(predictions.values[:, 0], self.decimals)
        if predictions.outliers is None:
            return [values, values, row_ids]
        return [
            values,
            _pick([b"false", b"true"], predictions.outliers),
            row_ids,
            values,
        ]

    def _multiclass(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        numbers: list[Tokens] = [
            number_tokens(values, self.decimals) for values in predictions.values.T
        ]
        winners = predictions.values.argmax(axis=1)
        return [*numbers, _pick(self.labels, winners), row_ids]


# In the order in which the templates take them.
_JSON_CELLS = {
    "binary": JsonWriter._binary,
    "regression": JsonWriter._regression,
    "multiclass": JsonWriter._multiclass,
}


# Each in two steps: %b is what all rows share, %%b what is each row's own.
_BINARY_ROW = (
    b'{"predictionValues":[{"value":%%b,"label":%b},{"value":%%b,"label":%b}],'
    b'"predictionThreshold":%b,"prediction":%%b,"rowId":%%b'
)
_REGRESSION_ROW = (
    b'{"predictionValues":[{"value":%%b,"label":%b}],"prediction":%%b,"rowId":%%b'
)
# The documented sample with a warning has the keys in another order.
_FLAGGED_ROW = (
    b'{"predictionValues":[{"value":%%b,"label":%b}],'
    b'"isOutlierPrediction":%%b,"rowId":%%b,"prediction":%%b'
)
_MULTICLASS_ROW = b'{"predictionValues":[%b],"prediction":%%b,"rowId":%%b'
_MULTICLASS_VALUE = b'{"value":%%b,"label":%b}'


def _template(answer: Answer, labels: Sequence[bytes]) -> bytes:
    """A row's text up to what is passed through; takes the cells of a row."""
    labels = list(map(_constant, labels))
    if answer.model.task == "binary":
        return _BINARY_ROW % (*labels, orjson.dumps(answer.threshold))
    if answer.model.task == "multiclass":
        values = [_MULTICLASS_VALUE % label for label in labels]
        return _MULTICLASS_ROW % b",".join(values)
    return (_FLAGGED_ROW if answer.with_outliers else _REGRESSION_ROW) % labels[0]


def _passed(passthrough: Passthrough) -> bytes:
    if not passthrough:
        return b""
    names = [_constant(orjson.dumps(name)) + b":%b" for name in passthrough]
    return b',"passthroughValues":{' + b",".join(names) + b"}"


def _constant(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


class CsvWriter:
    """Writes rows under the output columns of the real-time and batch answers."""

    media_type = "text/csv; charset=utf-8"
    separator = b""
    foot = b""

    def __init__(self, answer: Answer) -> None:
        """Raises OutputColumnsClash if a passthrough column has an output's name."""
        self.model = answer.model
        self.decimals = answer.decimals
        self.threshold = repr(float(answer.threshold)).encode()
        self.approval = answer.approval
        columns = csv_columns(answer)
        if clash := [name for name in answer.passthrough if name in set(columns)]:
            raise OutputColumnsClash(clash)
        self.head = b",".join(map(csv_cell, [*columns, *answer.passthrough])) + b"\n"

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' lines, each ended."""
        cells = _CELLS[self.model.task](self, predictions)
        if predictions.outliers is not None:
            cells.append(_pick([b"False", b"True"], predictions.outliers))
        if self.approval is not None:
            cells.append(repeat(csv_cell(self.approval)))
        for values in chunk.passthrough.values():
            cells.append(map(csv_cell, _plain(values)))
        parts = list(
            chain.from_iterable(zip(cells, repeat(repeat(b",")), strict=False))
        )
        parts[-1] = repeat(b"\n")
        return b"".join(_weave(parts))

    def _binary(self, predictions: Predictions) -> list[Tokens]:
        positive = predictions.values[:, 0]
        yes = csv_cell(label_text(self.model.positive_label))
        no = csv_cell(label_text(self.model.negative_label))
        return [
            _csv_numbers(positive, self.decimals),
            _csv_numbers(1.0 - positive, self.decimals),
            _pick([no, yes], np.asarray(predictions.positive)),
            repeat(self.threshold),
            repeat(yes),
        ]

    def _regression(self, predictions: Predictions) -> list[Tokens]:
        return [_csv_numbers(predictions.values[:, 0], self.decimals)]

    def _multiclass(self, predictions: Predictions) -> list[Tokens]:
        labels = [csv_cell(label_text(label)) for label in self.model.labels]
        numbers: list[Tokens] = [
            _csv_numbers(values, self.decimals) for values in predictions.values.T
        ]
        return [*numbers, _pick(labels, predictions.values.argmax(axis=1))]


_CELLS = {
    "binary": CsvWriter._binary,
    "regression": CsvWriter._regression,
    "multiclass": CsvWriter._multiclass,
}


def csv_columns(answer: Answer) -> list[str]:
    """Names of the output columns, in the order of recorded answers."""
    model = answer.model
    classes: Sequence[Label | None] = model.labels
    if model.task == "binary":
        classes = (model.positive_label, model.negative_label)
    columns = [f"{model.target}_{label_text(label)}_PREDICTION" for label in classes]
    columns.append(f"{model.target}_PREDICTION")
    if model.task == "binary":
        columns += ["THRESHOLD", "POSITIVE_CLASS"]
    if answer.with_outliers:
        columns.append("IS_OUTLIER_PREDICTION")
    if answer.approval is not None:
        columns.append("DEPLOYMENT_APPROVAL_STATUS")
    return columns


def json_labels(model: Model, *, named: bool) -> list[Label | None]:
    """The labels of `predictionValues`, in their order.

    Binary: 1 and 0, positive first, or the class names; multiclass: always strings;
    regression: the target's name.
    """
    if model.task == "regression":
        return [model.target]
    if model.task == "multiclass":
        return [label_text(label) for label in model.labels]
    return [model.positive_label, model.negative_label] if named else [1, 0]


def label_text(label: Label | None) -> str:
    """A class label as column names and CSV cells spell it."""
    return str(label)


def round_decimals(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Round to at most so many digits after the point, exactly; -0.0 becomes 0.0.

    Equal to Python's `round` on every value. A number scaled by a power of ten is off
    by at most half a unit in its last place: where that could decide between two
    neighbours, Python's own decimal rounding does.
    """
    if decimals > _LARGEST_EXACT_POWER or len(values) < _FEW:
        return _round_slowly(values, decimals)
    scale = 10.0**decimals
    # Numbers beyond this have no digit to round, and would overflow when scaled.
    scaled = np.where(np.abs(values) < 2.0**52, values, 0.0) * scale
    rounded = np.rint(scaled) / scale
    doubtful = np.abs(scaled - np.floor(scaled) - 0.5) <= np.abs(scaled) * 2.0**-51
    doubtful |= np.abs(values) >= 2.0**52
    if doubtful.any():
        rounded[doubtful] = _round_slowly(values[doubtful], decimals)
    return np.asarray(rounded + 0.0)


def _round_slowly(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    return np.array(_rounded(values, decimals), np.float64)


def _rounded(values: NDArray[np.float64], decimals: int) -> list[float]:
    # No double has a digit further than 1,074 places behind the point.
    places = min(decimals, 1100)
    # Adding 0.0 makes -0.0 positive.
    return [round(value, places) + 0.0 for value in values.tolist()]


def number_tokens(values: NDArray[np.float64], decimals: int) -> list[bytes]:
    """Each number rounded, in its shortest form."""
    if len(values) < _FEW:
        return [orjson.dumps(value) for value in _rounded(values, decimals)]
    return _tokens(round_decimals(np.ascontiguousarray(values), decimals))


def _csv_numbers(values: NDArray[np.float64], decimals: int) -> list[bytes]:
    rounded = round_decimals(np.ascontiguousarray(values), decimals)
    tokens = _tokens(rounded)
    # Recorded CSV answers spell these as Python does: 6.50871e-05.
    sizes = np.abs(rounded)
    unusual = (sizes != 0.0) & ((sizes < 1e-4) | (sizes >= 1e16))
    for position in np.flatnonzero(unusual).tolist():
        tokens[position] = repr(float(rounded[position])).encode()
    return tokens


def _tokens(values: NDArray[np.float64]) -> list[bytes]:
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].split(b",")


def _row_ids(first_row: int, count: int) -> list[bytes]:
    return [b"%d" % row for row in range(first_row, first_row + count)]


def _pick(
    choices: Sequence[bytes], positions: NDArray[np.intp] | NDArray[np.bool_]
) -> list[bytes]:
    return [choices[position] for position in positions.tolist()]


def _plain(values: Sequence[Any] | pa.Array) -> Sequence[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else values


def json_value(value: Any) -> bytes:
    """A passthrough value as JSON; NaN and infinities, which JSON lacks, as null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # An integer that does not fit 64 bits.
        return orjson.dumps(str(value))


def csv_cell(value: Any) -> bytes:
    """A value as a CSV cell: quoted only where it must be; None is empty."""
    if value is None:
        return b""
    text = value if isinstance(value, str) else _cell_text(value)
    if _CSV_QUOTED.search(text) or text[:1] == " " or text[-1:] == " ":
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return json_value(value).decode()


def _weave(parts: Sequence[Tokens]) -> list[bytes]:
    # The constant parts repeat without end: the columns between them set the length.
    return [b"".join(row) for row in zip(*parts, strict=False)]
