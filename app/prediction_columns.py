"""What is predicted, as columns of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.humility_columns import overridden, override_values
from app.scoring import Predictions
from app.tokens import Tokens, number_tokens, pick
from backends.humility import Rule
from backends.model import Label, Model

# How numbers, rounded to so many digits after the point, are spelled.
Spelled = Callable[[NDArray[np.float64], int], list[bytes]]


class PredictionCells:
    """Writes the predictions of chunks of rows."""

    def __init__(
        self,
        model: Model,
        labels: Sequence[bytes],
        rules: Sequence[Rule],
        spelled: Spelled,
        decimals: int,
    ) -> None:
        """labels: as the answer spells them, in the order of `classes`.

        rules: the humility rules that the predictions were held against.
        """
        self._task = model.task
        self._labels = labels
        self._overrides = _overrides(rules, model, labels, decimals) if rules else []
        self._spelled = spelled
        self._decimals = decimals

    def columns(self, predictions: Predictions) -> list[Tokens]:
        """The value of each label, in the order of answers, then the prediction."""
        values = predictions.values
        if self._task == "regression":
            predicted = self._spelled(values[:, 0], self._decimals)
            columns: list[Tokens] = [predicted]
        elif self._task == "binary":
            positive = values[:, 0]
            yes, no = self._labels
            predicted = pick([no, yes], np.asarray(predictions.positive))
            columns = [
                self._spelled(positive, self._decimals),
                self._spelled(1.0 - positive, self._decimals),
            ]
        else:
            predicted = pick(self._labels, values.argmax(axis=1))
            columns = [self._spelled(each, self._decimals) for each in values.T]
        columns.append(overridden(predicted, predictions.humbled, self._overrides))
        return columns

    def csv_columns(self, predictions: Predictions) -> list[Tokens]:
        """The same for CSV, where a regression's value is its prediction."""
        columns = self.columns(predictions)
        return columns[1:] if self._task == "regression" else columns


def _overrides(
    rules: Sequence[Rule], model: Model, labels: Sequence[bytes], decimals: int
) -> list[bytes]:
    """What each humility rule puts in the prediction's place.

    labels: see `PredictionCells`.
    """
    values = override_values(rules)
    if model.task == "regression":
        return [b"" if value is None else _number(value, decimals) for value in values]
    spelled = dict(zip(map(label_text, classes(model)), labels, strict=True))
    return [spelled.get(label_text(value), b"null") for value in values]


def _number(value: Label, decimals: int) -> bytes:
    return number_tokens(np.array([float(value)]), decimals)[0]


def classes(model: Model) -> Sequence[Label | None]:
    """The class labels in the order of answers: of two the positive one first."""
    if model.task == "binary":
        return (model.positive_label, model.negative_label)
    return model.labels


def label_text(label: Label | None) -> str:
    """A class label as column names and CSV cells spell it."""
    return str(label)
