"""Scores records of a file, and finds those among them that cannot be scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from app.answering import WRITERS, Answering, Kind
from app.batch.cutting import Head
from app.batch.parquet import read_texts
from app.config import Config
from app.csv_records import spans
from app.decode import read_csv
from app.encode import CsvWriter
from app.errors import BodyUnreadable, PredictionNotFinite
from app.json_records import refuse_repeated
from backends.features import DataError
from backends.humility import HumilityError

# What may be wrong with a row, where the header has been found to be right.
_ROW_ERRORS: Final = (BodyUnreadable, DataError, HumilityError, PredictionNotFinite)


class RowScorer:
    """Scores records for one header.

    head: what comes before the first row of the output.
    failed: how many rows could not be scored. first_failure: what is said of the
        first of them.
    """

    def __init__(
        self,
        answering: Answering,
        kind: Kind,
        head: Head,
        limits: Config,
        counts: list[Any],
    ) -> None:
        """counts: what humility rules found; what they find in rows that are scored
            again is taken out of it.

        Raises what is wrong with the header: DuplicateColumns, DataError,
        PassthroughColumnsMissing, OutputColumnsClash and OutputColumnsRefused.
        """
        self._header = head
        self._wanted = answering.wanted(limits)
        refuse_repeated(list(head.names))
        self._wanted.check_columns(dict.fromkeys(head.names))
        names = tuple(dict.fromkeys(self._wanted.passed_through(head.names)))
        places = {name: place for place, name in enumerate(head.names)}
        self._passed = [places[name] for name in names]
        self._writer, self._work = answering.filling(WRITERS[kind], names)
        self._counts = counts
        self.head = self._writer.head
        self.failed = 0
        self.first_failure = ""

    def good_rows(self, records: bytes, first_row: int) -> bytes:
        """The rows of the output, without head and foot.

        records: whole ones. first_row: number of the first of them in the file.
        Raises what is wrong with rows.
        """
        data = self._header.text + records
        chunks = read_csv(data, self._wanted, first_row)
        return self._writer.separator.join(map(self._work, chunks))

    def all_rows(self, records: bytes, first_row: int) -> bytes:
        """The same in CSV, with a line for each row that cannot be scored."""
        before = len(self._counts)
        try:
            return self.good_rows(records, first_row)
        except _ROW_ERRORS:
            del self._counts[before:]
        places = list(spans(records, len(self._header.names)))
        # Halves that may hold rows that cannot be scored; the first one is next.
        waiting = [(0, len(places))]
        written = []
        while waiting:
            low, high = waiting.pop()
            piece = records[places[low][0] : places[high - 1][1]]
            before = len(self._counts)
            try:
                written.append(self.good_rows(piece, first_row + low))
            except _ROW_ERRORS as error:
                if high - low == 1:
                    written.append(self._failed(piece, str(error)))
                    continue
                del self._counts[before:]
                middle = (low + high) // 2
                waiting += [(middle, high), (low, middle)]
        return b"".join(written)

    def _failed(self, record: bytes, reason: str) -> bytes:
        """The line of a row that cannot be scored."""
        reason = " ".join(reason.split())
        if not self.failed:
            self.first_failure = reason
        self.failed += 1
        assert isinstance(self._writer, CsvWriter)
        return self._writer.layout.failed(reason, self._passed_cells(record))

    def _passed_cells(self, record: bytes) -> Sequence[str]:
        """The passthrough cells of a record; empty where cells cannot be told apart."""
        try:
            # Python's reader has a limit for the length of a cell.
            row = read_texts(record, list(self._header.names))
        except pa.ArrowInvalid:
            return [""] * len(self._passed)
        return [row[place][0].as_py() or "" for place in self._passed]
