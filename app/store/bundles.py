"""The bundles of deployed models: one folder each, named by the model's id."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from app.store.errors import InvalidBundle, UnknownModel
from app.store.folders import (
    incoming_folder,
    locked,
    make_private,
    remove_unfinished,
    sync_folder,
)
from app.store.records import check_id


class Bundles:
    """The folder `bundles` in the state folder.

    A bundle appears under its name complete and on the disk, or not at all.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "bundles"

    def put(self, folder: Path, model_id: str) -> Path:
        """Copy a bundle in, unless it is there; returns where it is kept.

        Raises InvalidId, InvalidBundle for links and other things that are neither
        files nor folders, and OSError, for instance when the disk is full.
        """
        target = self._folder / check_id(model_id)
        make_private(self._folder)
        with locked(self._folder) as descriptor:
            remove_unfinished(self._folder)
            if not target.exists():
                with incoming_folder(self._folder) as incoming:
                    _copy_folder(folder, incoming)
                    incoming.rename(target)
            # Also when it was there: whoever renamed it may have died before this.
            os.fsync(descriptor)
        return target

    def path(self, model_id: str) -> Path:
        """Where a bundle is kept; raises InvalidId and UnknownModel."""
        target = self._folder / check_id(model_id)
        if not target.is_dir():
            raise UnknownModel(model_id)
        return target


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
    sync_folder(target)


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
