"""Request body to a panel: all rows of all series, history and future."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.config import Config
from app.decode import Chunk, Wanted, read_csv, read_wanted
from app.errors import NoDataToPredict
from app.store.settings import DeploymentSettings
from backends.timeseries.cells import MISSING_TARGETS
from backends.timeseries.clock import Clock
from backends.timeseries.pairs import Ints
from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.panel_reader import PanelReader
from backends.timeseries.refusals import NoValidOutputRows

Passthrough = Mapping[str, Sequence[Any] | pa.Array]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a request.

    passthrough: as in `Chunk`, of all rows.
    """

    panel: Panel
    passthrough: Passthrough

    def passed(self, rows: Ints) -> Passthrough:
        """What is passed through of some rows."""
        return {name: _taken(cells, rows) for name, cells in self.passthrough.items()}


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """How the rows of a request are read; see `decode.Wanted`."""

    decoder: PanelDecoder
    settings: DeploymentSettings
    passthrough: tuple[str, ...] | Literal["all"]
    limits: Config

    def read(self, body: bytes, content_type: str | None) -> Rows:
        """Read a request's body.

        Raises what `decode.read_rows` raises, but ForecastRefused for columns that are
        missing and bodies without rows; and what PanelReader raises.
        """
        reader = PanelReader(self.decoder)
        return self._read(reader, read_wanted(body, content_type, self.wanted()))

    def read_file(
        self, data: bytes, clock: Clock | None = None, numbers: Ints | None = None
    ) -> Rows:
        """Read a CSV file; see `decode.read_csv`.

        clock, numbers: of rows that are some series of a larger file; see `Panel.of`.
        """
        reader = PanelReader(self.decoder)
        return self._read(reader, read_csv(data, self.wanted()), clock, numbers)

    def wanted(self) -> Wanted:
        """What is wanted of each row, for a reader to take up."""
        decoder = self.decoder
        settings = self.settings
        return Wanted(
            decoder.columns,
            self.passthrough,
            settings.association_id,
            self.limits,
            refuse_unknown=settings.unknown_categories == "error",
            refuse_invalid=settings.invalid_numbers == "error",
            shown=decoder.texts,
            numbers=() if decoder.number is None else (decoder.number,),
            missing=MISSING_TARGETS,
            check=decoder.check_columns,
            association_required=settings.association_required,
        )

    def _read(
        self,
        reader: PanelReader,
        chunks: Iterator[Chunk],
        clock: Clock | None = None,
        numbers: Ints | None = None,
    ) -> Rows:
        passthrough: dict[str, list[Any]] = {}
        try:
            for chunk in chunks:
                reader.add(chunk.cells, chunk.columns)
                for name, cells in chunk.passthrough.items():
                    passthrough.setdefault(name, []).append(cells)
        except NoDataToPredict:
            raise NoValidOutputRows from None
        joined = {name: _joined(parts) for name, parts in passthrough.items()}
        return Rows(reader.finish(clock, numbers), joined)


def _joined(parts: list[Any]) -> Sequence[Any] | pa.Array:
    if isinstance(parts[0], pa.Array):
        return pa.concat_arrays(parts)
    return [cell for part in parts for cell in part]


def _taken(cells: Sequence[Any] | pa.Array, rows: Ints) -> Sequence[Any] | pa.Array:
    if isinstance(cells, pa.Array):
        return cells.take(pa.array(rows))
    return [cells[row] for row in np.asarray(rows).tolist()]
