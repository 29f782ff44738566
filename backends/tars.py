"""Tars that are read without trust: regular files of one folder, and nothing else."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

_BLOCK: Final = 512
_PIECE: Final = 2**20


class TarRefused(ValueError):
    """The tar is not whole, or holds what it may not."""


def unpack(
    tar: Path, place: Callable[[str], Path], *, max_files: int, max_bytes: int
) -> None:
    """Write the files of a tar that nothing is compressed in.

    A header that says anything else, a link, a device, a long name, is refused without
    being followed. The folder itself may be told, as `tar -C FOLDER .` does.

    place: where a file of this name is to be written, in a folder that is there; it
        raises what it will for a name that may not be.
    max_files, max_bytes: what the tar may hold at most.

    Raises TarRefused and OSError; what was written until then is left to the caller.
    """
    left = max_bytes
    # Only headers are parsed here, one block each: tarfile's own reader follows
    # extended headers of any size and knows many kinds of member.
    with tar.open("rb") as archive:
        for _ in range(max_files + 1):
            member = _next_member(archive)
            if member is None:
                return
            if member.isdir():
                continue
            target = place(member.name.removeprefix("./"))
            left -= member.size
            if left < 0:
                raise TarRefused(f"the tar holds more than {max_bytes} bytes")
            _extract(archive, member, target)
    raise TarRefused(f"the tar holds more than {max_files} files")


def _next_member(archive: IO[bytes]) -> tarfile.TarInfo | None:
    """Parse one header; None at the end of the tar."""
    header = archive.read(_BLOCK)
    if header == bytes(_BLOCK):
        return None
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise TarRefused(f"the tar is damaged: {error}") from error
    is_itself = member.isdir() and member.name == "." and not member.size
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) and not is_itself:
        raise TarRefused(f"{member.name!r} in the tar is not a regular file")
    if member.size < 0:
        raise TarRefused(f"{member.name!r} in the tar has no size")
    return member


def _extract(archive: IO[bytes], member: tarfile.TarInfo, target: Path) -> None:
    try:
        with target.open("xb") as file:
            for start in range(0, member.size, _PIECE):
                file.write(archive.read(min(_PIECE, member.size - start)))
            is_whole = file.tell() == member.size
    except FileExistsError as error:
        raise TarRefused(f"{member.name!r} is in the tar twice") from error
    padding = -member.size % _BLOCK
    if not is_whole or len(archive.read(padding)) != padding:
        raise TarRefused("the tar is cut short")
