"""The bundles of deployed models: one folder each, named by the model's id."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.store.errors import InvalidBundle, UnknownModel
from app.store.records import check_id

_INCOMING = ".incoming-"


class Bundles:
    """The folder `bundles` in the state folder.

    A bundle appears under its name complete and on the disk, or not at all.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "bundles"

    def put(self, folder: Path, model_id: str) -> Path:
        """Copy a bundle in, unless it is there; returns where it is kept.

        Raises InvalidId, InvalidBundle for links and other things that are neither
        files nor folders, and OSError, for instance when the disk is full.
        """
        target = self._folder / check_id(model_id)
        self._make_folder()
        with _locked(self._folder) as descriptor:
            self._remove_unfinished()
            if not target.exists():
                # Of mode 0700, in the same file system as the name it will get.
                incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._folder))
                try:
                    _copy_folder(folder, incoming)
                    incoming.rename(target)
                finally:
                    shutil.rmtree(incoming, ignore_errors=True)
            # Also when it was there: whoever renamed it may have died before this.
            os.fsync(descriptor)
        return target

    def path(self, model_id: str) -> Path:
        """Where a bundle is kept; raises InvalidId and UnknownModel."""
        target = self._folder / check_id(model_id)
        if not target.is_dir():
            raise UnknownModel(model_id)
        return target

    def _make_folder(self) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(self._home)

    def _remove_unfinished(self) -> None:
        # Nobody else is at it: the lock is held for as long as a copy takes, and the
        # system drops it when its holder dies.
        for unfinished in self._folder.glob(f"{_INCOMING}*"):
            shutil.rmtree(unfinished)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_folder(source: Path, target: Path) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                (target / entry.name).mkdir(mode=0o700)
                _copy_folder(Path(entry), target / entry.name)
            elif entry.is_file(follow_symlinks=False):
                _copy_file(Path(entry), target / entry.name)
            else:
                raise InvalidBundle(f"{entry.name!r} is not a file or a folder")
    _sync_folder(target)


def _copy_file(source: Path, target: Path) -> None:
    with (
        open(source, "rb", opener=_no_link) as reader,
        open(target, "xb", opener=_private) as writer,
    ):
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _no_link(path: str, flags: int) -> int:
    # A link could bring in any file that the server may read.
    return os.open(path, flags | os.O_NOFOLLOW)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
