"""The folder that a worker's hooks have theirs in: `hooks` in the state folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from app.store.folders import locked, make_private


class WorkerFolder:
    """A folder of this process, locked as long as it lives; others may share `hooks`.

    Not by its process id alone: other servers on the same state folder may not see
    the process, and ids are given out again. To be used by one thread at a time.
    """

    def __init__(self, home: Path) -> None:
        """home: the state folder, in which nothing is made before `get`."""
        self._all = home / "hooks"
        self._own: tuple[Path, int] | None = None

    def get(self) -> Path:
        """The folder; made when first asked for, and those of dead processes removed.

        Raises OSError.
        """
        if self._own is None:
            make_private(self._all)
            # No other process must find one that is made and not locked yet.
            with locked(self._all):
                self._remove_abandoned()
                self._own = self._make()
        return self._own[0]

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self._own is not None:
            (folder, lock), self._own = self._own, None
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def _make(self) -> tuple[Path, int]:
        # Of mode 0700.
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._all))
        lock = _open(folder)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder, lock

    def _remove_abandoned(self) -> None:
        for folder in self._all.iterdir():
            try:
                lock = _open(folder)
            except OSError:
                # Removed just now, or put there by somebody else.
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                # Its process lives.
                pass
            finally:
                os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
