"""What is to be predicted: rows, each from an origin so many steps before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from backends.timeseries.panel import Panel

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of an origin and a row to predict; all int64 (n,).

    series: positions among the panel's series. origins: steps, the newest that is
    known. distances: from the origin to the row, in steps. rows: of the panel.
    """

    series: Ints
    origins: Ints
    distances: Ints
    rows: Ints

    @classmethod
    def every(cls, panel: Panel, rows: Ints, distances: Ints) -> Pairs:
        """Each of some rows at distances that follow each other.

        By series, by step, by distance.
        """
        nearest = np.full(len(rows), distances[0])
        counts = np.full(len(rows), len(distances))
        return cls.between(panel, rows, nearest, counts)

    @classmethod
    def between(cls, panel: Panel, rows: Ints, nearest: Ints, counts: Ints) -> Pairs:
        """Each of some rows at so many distances from its nearest one on.

        In the order of `every`.
        """
        order = np.lexsort((panel.steps[rows], panel.series[rows]))
        rows, nearest, counts = rows[order], nearest[order], counts[order]
        each = np.repeat(rows, counts)
        begun = np.repeat(np.cumsum(counts) - counts, counts)
        ahead = np.repeat(nearest, counts) + np.arange(len(each)) - begun
        return cls(panel.series[each], panel.steps[each] - ahead, ahead, each)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Pairs:
        """Some of the pairs."""
        return Pairs(
            self.series[chosen],
            self.origins[chosen],
            self.distances[chosen],
            self.rows[chosen],
        )


@dataclass(frozen=True, slots=True)
class Origins:
    """The different origins of pairs.

    series, steps: int64 (m,), by series, then by step. of_pair: int64 (n,): the origin
    of each pair.
    """

    series: Ints
    steps: Ints
    of_pair: Ints

    @classmethod
    def of(cls, pairs: Pairs) -> Origins:
        """The origins of one pair or more."""
        low = int(pairs.origins.min())
        span = int(pairs.origins.max()) - low + 1
        keys, of_pair = np.unique(
            pairs.series * span + (pairs.origins - low), return_inverse=True
        )
        return cls(keys // span, keys % span + low, of_pair.reshape(-1))

    def furthest(self, pairs: Pairs) -> Ints:
        """The furthest distance of the pairs of each origin, int64 (m,)."""
        last = np.zeros(len(self), np.int64)
        np.maximum.at(last, self.of_pair, pairs.distances)
        return last

    def __len__(self) -> int:
        return len(self.steps)
