"""Rows of named values for models that take columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from app.humility_columns import replaced
from app.model_cache import ServedModel
from app.prediction_columns import label_text
from app.rows.piece import Piece
from app.scoring import Predictions, Rules, score
from app.tokens import exact_tokens
from backends.features import Columns, DataError
from backends.model import Label
from backends.tensors.refusals import FeatureMissing, at
from backends.tensors.sent import Upload


@dataclass(frozen=True, slots=True)
class TabularRows:
    """Answers rows with the model's prediction, named after its target.

    A regression answers a number; a classifier each class with its probability.

    rules: what the deployment adds: its humility rules; an overriding one replaces the
        number of a regression, while classes keep their probabilities.
    refuse_unknown, refuse_invalid: as the deployment's settings say.
    """

    served: ServedModel
    rules: Rules
    refuse_unknown: bool
    refuse_invalid: bool
    most_rows: int = 65_536

    def answer(self, piece: Piece) -> bytes:
        """The answer's rows, between commas.

        Raises FeatureMissing, DataError, PredictionNotFinite and HumilityError.
        """
        columns = self._columns(piece)
        predictions = score(
            self.served.backend, columns, self.rules, first_row=piece.first_row
        )
        return b",".join(self._rows(predictions))

    def _columns(self, piece: Piece) -> Columns:
        needed = frozenset(self.served.model.columns)
        for number, row in enumerate(piece.rows, piece.first_row):
            if not needed <= row.keys():
                columns = self.served.model.columns
                missing = next(name for name in columns if name not in row)
                raise FeatureMissing(f"{at(number, missing)}: the row does not have it")
        return self.served.decoder.from_records(
            _without_files(piece.rows),
            first_row=piece.first_row,
            refuse_unknown=self.refuse_unknown,
            refuse_invalid=self.refuse_invalid,
        )

    def _rows(self, predictions: Predictions) -> Iterable[bytes]:
        model = self.served.model
        start = b"{" + orjson.dumps(model.target) + b":"
        values = predictions.values
        if model.task == "regression":
            numbers = replaced(values[:, 0], predictions.humbled, self.rules.humility)
            return (start + token + b"}" for token in exact_tokens(numbers))
        if model.task == "binary":
            values = _both(
                values, model.labels.index(cast(Label, model.positive_label))
            )
        return self._scores(start, values)

    def _scores(self, start: bytes, values: NDArray[np.float64]) -> Iterable[bytes]:
        labels = self.served.model.labels
        keys = [orjson.dumps(label_text(label)) + b":" for label in labels]
        tokens = iter(exact_tokens(values.reshape(-1)))
        for _ in range(len(values)):
            pairs = b",".join([key + next(tokens) for key in keys])
            yield start + b"{" + pairs + b"}}"


def _both(values: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """The probabilities of both classes, in the model's order."""
    positive = values[:, 0]
    pair = [1.0 - positive, positive]
    return np.stack(pair if position == 1 else pair[::-1], axis=1)


def _without_files(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The rows, with the text of each file in its place."""
    # Files come in forms, and a form is one row.
    if len(rows) > 1:
        return rows
    return [{name: _text(name, value) for name, value in row.items()} for row in rows]


def _text(name: str, value: Any) -> Any:
    if not isinstance(value, Upload):
        return value
    try:
        return value.data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{at(0, name)}: the file is no text in UTF-8") from error
