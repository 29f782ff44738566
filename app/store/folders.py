"""Folders of folders, each of which appears complete and on the disk, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_INCOMING = ".incoming-"


def make_private(folder: Path) -> None:
    """Make a folder in the state folder, and that one, for their owner only."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Be the only process that changes the folder; yields its descriptor.

    The system drops the lock when its holder dies.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def incoming_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill and to rename; removed at the end unless it was."""
    # Of mode 0700, in the same file system as the name it will get.
    incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=folder))
    try:
        yield incoming
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


@contextmanager
def workplace(place: Path) -> Iterator[Path]:
    """An empty folder that one process and thread at a time has; removed at the end.

    What one that died has left in it is removed first.
    """
    while True:
        place.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had the lock before has removed the folder, and another may have
            # made one of the same name.
            if not _is_at(descriptor, place):
                continue
            for left in place.iterdir():
                _remove(left)
            try:
                yield place
            finally:
                shutil.rmtree(place)
            return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that died have left; the lock must be held."""
    for unfinished in folder.glob(f"{_INCOMING}*"):
        shutil.rmtree(unfinished)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(folder: Path) -> None:
    """Have private files on the disk, whoever wrote them."""
    for path in folder.iterdir():
        if path.is_dir():
            path.chmod(0o700)
            settle(path)
            continue
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
