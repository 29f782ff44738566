"""Scoring a file in the foreground, with the code that answers requests."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Final, NoReturn

from tqdm import tqdm

from app.answering import WRITERS, Kind
from app.batch.cluster import Cluster
from app.batch.cutting import read_head
from app.batch.job import ModelPlace, PartDone, Task, score_part
from app.batch.planning import parts_left
from app.batch.series import Shelf
from app.config import Config
from app.errors import AppError, BodyUnreadable, NoDataToPredict
from app.store.files import Folder, open_files
from app.store.identifiers import new_id

# By the end of the output file's name.
KINDS: Mapping[str, Kind] = {".csv": "csv", ".json": "json"}

_STEP: Final = 2**20


class OutputRefused(AppError):
    """The output cannot be written where it is wanted."""


class ScoringRefused(AppError):
    """The rows cannot be scored as they are, in the words of a request's answer."""


def score_file(task: Task, source: Path, target: Path, config: Config) -> int:
    """Score a CSV file into a CSV or JSON file; returns how many rows that has.

    The output has the columns of the HTTP answer, and appears under its name when it
    is complete. Memory does not grow with the file, but with a time series in it.
    Where there is a Dask cluster, its workers score with a deployed model; what they
    need goes through the files that servers share.

    task: what is wanted; its files, input and head are the source's, its kind is the
        target's.
    Raises NoDataToPredict, BodyUnreadable, ScoringRefused, OutputRefused, OSError, and
    what `opened` raises.
    """
    kind = KINDS[target.suffix]
    rows = 0
    with written(source, target) as output, source.open("rb") as file:
        _check_utf8(file)
        head = read_head(file, config.max_columns)
        task = replace(task, head=head, kind=kind, output=None)
        with _placed(task, source, config) as placed, _progress(file) as bar:
            for done in _scored(file, placed, config):
                separator = WRITERS[kind].separator if rows and done.rows else b""
                output.write(separator + _output(done))
                bar.update(done.rows)
                rows += done.rows
            output.write(WRITERS[kind].foot)
            bar.total = rows
    return rows


@dataclass(frozen=True, slots=True)
class _Placed:
    """A task whose files its workers can read.

    scheduler: theirs; empty: they are threads of this process.
    """

    task: Task
    scheduler: str
    shelf: Shelf


def _scored(file: IO[bytes], placed: _Placed, config: Config) -> Iterator[PartDone]:
    task, folder = placed.task, placed.shelf.scratch
    with Cluster(placed.scheduler, config.scoring_threads, folder) as cluster:
        parts = parts_left(file, task, placed.shelf)
        yield from cluster.map(partial(score_part, task), parts)


def _output(done: PartDone) -> bytes:
    if done.refused is None and done.output is not None:
        return done.output
    text = done.refused or ""
    if done.rule is not None:
        # Clients are told the rule's text alone; who owns it may change it.
        name, rule_id = done.rule
        text += f" (humility rule {name!r}, {rule_id})"
    raise ScoringRefused(text)


@contextmanager
def _placed(task: Task, source: Path, config: Config) -> Iterator[_Placed]:
    """The task, its files where those who score look for them."""
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        scratch = Path(folder)
        if not config.dask_scheduler or not task.model.model_id:
            here = source.absolute().parent.as_uri()
            task = replace(task, files=here, input=source.name)
            yield _Placed(task, "", Shelf(Folder(scratch), "series", scratch))
            return
        files = open_files(config.store_url or config.home.as_uri())
        place = f"scored/{new_id()}"
        path = f"{place}/input.csv"
        with source.open("rb") as reader, files.writer(path) as writer:
            shutil.copyfileobj(reader, writer, _STEP)
        try:
            # Workers look for the model by its id; what is here may not be there.
            model = ModelPlace(task.model.model_id)
            task = replace(task, files=files.url, input=path, model=model)
            shelf = Shelf(files, f"{place}/series", scratch)
            yield _Placed(task, config.dask_scheduler, shelf)
        finally:
            files.remove(place)


def _check_utf8(file: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    start, is_blank = 0, True
    while data := file.read(_STEP):
        held = len(decoder.getstate()[0])
        is_blank = is_blank and not data.removeprefix(codecs.BOM_UTF8).strip()
        try:
            decoder.decode(data)
        except UnicodeDecodeError as error:
            raise _not_utf8(start - held + error.start) from error
        start += len(data)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(start - len(error.object)) from error
    if is_blank:
        raise NoDataToPredict


def _not_utf8(place: int) -> BodyUnreadable:
    return BodyUnreadable(f"The file is not UTF-8 at byte {place}: save it as UTF-8")


def _progress(file: IO[bytes]) -> tqdm[NoReturn]:
    file.seek(0)
    sample = file.read(_STEP)
    rows = os.fstat(file.fileno()).st_size * sample.count(b"\n") // len(sample)
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
