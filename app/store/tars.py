"""Folders of plain files as tars, which are read without trust."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import IO

from app.store.errors import InvalidTar

# A file in the folder, or in a folder of it.
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_BLOCK = 512
_PIECE = 2**20
_MAX_FILES = 65_536
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
    left = max_bytes
    # Headers are parsed one block each: tarfile's own reader follows extended ones of
    # any size.
    with tar.open("rb") as archive:
        for _ in range(_MAX_FILES):
            member = _next_member(archive)
            if member is None:
                return
            left -= member.size
            if left < 0:
                raise InvalidTar(f"the tar holds more than {max_bytes} bytes")
            _extract(archive, member, folder / member.name)
    raise InvalidTar(f"the tar holds more than {_MAX_FILES - 1} files")


def _next_member(archive: IO[bytes]) -> tarfile.TarInfo | None:
    """Parse one header; None at the end of the tar."""
    header = archive.read(_BLOCK)
    if header == bytes(_BLOCK):
        return None
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise InvalidTar(f"the tar is damaged: {error}") from error
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
        raise InvalidTar(f"{member.name!r} in the tar is not a regular file")
    if not _NAME.fullmatch(member.name):
        raise InvalidTar(f"{member.name!r} is not a name that a file may have here")
    return member


def _extract(archive: IO[bytes], member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with target.open("xb") as file:
            for start in range(0, member.size, _PIECE):
                file.write(archive.read(min(_PIECE, member.size - start)))
            is_whole = file.tell() == member.size
    except FileExistsError as error:
        raise InvalidTar(f"{member.name!r} is in the tar twice") from error
    padding = -member.size % _BLOCK
    if not is_whole or len(archive.read(padding)) != padding:
        raise InvalidTar("the tar is cut short")
