"""Scoring a file in the foreground, with the code that answers requests."""

from __future__ import annotations

import codecs
import dataclasses
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Literal, NoReturn, cast

from tqdm import tqdm

from app.bulk import BulkPool
from app.config import Config
from app.decode import Chunk, _read_csv, _Request
from app.encode import Answer, CsvWriter, JsonWriter
from app.errors import AppError, BodyUnreadable, NoDataToPredict
from app.model_cache import ServedModel
from app.scoring import Rules, outlier_bounds, score
from app.store.records import DeploymentSettings

Writer = CsvWriter | JsonWriter

# By the end of the output file's name.
WRITERS: dict[str, type[Writer]] = {".csv": CsvWriter, ".json": JsonWriter}

_STEP = 2**20
_UNLIMITED = 2**53 - 1


class OutputRefused(AppError):
    """The output cannot be written where it is wanted."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to score, and how.

    threshold: binary; None for the model's own.
    passthrough: names of columns to copy into the output, or "all".
    decimals: most digits after the point.
    prediction_warning: regression: flag predictions outside the bounds.
    """

    source: Path
    target: Path
    served: ServedModel
    settings: DeploymentSettings
    threshold: float | None = None
    passthrough: tuple[str, ...] | Literal["all"] = ()
    decimals: int = 10
    prediction_warning: bool = False


def score_file(job: Job, config: Config) -> int:
    """Score a CSV file into a CSV or JSON file; returns how many rows it has.

    The output has the columns of the HTTP answer, and appears under its name when it
    is complete. Memory does not grow with the file.

    Raises what a request with these rows would be answered with, OutputRefused and
    OSError.
    """
    data = _map(job.source)
    rows = 0
    with _written(job) as output, _progress(data) as progress:
        for piece, count in _pieces(job, data, config):
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
def _written(job: Job) -> Iterator[IO[bytes]]:
    """A file that gets the target's name when all is well, and else is removed."""
    target = job.target
    if target.is_dir():
        raise OutputRefused(f"{target} is a folder: name a file")
    if target.exists() and target.samefile(job.source):
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


def _pieces(job: Job, data: mmap.mmap, config: Config) -> Iterator[tuple[bytes, int]]:
    """The output's pieces in order, and how many rows each holds."""
    chunks = _chunks(job, data, config)
    first = next(chunks)
    rules = _rules(job)
    writer = WRITERS[job.target.suffix](_answer(job, rules, first))
    yield writer.head, 0
    separator = b""
    work = partial(_score, job.served, rules, writer)
    pool = BulkPool(config.scoring_threads)
    for rows, count in pool.map(work, chain([first], chunks), threading.TIMEOUT_MAX):
        yield separator + rows, count
        separator = writer.separator
    yield writer.foot, 0


def _chunks(job: Job, data: mmap.mmap, config: Config) -> Iterator[Chunk]:
    # The limits bound what a request may cost others.
    limits = dataclasses.replace(config, max_rows=_UNLIMITED)
    request = _Request(
        job.served.decoder,
        _passthrough(job),
        limits,
        refuse_unknown=job.settings.unknown_categories == "error",
        refuse_invalid=job.settings.invalid_numbers == "error",
    )
    # `read_rows` wants the whole of a body in memory. What it does with CSV works on
    # a mapped file as well.
    return _read_csv(cast(bytes, data), request)


def _passthrough(job: Job) -> tuple[str, ...] | Literal["all"]:
    wanted, own = job.passthrough, job.settings.association_id
    if wanted == "all" or own is None or own in wanted:
        return wanted
    return (own, *wanted)


def _rules(job: Job) -> Rules:
    model, settings = job.served.model, job.settings
    bounds = None
    if job.prediction_warning and settings.prediction_warning:
        bounds = outlier_bounds(
            model,
            settings.prediction_warning_lower,
            settings.prediction_warning_upper,
        )
    threshold = model.threshold if job.threshold is None else job.threshold
    return Rules(threshold, bounds)


def _answer(job: Job, rules: Rules, first: Chunk) -> Answer:
    settings = job.settings
    return Answer(
        job.served.model,
        threshold=rules.threshold,
        decimals=job.decimals,
        named_labels=settings.labels == "names",
        with_outliers=rules.outlier_bounds is not None,
        approval=settings.approval_status if settings.approval_workflow else None,
        passthrough=tuple(first.passthrough),
    )


def _score(
    served: ServedModel, rules: Rules, writer: Writer, chunk: Chunk
) -> tuple[bytes, int]:
    first_row = chunk.first_row
    predictions = score(served.backend, chunk.columns, rules, first_row=first_row)
    rows = writer.rows(predictions, first_row, chunk.passthrough)
    return rows, len(predictions)
