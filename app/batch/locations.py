"""Inputs that jobs fetch and outputs that they deliver: folders, buckets, HTTP."""

from __future__ import annotations

import codecs
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import IO, Any, Final

from app.batch import parquet
from app.batch.intake import capped, normalised
from app.batch.output_types import numbers_of, spelling_of
from app.batch.patience import Patience, TooSlow
from app.batch.places import (
    LocationRefused,
    check,
    format_of,
    open_file,
    open_folder,
    part_name,
    path_of,
    remove_left,
    url_of,
)
from app.batch.spec import BatchSpec, CsvSettings
from app.batch.web import download, upload
from app.body import text_codec
from app.config import Config
from app.pace import STEP
from app.store.errors import InvalidStoreUrl
from app.store.files import Files, Objects
from app.store.job_record import Job

__all__ = ["LocationRefused", "check", "deliver", "fetch"]

# What is asked of a bucket at once.
_BLOCK: Final = 2**20


def fetch(
    job: Job, files: Files, config: Config, check_job: Callable[[], None] = lambda: None
) -> int:
    """Bring a job's input, made the one CSV that it is scored from; returns its bytes.

    What a job whose runner died had brought is replaced.
    check_job: is called again and again; what it raises ends the work.

    Raises LocationRefused, InputRefused, NoDataToPredict and BodyTooLarge for an input
    that is not to be had or is none, OSError where trying again may help.
    """
    settings: Mapping[str, Any] = job.spec["intakeSettings"]
    if settings["type"] == "localFile":
        return files.size(job.input_path)
    check(settings, config)
    patience = Patience(check_job)
    with _source(settings, config, patience) as source:
        size = 0
        sent = capped(_read(source, patience), config.max_upload)
        pieces = _pieces(job, sent, files, config)
        with files.writer(job.input_path) as target:
            for piece in capped(pieces, config.max_upload):
                check_job()
                size += target.write(piece)
    return size


def deliver(
    job: Job, files: Files, config: Config, check_job: Callable[[], None] = lambda: None
) -> None:
    """Put a job's output where it is wanted: whole, or not at all.

    Whoever does so again puts the same there again.
    check_job: is called again and again; what it raises ends the work.

    Raises LocationRefused, and OSError where trying again may help.
    """
    settings: Mapping[str, Any] = job.spec["outputSettings"]
    if settings["type"] == "localFile":
        return
    check(settings, config)
    patience = Patience(check_job)
    with _target(settings, job.id, config, patience) as target:
        parts = _parts(job, files, check_job)
        if format_of(settings) == "parquet":
            parquet.write(target, parts, numbers_of(job, files, config))
            return
        for piece in _written(job, parts):
            target.write(piece)


def _pieces(
    job: Job, sent: Iterable[bytes], files: Files, config: Config
) -> Iterator[bytes]:
    if format_of(job.spec["intakeSettings"]) == "parquet":
        spelling = spelling_of(job, files, config)
        with tempfile.TemporaryFile(dir=config.home) as kept:
            # Its end has to be read first.
            for piece in sent:
                kept.write(piece)
            yield from parquet.csv_pieces(
                kept,
                config.max_columns,
                formats=spelling.formats,
                lower=spelling.lower,
            )
        return
    settings = BatchSpec.from_json(job.spec).csv_settings
    codec = text_codec(settings.encoding)
    yield from normalised(sent, settings, codec, config.max_columns)


def _read(source: IO[bytes], patience: Patience) -> Iterator[bytes]:
    while piece := patience.wait(lambda: _step(source)):
        yield piece


