"""The bundle: a folder of plain files that model.json describes and sums up."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends import tars
from backends.model import InvalidModelCard, Model

CARD = "model.json"
GOLDEN = "golden.json"
STATISTICS = "statistics.json"
REFERENCE = "reference.parquet"
EXEMPLARS = "exemplars.json"
SERIES = "series.json"
# A request for forecasts and its answer; those that the spec's author gave beside.
SAMPLE, SAMPLE_EXPECTED = "sample.csv", "sample_expected.json"
GIVEN, GIVEN_EXPECTED = "given_sample.csv", "given_sample_expected.json"
GIVEN_JSON = "given_sample.json"
# What weights beside a graph may not be called.
NAMES = frozenset(
    (
        *(CARD, GOLDEN, STATISTICS, REFERENCE, EXEMPLARS, SERIES),
        *(SAMPLE, SAMPLE_EXPECTED, GIVEN, GIVEN_JSON, GIVEN_EXPECTED),
    )
)

# Far above any real bundle: tables of numbers, a few weights files, a model for each
# hour of a week.
_MAX_FILES = 256
_MAX_CARD = 64 * 2**20
_MAX_BYTES = 16 * 2**30

# Names that mean the same on every file system, and fit a tar header.
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]*")
_MAX_NAME = 100


class BundleRejected(ValueError):
    """The bundle is not whole, was changed, or does not answer as it should."""


def write(folder: Path, model: Model) -> Model:
    """Write model.json for the files in the folder; returns the model with its id.

    Raises BundleRejected for a folder that `read` would refuse.
    """
    files = {
        name: _sha256(path) for name, path in _files(folder).items() if name != CARD
    }
    card = {**model.to_json(), "files": files}
    card["checksum"] = _checksum(card)
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return read(folder)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data as a file of a bundle: one line, UTF-8.

    Raises ValueError for numbers that JSON has not.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Model:
    """Check every file against the checksums in model.json.

    Raises BundleRejected naming the file that is missing, changed or too much.
    """
    files = _files(folder)
    card = _card(files)
    checksum = card.pop("checksum", None)
    if checksum != _checksum(card):
        raise BundleRejected(f"{CARD} was changed after packaging")
    expected = card.pop("files")
    del files[CARD]
    for name in sorted(expected.keys() | files.keys()):
        if name not in files:
            raise BundleRejected(f"{name!r} is missing from the bundle")
        if name not in expected:
            raise BundleRejected(f"{name!r} is not part of the bundle")
        if _sha256(files[name]) != expected[name]:
            raise BundleRejected(f"{name!r} was changed after packaging")
    try:
        model = Model.from_json(card, checksum[:24])
    except InvalidModelCard as error:
        raise BundleRejected(str(error)) from error
    for name in (model.file, *model.files.values()):
        if name not in expected:
            raise BundleRejected(f"the bundle has no model file {name!r}")
    return model


def read_card(folder: Path) -> Model:
    """What model.json says; the files that it describes are not looked at.

    Raises BundleRejected.
    """
    card = _card(_files(folder))
    checksum = card.pop("checksum", None)
    if checksum != _checksum(card):
        raise BundleRejected(f"{CARD} was changed after packaging")
    del card["files"]
    try:
        return Model.from_json(card, checksum[:24])
    except InvalidModelCard as error:
        raise BundleRejected(str(error)) from error


def pack(folder: Path, tar: Path) -> None:
    """Write the bundle as a tar; the same bundle always gives the same bytes.

    Raises BundleRejected, as `read` does, before anything is written.
    """
    read(folder)
    part = tar.with_name(f".{tar.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, path in sorted(_files(folder).items()):
                member = tarfile.TarInfo(name)
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)
        part.replace(tar)
    finally:
        part.unlink(missing_ok=True)


def unpack(tar: Path, folder: Path, *, max_bytes: int = _MAX_BYTES) -> Model:
    """Write the files of a tar into a new folder and check them.

    Takes what `pack` makes: regular files, no folders but the bundle's own, nothing
    compressed. A header that says anything else, a link, a device, a long name, a path,
    is refused without being followed, and so is a tar that would write more than
    `max_bytes`.

    folder: must not be there, or be empty.

    Raises BundleRejected; what was written until then is left to the caller.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BundleRejected(f"the folder {str(folder)!r} is not empty")

    def place(name: str) -> Path:
        _check_name(name)
        return folder / name

    try:
        tars.unpack(tar, place, max_files=_MAX_FILES - 1, max_bytes=max_bytes)
    except tars.TarRefused as error:
        raise BundleRejected(str(error)) from error
    return read(folder)


def _files(folder: Path) -> dict[str, Path]:
    """Name to path of every file. Raises BundleRejected for anything else."""
    try:
        found = {entry.name: entry for entry in os.scandir(folder)}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleRejected(f"there is no folder {str(folder)!r}") from error
    if len(found) > _MAX_FILES:
        raise BundleRejected(f"the bundle holds more than {_MAX_FILES} files")
    for name, entry in found.items():
        _check_name(name)
        if not entry.is_file(follow_symlinks=False):
            raise BundleRejected(f"{name!r} in the bundle is not a regular file")
    return {name: Path(entry.path) for name, entry in found.items()}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(os.fsencode(name)) > _MAX_NAME:
        raise BundleRejected(f"{name!r} is not a name that a file in a bundle may have")


def _card(files: Mapping[str, Path]) -> dict[str, Any]:
    """model.json as plain data, with an object of strings under "files"."""
    if CARD not in files:
        raise BundleRejected(f"{CARD!r} is missing: this is not a bundle")
    if files[CARD].stat().st_size > _MAX_CARD:
        raise BundleRejected(f"{CARD} is larger than {_MAX_CARD} bytes")
    try:
        card = json.loads(files[CARD].read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleRejected(f"{CARD} is not JSON: {error}") from error
    if not isinstance(card, dict) or not isinstance(card.get("files"), dict):
        raise BundleRejected(f"{CARD} has no table of files")
    return card


def _checksum(card: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no blanks, UTF-8."""
    try:
        text = json.dumps(
            card,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()
    except ValueError as error:
        raise BundleRejected(f"{CARD} has no canonical form: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
