"""What the tree engine made of deployed models: one folder each."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from app.errors import AppError
from app.store.errors import NotShared
from app.store.folders import (
    incoming_folder,
    locked,
    make_private,
    remove_unfinished,
    settle,
)
from app.store.identifiers import check_id
from app.store.shared import SharedFolders

log = logging.getLogger(__name__)


class CompiledModels:
    """The folder `compiled` in the state folder.

    A compiled folder is named by the model's id and the engine's fingerprint, so that
    another release of the engine does not meet arrays that it cannot read. It appears
    under its name complete and on the disk, or not at all.
    """

    def __init__(
        self, home: Path, engine: str, shared: SharedFolders | None = None
    ) -> None:
        """engine: its fingerprint.

        shared: what servers share them through; None if there is one server.
        """
        self._folder = home / "compiled"
        self._engine = engine
        self._shared = shared

    def path(self, model_id: str) -> Path:
        """Where a compiled folder is, or would be; raises InvalidId."""
        return self._folder / f"{check_id(model_id)}-{self._engine}"

    def fetched(self, model_id: str) -> Path:
        """The same, after it was looked for where servers share what they made.

        Whoever finds no folder there goes on without. Raises InvalidId.
        """
        target = self.path(model_id)
        if self._shared is not None and not target.exists():
            try:
                self._shared.fetch(target)
            except NotShared:
                pass
            except (AppError, OSError, ValueError) as error:
                log.warning("what was compiled of %s is not here: %s", model_id, error)
        return target

    def share(self, model_id: str) -> None:
        """Let the other servers have what is here, unless they do.

        Raises InvalidId and StoreUnreachable.
        """
        target = self.path(model_id)
        if self._shared is not None and target.exists():
            self._shared.send(target)

    def remove(self, model_id: str) -> None:
        """Remove what is on this machine, of every engine; what is shared stays.

        Raises InvalidId and OSError.
        """
        check_id(model_id)
        make_private(self._folder)
        with locked(self._folder):
            for each in self._folder.glob(f"{model_id}-*"):
                shutil.rmtree(each)

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
        mapped go on. Other servers can have it as soon as this returns.

        Raises InvalidId, OSError, for instance when the disk is full, and
        StoreUnreachable when it is here but not there.
        """
        is_new = self._put(model_id, fill, unless)
        if self._shared is not None:
            self._shared.send(self.path(model_id), again=is_new)

    def _put(
        self,
        model_id: str,
        fill: Callable[[Path], None],
        unless: Callable[[Path], bool],
    ) -> bool:
        """Returns whether one was made."""
        target = self.path(model_id)
        make_private(self._folder)
        with locked(self._folder) as descriptor:
            if unless(target):
                return False
            remove_unfinished(self._folder)
            with incoming_folder(self._folder) as incoming:
                fill(incoming)
                settle(incoming)
                with incoming_folder(self._folder) as outgoing:
                    if target.exists():
                        target.rename(outgoing / target.name)
                    incoming.rename(target)
            os.fsync(descriptor)
            for other in self._folder.glob(f"{model_id}-*"):
                if other != target:
                    shutil.rmtree(other, ignore_errors=True)
        return True