def _step(source: IO[bytes]) -> bytes:
    """So much of a file as is to come in a time, or all that is left."""
    pieces, size = [], 0
    while size < STEP and (piece := source.read(STEP - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _parts(job: Job, files: Files, check_job: Callable[[], None]) -> Iterator[bytes]:
    for number in range(job.parts_done):
        check_job()
        yield files.read(job.part_path(number))


def _written(job: Job, parts: Iterable[bytes]) -> Iterator[bytes]:
    """The output as CSV in the dialect that the job asks for."""
    settings = BatchSpec.from_json(job.spec).csv_settings
    codec = text_codec(settings.encoding)
    dialect = (settings.delimiter, settings.quotechar, codec)
    if dialect == (",", '"', "utf_8"):
        yield from parts
        return
    # One for all parts: some encodings have a mark before the first character only.
    encoder = codecs.getincrementalencoder(codec)()
    names: list[str] | None = None
    for part in parts:
        table = parquet.read_texts(part, names)
        lines = [] if names else [table.column_names]
        names = table.column_names
        columns = [column.to_pylist() for column in table.columns]
        text = _dialect([*lines, *zip(*columns, strict=True)], settings)
        yield _encoded(text, encoder, settings)
    yield encoder.encode("", final=True)


def _dialect(rows: Iterable[Sequence[str | None]], settings: CsvSettings) -> str:
    quote = settings.quotechar
    comma = "\t" if settings.delimiter == "tab" else settings.delimiter
    special = (quote, comma, "\r", "\n")

    def cell(value: str | None) -> str:
        if value is None:
            return ""
        if any(each in value for each in special) or value != value.strip(" "):
            return f"{quote}{value.replace(quote, 2 * quote)}{quote}"
        return value

    def line(row: Sequence[str | None]) -> str:
        # Readers of CSV pass over an empty line.
        return comma.join(map(cell, row)) or 2 * quote

    return "".join(line(row) + "\n" for row in rows)


def _encoded(
    text: str, encoder: codecs.IncrementalEncoder, settings: CsvSettings
) -> bytes:
    try:
        return encoder.encode(text)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise LocationRefused(
            "type",
            f"The output has the character {character!a}, which"
            f" {settings.encoding} cannot write",
        ) from None


def _source(
    settings: Mapping[str, Any], config: Config, patience: Patience
) -> AbstractContextManager[IO[bytes]]:
    if settings["type"] == "filesystem":
        return _opened_file(settings, config)
    if settings["type"] == "s3":
        return _opened_object(settings, config, patience)
    return download(url_of(settings, config), patience)


def _target(
    settings: Mapping[str, Any], job_id: str, config: Config, patience: Patience
) -> AbstractContextManager[IO[bytes]]:
    if settings["type"] == "filesystem":
        return _new_file(settings, job_id, config)
    if settings["type"] == "s3":
        return _new_object(settings, config, patience)
    return _sent(settings, config, patience)


@contextmanager
def _opened_file(settings: Mapping[str, Any], config: Config) -> Iterator[IO[bytes]]:
    with (
        _refused_file(),
        open(open_file(path_of(settings, config), config), "rb") as it,
    ):
        yield it


@contextmanager
def _new_file(
    settings: Mapping[str, Any], job_id: str, config: Config
) -> Iterator[IO[bytes]]:
    path = path_of(settings, config)
    part = part_name(job_id)
    with _refused_file():
        folder = open_folder(path, config)
        # Whoever begins anew after a kill does not leave one behind for each time.
        with suppress(OSError):
            remove_left(folder, job_id)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(part, flags, 0o640, dir_fd=folder)
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            os.replace(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            raise
        finally:
            os.close(folder)


@contextmanager
def _refused_file() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise LocationRefused("path", "There is no such file or folder") from None
    except (IsADirectoryError, NotADirectoryError):
        raise LocationRefused("path", "The path is not one of a file") from None
    except PermissionError:
        raise LocationRefused("path", "The server may not use this file") from None


@contextmanager
def _opened_object(
    settings: Mapping[str, Any], config: Config, patience: Patience
) -> Iterator[IO[bytes]]:
    store, name = _object(settings, config)
    with _refused_object(), patience.wait(lambda: store.open(name, _BLOCK)) as file:
        yield file


@contextmanager
def _new_object(
    settings: Mapping[str, Any], config: Config, patience: Patience
) -> Iterator[IO[bytes]]:
    store, name = _object(settings, config)
    # Kept first: sent in one go, which can be ended.
    with tempfile.TemporaryFile(dir=config.home) as kept:
        yield kept
        kept.seek(0)
        with _refused_object():
            # What is sent at once is large, and the client library knows when it is
            # not: it has a time of its own.
            patience.wait(partial(_copy, kept, store, name), seconds=math.inf)


def _copy(kept: IO[bytes], store: Objects, name: str) -> None:
    with store.writer(name) as file:
        shutil.copyfileobj(kept, file, _BLOCK)


def _object(settings: Mapping[str, Any], config: Config) -> tuple[Objects, str]:
    folder, _, name = url_of(settings, config).rpartition("/")
    return Objects(folder), name


@contextmanager
def _refused_object() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise LocationRefused("url", "There is no such object or bucket") from None
    except PermissionError:
        raise LocationRefused("url", "The server may not use this object") from None
    except TooSlow as error:
        raise OSError(f"The object store is too slow: {error}") from None
    except InvalidStoreUrl as error:
        raise LocationRefused(
            "url", f"The server cannot use buckets: {error}"
        ) from None


@contextmanager
def _sent(
    settings: Mapping[str, Any], config: Config, patience: Patience
) -> Iterator[IO[bytes]]:
    # Kept first: what breaks off half-way must not have been sent as if it were all.
    with tempfile.TemporaryFile(dir=config.home) as kept:
        yield kept
        kind = "text/csv"
        if format_of(settings) == "parquet":
            kind = "application/vnd.apache.parquet"
        upload(url_of(settings, config), kept, kind, patience)
