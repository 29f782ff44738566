"""Folders of plain files as tars, which are read without trust."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from app.store.errors import InvalidTar
from backends import tars

# A file in the folder, or in a folder of it.
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_MAX_FILES = 65_535
_MAX_BYTES = 16 * 2**30


def pack(folder: Path, tar: Path) -> None:
    """Write a folder's files, and those of its folders, as a tar.

    Raises OSError.
    """
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)


def unpack(tar: Path, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
    """Write the files of a tar that `pack` made into a folder that is empty.

    Anything else in it, such as a link or a path that leads out, is refused without
    being followed. Raises InvalidTar and OSError.
    """

    def place(name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise tars.TarRefused(f"{name!r} is not a name that a file may have here")
        target = folder / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        return target

    try:
        tars.unpack(tar, place, max_files=_MAX_FILES, max_bytes=max_bytes)
    except tars.TarRefused as error:
        raise InvalidTar(str(error)) from error
