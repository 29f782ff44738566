"""Predictions to JSON or CSV bytes, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import orjson
from numpy.typing import NDArray

from app.decode import Chunk
from app.explanation_columns import ExplanationCells, Told
from app.humility_columns import humility_keys, replaced
from app.json_rows import (
    RowTemplate,
    passed_through,
    plain_rows,
    shap_rows,
    with_adjusted,
)
from app.output_columns import ALL_COLUMNS, CsvLayout, OutputColumns
from app.prediction_columns import PredictionCells, classes, label_text
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
    columns: which columns of CSV are told.
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
    columns: OutputColumns = ALL_COLUMNS


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
        self.decimals = answer.decimals
        self.rules = answer.humility
        labels = json_labels(answer.model, named=answer.named_labels)
        self.labels = tuple(map(orjson.dumps, labels))
        self.predicted = PredictionCells(
            answer.model, self.labels, answer.humility, number_tokens, answer.decimals
        )
        self.explanations = _explanation_cells(answer, self.labels)
        self.template = _template(answer, self.labels)
        self.adjusted = answer.adjusted
        if answer.adjusted:
            self.template = with_adjusted(self.template, self.labels[0])

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' objects joined by commas, without the enclosing list."""
        passthrough = chunk.passthrough
        cells = self._cells(predictions, chunk.first_row)
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
        row = self.template.start + passed_through(passthrough) + self.template.end
        return b",".join([row % each for each in zip(*cells, strict=True)])

    def _cells(self, predictions: Predictions, first_row: int) -> list[Tokens]:
        """In the order in which the templates take them."""
        cells = self.predicted.columns(predictions)
        cells.append(_row_ids(first_row, len(predictions)))
        if predictions.outliers is None:
            return cells
        value, predicted, row_ids = cells
        flags = pick([b"false", b"true"], predictions.outliers)
        return [value, flags, row_ids, predicted]

    def _adjusted(
        self, predictions: Predictions, exposure: NDArray[np.float64]
    ) -> list[Tokens]:
        """The prediction, and what the model said, per unit of exposure."""
        values = predictions.values[:, 0]
        # Numbers so far apart that their ratio is none are null in JSON.
        with np.errstate(over="ignore"):
            parts = (replaced(values, predictions.humbled, self.rules), values)
            return [number_tokens(each / exposure, self.decimals) for each in parts]


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


def _row_ids(first_row: int, count: int) -> list[bytes]:
    return [b"%d" % row for row in range(first_row, first_row + count)]


class CsvWriter:
    """Writes rows under the output columns of the real-time and batch answers."""

    media_type = "text/csv; charset=utf-8"
    separator = b""
    foot = b""

    def __init__(self, answer: Answer) -> None:
        """Raises OutputColumnsClash if a passthrough column has an output's name, and
        OutputColumnsRefused.
        """
        self.approval = answer.approval
        labels = [csv_cell(label_text(label)) for label in classes(answer.model)]
        self.predicted = PredictionCells(
            answer.model, labels, answer.humility, csv_numbers, answer.decimals
        )
        self.constants: list[Tokens] = []
        if answer.model.task == "binary":
            threshold = repr(float(answer.threshold)).encode()
            self.constants = [repeat(threshold), repeat(labels[0])]
        self.explanations = _explanation_cells(answer, ())
        self.layout = CsvLayout(
            csv_columns(answer), answer.passthrough, answer.model, answer.columns
        )
        self.head = self.layout.head

    def rows(self, predictions: Predictions, chunk: Chunk) -> bytes:
        """The rows' lines, each ended."""
        cells = self.predicted.csv_columns(predictions) + self.constants
        if predictions.outliers is not None:
            cells.append(pick([b"False", b"True"], predictions.outliers))
        if self.explanations is not None and predictions.explanations is not None:
            cells += self.explanations.csv(predictions.explanations, chunk)
        if self.approval is not None:
            cells.append(repeat(csv_cell(self.approval)))
        for values in chunk.passthrough.values():
            cells.append(map(csv_cell, plain(values)))
        return self.layout.lines(cells, len(predictions))


def csv_columns(answer: Answer) -> list[str]:
    """Names of the output columns, in the order of recorded answers."""
    model = answer.model
    names = map(label_text, classes(model))
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


def json_labels(model: Model, *, named: bool) -> list[Label | None]:
    """The labels of `predictionValues`, in their order.

    Binary: 1 and 0, positive first, or the class names; multiclass: always strings;
    regression: the target's name.
    """
    if model.task == "regression":
        return [model.target]
    if model.task == "multiclass":
        return [label_text(label) for label in model.labels]
    return list(classes(model)) if named else [1, 0]
