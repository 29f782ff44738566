"""Which explanations a request gets, and what of each row's is worth telling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.additivity import Additivity
from backends.base import Backend
from backends.explanations.base import Strengths
from backends.explanations.materials import Materials
from backends.explanations.strength import symbols
from backends.features import Columns
from backends.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Strengths that are held at once: rows by classes by features.
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Mismatch:
    """SHAP values that do not add up to what they explain.

    largest: of the differences, as a share of what is explained. rows: how many of
    the rows that were looked at.
    """

    largest: float
    rows: int


@dataclass(frozen=True, slots=True)
class Explanations:
    """The features that count most, for each row and class that is explained.

    Every row has as many classes and features; those of rows that are not explained
    mean nothing.

    explained: bool (n_rows,): which rows are explained at all.
    classes: int (n_rows, c): positions of labels; 0 unless multiclass.
    features: int (n_rows, c, k): positions among the model's features, the greatest
        strength first.
    strengths: float64 (n_rows, c, k).
    symbols: int (n_rows, c, k): positions in `strength.SYMBOLS`; XEMP only.
    base, remaining: float64 (n_rows,): what is added to the strengths told, and the
        sum of those not told; SHAP only.
    mismatch: SHAP, if there is one.
    """

    explained: NDArray[np.bool_]
    classes: Ints
    features: Ints
    strengths: Floats
    symbols: Ints | None = None
    base: Floats | None = None
    remaining: Floats | None = None
    mismatch: Mismatch | None = None


@dataclass(frozen=True, slots=True)
class Explaining:
    """What a request wants explained, of a model.

    algorithm: one of `backends.explanations.ALGORITHMS`.
    most: features told of a row and class, at least 1; fewer where there are fewer.
    low, high: rows whose prediction is below low or above high are explained; both
        None: all.
    top_classes: multiclass: how many of the most probable classes of a row.
    classes: multiclass: positions of the labels to explain instead.
    deadline: when the time for explanations is over, monotonic seconds.
    """

    materials: Materials
    algorithm: Literal["xemp", "shap", "shap_probability"]
    most: int
    low: float | None = None
    high: float | None = None
    top_classes: int = 1
    classes: tuple[int, ...] = ()
    deadline: float = float("inf")

    def explain(
        self, backend: Backend, columns: Columns, values: Floats
    ) -> Explanations:
        """Explain rows, a block at a time.

        values: float64 (n_rows, k), what the backend predicted for them.
        Raises NotInitialized, NotExplainable and ExplanationTooSlow; NotExplainable
        also where SHAP values are too far from adding up.
        """
        model = backend.model
        explained = self._chosen(values)
        rows = np.flatnonzero(explained)
        found = self._empty(model, values, explained)
        check = Additivity(model.id)
        for block in _blocks(rows, values.shape[1] * len(model.features)):
            part = backend.explain(
                columns.take(block), self.algorithm, self.materials, self.deadline
            )
            check.look_at(part)
            if self.algorithm != "xemp":
                part = _completed(part, len(model.features))
            self._tell(model, part, block, found)
        check.warn()
        mismatch = Mismatch(check.largest, check.rows) if check.rows else None
        return dataclasses.replace(found, mismatch=mismatch)

    def told(self, model: Model) -> int:
        """How many features are told of a row and class.

        Raises NotInitialized.
        """
        if self.algorithm == "xemp":
            return min(self.most, len(self.materials.exemplars.features))
        return min(self.most, len(model.features))

    def _chosen(self, values: Floats) -> NDArray[np.bool_]:
        """Which rows are explained, by the probability of the likeliest class."""
        is_free = self.low is None and self.high is None
        if is_free or self.algorithm != "xemp":
            return np.ones(len(values), np.bool_)
        likeliest = values.max(axis=1)
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.asarray((likeliest < low) | (likeliest > high))

    def _classes(self, values: Floats) -> Ints:
        """The classes to tell of, int (n_rows, c); of equals the first label first."""
        if self.classes:
            shape = (len(values), len(self.classes))
            return np.broadcast_to(np.array(self.classes, np.intp), shape)
        return np.argsort(-values, axis=1, kind="stable")[:, : self.top_classes]

    def _empty(
        self, model: Model, values: Floats, explained: NDArray[np.bool_]
    ) -> Explanations:
        """As if no row were explained, for rows to be filled in."""
        classes = self._classes(values)
        shape = (*classes.shape, self.told(model))
        is_xemp = self.algorithm == "xemp"
        return Explanations(
            explained,
            classes,
            np.zeros(shape, np.intp),
            np.zeros(shape),
            symbols=np.zeros(shape, np.intp) if is_xemp else None,
            base=None if is_xemp else np.zeros(len(values)),
            remaining=None if is_xemp else np.zeros(len(values)),
        )

    def _tell(
        self, model: Model, part: Strengths, rows: Ints, found: Explanations
    ) -> None:
        """Fill in the strongest features of rows; part: of these rows."""
        told = found.features.shape[2]
        values = np.take_along_axis(part.values, found.classes[rows, :, None], axis=1)
        # Stable: of equal strengths the feature that stands first.
        order = np.argsort(-np.abs(values), axis=2, kind="stable")
        values = np.take_along_axis(values, order, axis=2)
        found.features[rows] = part.features[order[..., :told]]
        found.strengths[rows] = values[..., :told]
        if found.symbols is not None:
            signs = symbols(values, len(model.features))
            found.symbols[rows] = signs[..., :told]
        if found.remaining is not None:
            found.remaining[rows] = values[:, 0, told:].sum(axis=1)
        if found.base is not None and part.base is not None:
            found.base[rows] = part.base[:, 0]


def _completed(part: Strengths, features: int) -> Strengths:
    """SHAP values of all features, in the model's order; 0 where none is given.

    An engine may know that a model does not use some of them.
    """
    if len(part.features) == features:
        return part
    values = np.zeros((*part.values.shape[:2], features))
    values[..., part.features] = part.values
    return dataclasses.replace(part, features=np.arange(features), values=values)


def _blocks(rows: Ints, width: int) -> Iterator[Ints]:
    """Rows so few at once that each block has a bounded number of strengths."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
