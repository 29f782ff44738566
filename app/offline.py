"""Scoring a file in the foreground, with the code that answers requests."""

from __future__ import annotations

import codecs
import dataclasses
import mmap
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from tqdm import tqdm

from app.answering import Answers, Kind, Pieces
from app.bulk import BulkPool
from app.config import Config
from app.errors import AppError, BodyUnreadable, NoDataToPredict

# By the end of the output file's name.
KINDS: Mapping[str, Kind] = {".csv": "csv", ".json": "json"}

_STEP = 2**20
_UNLIMITED = 2**53 - 1


class OutputRefused(AppError):
    """The output cannot be written where it is wanted."""


def score_file(
    answering: Answers[Any], source: Path, target: Path, config: Config
) -> int:
    """Score a CSV file into a CSV or JSON file; returns how many rows that has.

    The output has the columns of the HTTP answer, and appears under its name when it
    is complete. Memory does not grow with the file, unless its rows are of time series.

    Raises what a request with these rows would be answered with, OutputRefused and
    OSError.
    """
    data = _map(source)
    rows = 0
    with written(source, target) as output, _progress(data) as progress:
        for piece, count in _pieces(answering, KINDS[target.suffix], data, config):
            output.write(piece)
            progress.update(count)
            rows += count
        progress.total = rows
    return rows


def _map(source: Path) -> mmap.mmap:
    """The file's bytes, brought into memory as they are looked at."""
    with source.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise NoDataToPredict
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    data.madvise(mmap.MADV_SEQUENTIAL)
    if data[:3] == codecs.BOM_UTF8:
        # In this process's copy only. Empty lines before the header do not count.
        data[:3] = b"\n\n\n"
    if re.search(rb"\S", data) is None:
        raise NoDataToPredict
    _check_utf8(data)
    return data


def _check_utf8(data: mmap.mmap) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _STEP):
        step = data[start : start + _STEP]
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(step, final=start + _STEP >= len(data))
        except UnicodeDecodeError as error:
            raise BodyUnreadable(
                f"The file is not UTF-8 at byte {start - held + error.start}: "
                "save it as UTF-8"
            ) from error


def _progress(data: mmap.mmap) -> tqdm[NoReturn]:
    sample = data[:_STEP]
    rows = len(data) * sample.count(b"\n") // len(sample)
    return tqdm(
        total=rows, unit=" rows", unit_scale=True, disable=not sys.stderr.isatty()
    )


@contextmanager
def written(source: Path, target: Path) -> Iterator[IO[bytes]]:
    """A file that gets the target's name when all is well, and else is removed."""
    if not target.parent.is_dir():
        raise OutputRefused(f"There is no folder {target.parent} to write to")
    if target.is_dir():
        raise OutputRefused(f"{target} is a folder: name a file")
    if target.exists() and target.samefile(source):
        raise OutputRefused(f"{target} is the input: name another file")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _pieces(
    answering: Answers[Pieces], kind: Kind, data: mmap.mmap, config: Config
) -> Iterator[tuple[bytes, int]]:
    """The output's pieces in order, and how many rows each holds."""
    # The limits bound what a request may cost others.
    limits = dataclasses.replace(
        config, max_rows=_UNLIMITED, max_forecasts=_UNLIMITED, max_steps=_UNLIMITED
    )
    # A mapped file reads like bytes.
    chunks = answering.read_file(cast(bytes, data), limits)
    first = next(chunks)
    writer, rows_of = answering.begin(kind, first)

    def work(piece: Pieces) -> tuple[bytes, int]:
        return rows_of(piece), len(piece)

    yield writer.head, 0
    separator = b""
    pool = BulkPool(config.scoring_threads)
    for rows, count in pool.map(work, chain([first], chunks), threading.TIMEOUT_MAX):
        yield separator + rows, count
        separator = writer.separator
    yield writer.foot, 0
