"""Models with one model file for each forecast distance, which share the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends import load
from backends.base import Backend
from backends.compiled import together
from backends.explanations.base import Strengths
from backends.explanations.materials import Materials
from backends.features import Columns, DataError
from backends.model import Model

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def member(model: Model, distance: int) -> Model:
    """The card of the model that serves one forecast distance.

    It takes the features without the last, which says the distance.
    """
    id = hashlib.sha256(f"{model.id}:{distance}".encode()).hexdigest()[:24]
    return replace(
        model,
        id=id,
        file=model.files[distance],
        files={},
        features=model.features[:-1],
        time_series=None,
    )


class DistanceBackend(Backend):
    """One loaded model for each forecast distance; the last feature tells which.

    engine: what serves all of them, or the words for what does, joined by "and".
    """

    def __init__(
        self, folder: Path, model: Model, compiled_folder: Path | None = None
    ) -> None:
        """compiled_folder: that of the model; None: the library serves all."""
        self.model = model
        self._members = {
            distance: load(
                folder,
                member(model, distance),
                compiled_folder and compiled_folder / str(distance),
            )
            for distance in model.files
        }
        members = self._members.values()
        self.engine = together([each.engine for each in members])
        self.nbytes = sum(each.nbytes for each in members)
        # They all take the same features, and so read the same rows.
        self._materials = Materials(folder, next(iter(members)).model)

    def predict(self, columns: Columns) -> Floats:
        return self._scored(columns, lambda own, rows: own.predict(rows))

    def raw_scores(self, columns: Columns) -> Floats:
        return self._scored(columns, lambda own, rows: own.raw_scores(rows))

    def explain(
        self,
        columns: Columns,
        algorithm: str,
        materials: Materials,
        deadline: float = float("inf"),
    ) -> Strengths:
        """Tell what each feature adds to the predictions of rows; see Backend.

        Each row is explained by the model of its distance, which does not take the
        distance: that adds nothing.
        """
        parts = [
            (rows, own.explain(taken, algorithm, self._materials, deadline))
            for rows, own, taken in self._split(columns)
        ]
        return _joined(parts, len(columns), len(self.model.features))

    def _scored(
        self, columns: Columns, score: Callable[[Backend, Columns], Floats]
    ) -> Floats:
        parts = [(rows, score(own, taken)) for rows, own, taken in self._split(columns)]
        if len(parts) == 1:
            return parts[0][1]
        found = np.empty((len(columns), parts[0][1].shape[1]))
        for rows, values in parts:
            found[rows] = values
        return found

    def _split(self, columns: Columns) -> Iterator[tuple[Rows, Backend, Columns]]:
        """The rows of each distance, their model, and what it takes of them.

        Raises DataError for a distance that no model serves.
        """
        given = columns.matrix[:, -1]
        distances = np.unique(given).tolist()
        if unknown := [each for each in distances if each not in self._members]:
            raise DataError(
                f"column {self.model.features[-1].name!r}: no model forecasts at the"
                f" distance {unknown[0]:g}; there is one for each of"
                f" {', '.join(map(str, self._members))}"
            )
        # Of no rows any model says how many values it would answer.
        for distance in distances or list(self._members)[:1]:
            rows = np.flatnonzero(given == distance)
            taken = columns.take(rows)
            matrix = np.ascontiguousarray(taken.matrix[:, :-1])
            yield rows, self._members[distance], replace(taken, matrix=matrix)


def _joined(
    parts: Sequence[tuple[Rows, Strengths]], rows: int, features: int
) -> Strengths:
    """The strengths of all rows.

    parts: of each model the rows that it explained, and how.
    features: how many the models take together.
    """
    first = parts[0][1]
    classes = first.values.shape[1]
    # Engines leave out what their model does not use.
    alike = all(np.array_equal(each.features, first.features) for _, each in parts)
    told = first.features if alike else np.arange(features)
    values = np.zeros((rows, classes, len(told)))
    for taken, each in parts:
        places = np.arange(len(told)) if alike else each.features
        values[np.ix_(taken, np.arange(classes), places)] = each.values
    return Strengths(
        told,
        values,
        base=_all_rows([(taken, each.base) for taken, each in parts], rows),
        total=_all_rows([(taken, each.total) for taken, each in parts], rows),
        rounding=max(each.rounding for _, each in parts),
    )


def _all_rows(parts: Sequence[tuple[Rows, Floats | None]], rows: int) -> Floats | None:
    """Values of all rows, float64 (n_rows, classes), from those of each model's."""
    found: Floats | None = None
    for taken, values in parts:
        if values is None:
            return None
        if found is None:
            found = np.empty((rows, values.shape[-1]))
        found[taken] = values
    return found
