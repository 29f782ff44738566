"""What the tree engine made of deployed models: one folder each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from app.store.folders import (
    incoming_folder,
    locked,
    make_private,
    remove_unfinished,
    sync_folder,
)
from app.store.records import check_id


class CompiledModels:
    """The folder `compiled` in the state folder.

    A compiled folder is named by the model's id and the engine's fingerprint, so that
    another release of the engine does not meet arrays that it cannot read. It appears
    under its name complete and on the disk, or not at all.
    """

    def __init__(self, home: Path, engine: str) -> None:
        self._folder = home / "compiled"
        self._engine = engine

    def path(self, model_id: str) -> Path:
        """Where a compiled folder is, or would be; raises InvalidId."""
        return self._folder / f"{check_id(model_id)}-{self._engine}"

    def put(
        self,
        model_id: str,
        fill: Callable[[Path], None],
        *,
        unless: Callable[[Path], bool],
    ) -> None:
        """Make a compiled folder, in the place of one that is there.

        fill: writes files into an empty folder.
        unless: tells of the folder that is there, or is not, that it is to stay.

        What another engine had of the same model is removed; workers that have them
        mapped go on. Raises InvalidId and OSError, for instance when the disk is full.
        """
        target = self.path(model_id)
        make_private(self._folder)
        with locked(self._folder) as descriptor:
            if unless(target):
                return
            remove_unfinished(self._folder)
            with incoming_folder(self._folder) as incoming:
                fill(incoming)
                _settle(incoming)
                with incoming_folder(self._folder) as outgoing:
                    if target.exists():
                        target.rename(outgoing / target.name)
                    incoming.rename(target)
            os.fsync(descriptor)
            for other in self._folder.glob(f"{model_id}-*"):
                if other != target:
                    shutil.rmtree(other, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Have private files on the disk, whoever wrote them."""
    for path in folder.iterdir():
        if path.is_dir():
            path.chmod(0o700)
            _settle(path)
            continue
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
