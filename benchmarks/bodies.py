"""Rows as bodies of requests."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from benchmarks.specimens.base import Specimen


def json_rows(frame: pd.DataFrame) -> list[bytes]:
    """Each row as a JSON request body: an array of one record, missing as null."""
    return [orjson.dumps([record]) for record in _records(frame)]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {str(name): value for name, value in record.items()}
        for record in plain.to_dict("records")
    ]


def csv_body(frame: pd.DataFrame) -> bytes:
    """The rows with a header line; missing cells are empty, none is quoted."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    out = io.BytesIO()
    csv.write_csv(table, out, csv.WriteOptions(quoting_style="none"))
    return out.getvalue()


def body_of(specimen: Specimen, size: int, seed: int) -> tuple[bytes, int]:
    """A CSV body of at most `size` bytes, of whole lines, and its number of rows."""
    sample = len(csv_body(specimen.frame(1000, seed)))
    frame = specimen.frame(int(size / sample * 1020), seed)
    body = csv_body(frame)
    body = body[: body.rindex(b"\n", 0, min(size, len(body)) + 1) + 1]
    return body, body.count(b"\n") - 1
