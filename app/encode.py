"""Predictions to JSON or CSV bytes, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from app.decode import Chunk
from app.errors import OutputColumnsClash
from app.explanation_columns import ExplanationCells, Told
from app.humility_columns import (
    humility_keys,
    overridden,
    override_values,
    replaced,
)
from app.json_rows import (
    RowTemplate,
    constant,
    plain_rows,
    shap_rows,
    with_adjusted,
)
from app.scoring import Predictions
from app.tokens import (
    Tokens,
    csv_cell,
    csv_numbers,
    json_value,
    number_tokens,
    pick,
    plain,
)
from backends.humility import Rule
from backends.model import Label, Model

Passthrough = Mapping[str, Sequence[Any] | pa.Array]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer is to look like.

    threshold: binary only.
    decimals: most digits after the point.
    named_labels: binary labels in JSON by name instead of 1 and 0.
    with_outliers: whether the predictions carry outlier flags.
    approval: the deployment's approval status; None where the workflow is off.
    passthrough: names of the passthrough columns, in order.
    humility: the rules that the predictions were held against.
    told: what the predictions' explanations tell; None if they carry none.
    adjusted: whether JSON tells predictions divided by the rows' exposure as well,
        which the rows then have.
    """

    model: Model
    threshold: float = 0.5
    decimals: int = 10
    named_labels: bool = False
    with_outliers: bool = False
    approval: str | None = None
    passthrough: Sequence[str] = ()
    humility: Sequence[Rule] = ()
    told: Told | None = None
    adjusted: bool = False


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
        self.rules = answer.humility
        labels = json_labels(answer.model, named=answer.named_labels)
        self.labels = tuple(map(orjson.dumps, labels))
        self.overrides = _overrides(answer, self.labels)
        self.explanations = _explanation_cells(answer, self.labels)
        self.template = _template(answer, self.labels)
        self.adjusted = answer.adjusted
        if answer.adjusted:
            self.template = with_adjusted(self.template, self.labels[0])

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' objects joined by commas, without the enclosing list."""
        passthrough = chunk.passthrough
        row_ids = _row_ids(chunk.first_row, len(predictions))
        cells = _JSON_CELLS[self.model.task](self, predictions, row_ids)
        passed = [map(json_value, plain(values)) for values in passthrough.values()]
        found = predictions.explanations
        if self.explanations is None or found is None:
            cells += passed
        elif found.remaining is None:
            cells += [*passed, self.explanations.json(found, chunk)]
        else:
            cells.append(self.explanations.json(found, chunk))
            cells.append(self.explanations.shap_metadata(found))
            cells = [*self.template.ordered(cells), *passed]
        if predictions.humbled is not None:
            cells.append(humility_keys(self.rules, predictions.humbled))
        if self.adjusted and chunk.columns.exposure is not None:
            cells += self._adjusted(predictions, chunk.columns.exposure)
        row = self.template.start + _passed(passthrough) + self.template.end
        return b",".join([row % each for each in zip(*cells, strict=True)])

    def _adjusted(
        self, predictions: Predictions, exposure: NDArray[np.float64]
    ) -> list[Tokens]:
        """The prediction, and what the model said, per unit of exposure."""
        values = predictions.values[:, 0]
        # Numbers so far apart that their ratio is none are null in JSON.
        with np.errstate(over="ignore"):
            parts = (replaced(values, predictions.humbled, self.rules), values)
            return [number_tokens(each / exposure, self.decimals) for each in parts]

    def _binary(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        positive = predictions.values[:, 0]
        yes, no = self.labels
        predicted = pick([no, yes], np.asarray(predictions.positive))
        return [
            number_tokens(positive, self.decimals),
            number_tokens(1.0 - positive, self.decimals),
            overridden(predicted, predictions.humbled, self.overrides),
            row_ids,
        ]

    def _regression(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        values = number_tokens(predictions.values[:, 0], self.decimals)
        predicted = overridden(values, predictions.humbled, self.overrides)
        if predictions.outliers is None:
            return [values, predicted, row_ids]
        return [
            values,
            pick([b"false", b"true"], predictions.outliers),
            row_ids,
            predicted,
        ]

    def _multiclass(self, predictions: Predictions, row_ids: Tokens) -> list[Tokens]:
        numbers: list[Tokens] = [
            number_tokens(values, self.decimals) for values in predictions.values.T
        ]
        winners = pick(self.labels, predictions.values.argmax(axis=1))
        return [
            *numbers,
            overridden(winners, predictions.humbled, self.overrides),
            row_ids,
        ]


# In the order in which the templates take them.
_JSON_CELLS = {
    "binary": JsonWriter._binary,
    "regression": JsonWriter._regression,
    "multiclass": JsonWriter._multiclass,
}


def _template(answer: Answer, labels: tuple[bytes, ...]) -> RowTemplate:
    told = answer.told
    look = (
        answer.model.task,
        labels,
        answer.threshold,
        answer.with_outliers,
        answer.approval,
        bool(answer.humility),
    )
    if told is not None and told.is_shap:
        return shap_rows(*look)
    return plain_rows(*look, None if told is None else told.key)


def _explanation_cells(
    answer: Answer, labels: Sequence[bytes]
) -> ExplanationCells | None:
    if answer.told is None:
        return None
    return ExplanationCells(answer.model, answer.told, labels, answer.decimals)


def _passed(passthrough: Passthrough) -> bytes:
    if not passthrough:
        return b""
    names = [constant(orjson.dumps(name)) + b":%b" for name in passthrough]
    return b',"passthroughValues":{' + b",".join(names) + b"}"


def _row_ids(first_row: int, count: int) -> list[bytes]:
    return [b"%d" % row for row in range(first_row, first_row + count)]


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
        labels = [csv_cell(label_text(label)) for label in _classes(answer.model)]
        self.labels = labels
        self.overrides = _overrides(answer, labels)
        self.explanations = _explanation_cells(answer, ())
        columns = csv_columns(answer)
        if clash := [name for name in answer.passthrough if name in set(columns)]:
            raise OutputColumnsClash(clash)
        self.head = b",".join(map(csv_cell, [*columns, *answer.passthrough])) + b"\n"

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' lines, each ended."""
        cells = _CELLS[self.model.task](self, predictions)
        if predictions.outliers is not None:
            cells.append(pick([b"False", b"True"], predictions.outliers))
        if self.explanations is not None and predictions.explanations is not None:
            cells += self.explanations.csv(predictions.explanations, chunk)
        if self.approval is not None:
            cells.append(repeat(csv_cell(self.approval)))
        for values in chunk.passthrough.values():
            cells.append(map(csv_cell, plain(values)))
        parts = list(
            chain.from_iterable(zip(cells, repeat(repeat(b",")), strict=False))
        )
        parts[-1] = repeat(b"\n")
        return b"".join(_weave(parts))

    def _binary(self, predictions: Predictions) -> list[Tokens]:
        positive = predictions.values[:, 0]
        yes, no = self.labels
        return [
            csv_numbers(positive, self.decimals),
            csv_numbers(1.0 - positive, self.decimals),
            overridden(
                pick([no, yes], np.asarray(predictions.positive)),
                predictions.humbled,
                self.overrides,
            ),
            repeat(self.threshold),
            repeat(yes),
        ]

    def _regression(self, predictions: Predictions) -> list[Tokens]:
        values = csv_numbers(predictions.values[:, 0], self.decimals)
        return [overridden(values, predictions.humbled, self.overrides)]

    def _multiclass(self, predictions: Predictions) -> list[Tokens]:
        numbers: list[Tokens] = [
            csv_numbers(values, self.decimals) for values in predictions.values.T
        ]
        winners = pick(self.labels, predictions.values.argmax(axis=1))
        return [*numbers, overridden(winners, predictions.humbled, self.overrides)]


_CELLS = {
    "binary": CsvWriter._binary,
    "regression": CsvWriter._regression,
    "multiclass": CsvWriter._multiclass,
}


def csv_columns(answer: Answer) -> list[str]:
    """Names of the output columns, in the order of recorded answers."""
    model = answer.model
    names = map(label_text, _classes(model))
    columns = [f"{model.target}_{name}_PREDICTION" for name in names]
    columns.append(f"{model.target}_PREDICTION")
    if model.task == "binary":
        columns += ["THRESHOLD", "POSITIVE_CLASS"]
    if answer.with_outliers:
        columns.append("IS_OUTLIER_PREDICTION")
    if (explanations := _explanation_cells(answer, ())) is not None:
        columns += explanations.csv_columns
    if answer.approval is not None:
        columns.append("DEPLOYMENT_APPROVAL_STATUS")
    return columns


def _overrides(answer: Answer, labels: Sequence[bytes]) -> list[bytes]:
    """What each humility rule puts in the prediction's place.

    labels: as the answer spells them, in the order of `_classes`.
    """
    if not answer.humility:
        return []
    model = answer.model
    values = override_values(answer.humility)
    if model.task == "regression":
        return [
            b"" if value is None else _number(value, answer.decimals)
            for value in values
        ]
    spelled = dict(zip(map(label_text, _classes(model)), labels, strict=True))
    return [spelled.get(label_text(value), b"null") for value in values]


def _number(value: Label, decimals: int) -> bytes:
    return number_tokens(np.array([float(value)]), decimals)[0]


def _classes(model: Model) -> Sequence[Label | None]:
    """The class labels in the order of answers: of two the positive one first."""
    if model.task == "binary":
        return (model.positive_label, model.negative_label)
    return model.labels


def json_labels(model: Model, *, named: bool) -> list[Label | None]:
    """The labels of `predictionValues`, in their order.

    Binary: 1 and 0, positive first, or the class names; multiclass: always strings;
    regression: the target's name.
    """
    if model.task == "regression":
        return [model.target]
    if model.task == "multiclass":
        return [label_text(label) for label in model.labels]
    return list(_classes(model)) if named else [1, 0]


def label_text(label: Label | None) -> str:
    """A class label as column names and CSV cells spell it."""
    return str(label)


def _weave(parts: Sequence[Tokens]) -> list[bytes]:
    # The constant parts repeat without end: the columns between them set the length.
    return [b"".join(row) for row in zip(*parts, strict=False)]
