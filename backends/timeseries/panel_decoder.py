"""What reads the cells of a spec's columns; made once for a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.features import Decoder, missing_among, read_text
from backends.model import Feature, Label
from backends.timeseries.cells import is_missing
from backends.timeseries.dates import DateFormat
from backends.timeseries.refusals import MissingColumns
from backends.timeseries.spec import SeriesCode, Spec

Floats = NDArray[np.float64]


class PanelDecoder:
    """Decoders of everything that a spec names. Safe to use from many threads at once.

    columns: of what features look at, the target left out.
    classes: of the target, if it is one of classes.
    dates: of timestamps.
    watched: columns known in advance whose cells are looked at as they were sent, and
        what tells whether one holds anything: a level that training did not have is no
        missing one, and what no feature uses is not decoded.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        columns, used = spec.columns, spec.used_columns
        self.columns = Decoder(
            [columns[name] for name in columns if name in used - {spec.target}]
        )
        self.classes = Decoder((columns[spec.target],))
        self.dates = DateFormat(spec.datetime_format)
        self.watched = {
            name: _sent_among(columns[name].categories or ())
            for name in spec.known_in_advance
            if name not in used or columns[name].kind == "categorical"
        }
        self._series = {
            feature.name: Decoder(
                (Feature("series", "categorical", categories=feature.categories),)
            )
            for feature in spec.features
            if isinstance(feature, SeriesCode)
        }

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns read as they were sent: timestamps, series ids, classes, levels."""
        spec = self.spec
        series = () if spec.series_id_column is None else (spec.series_id_column,)
        target = () if self.number else (spec.target,)
        return (spec.datetime_column, *series, *target, *self.watched)

    @property
    def number(self) -> str | None:
        """The target, if it is a number: numbers or what was sent will do."""
        return self.spec.target if self.spec.target_type == "Regression" else None

    def check_columns(self, names: Mapping[str, Any]) -> None:
        """Raise MissingColumns for what is not among the names of columns."""
        wanted = [*self.texts, self.spec.target, *self.spec.columns]
        missing = [name for name in dict.fromkeys(wanted) if name not in names]
        if missing:
            raise MissingColumns(missing)

    def series_codes(self, labels: Sequence[Any]) -> dict[str, Floats]:
        """Positions of series among the categories of each feature that asks for it.

        By the rules that cells have; float64 (labels,), NaN for a new series.
        """
        records = [{"series": label} for label in labels]
        return {
            name: decoder.from_records(records).matrix[:, 0]
            for name, decoder in self._series.items()
        }


def _sent_among(levels: Sequence[Label]) -> Callable[[Any], bool]:
    """Whether a cell holds anything, be it a level that nobody knows.

    levels: none of a column that no feature uses.
    """
    is_absent = missing_among(levels) if levels else is_missing
    known = frozenset(map(read_text, levels))

    def is_sent(cell: Any) -> bool:
        return read_text(cell) in known or not (is_missing(cell) or is_absent(cell))

    return is_sent
