"""Bundles that clients send: received onto the disk, and checked one after another."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.checking import CheckRefused, check
from app.config import Config
from app.errors import NoRoomForUpload, Overloaded
from app.store.errors import StoreUnavailable
from app.store.folders import locked, make_private
from app.store.identifiers import new_id
from app.store.operations import Operation, Operations
from app.store.records import User

log = logging.getLogger(__name__)

# Received or waiting at a time, in a worker: each may fill as much of the disk as the
# largest bundle.
_MOST: Final = 8
_BEAT_SECONDS: Final = 10.0
_FAULT: Final = "The server met an internal error while it checked the bundle"


@dataclass(frozen=True, slots=True)
class Upload:
    """A bundle's own folder, held by a lock until it is checked or given up."""

    folder: Path
    descriptor: int

    @property
    def tar(self) -> Path:
        """Where the bundle is to be written."""
        return self.folder / "bundle.tar"

    def end(self) -> None:
        """Remove all that was written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.descriptor)


class Uploads:
    """The bundles that one worker has received and not checked yet.

    They are checked by a thread of the worker, one at a time, in the order of their
    arrival. What became of each is told by its operation, whose `updated_at` moves on
    as long as this worker is at it, or will be.
    """

    def __init__(self, config: Config, operations: Operations) -> None:
        self._config = config
        self._operations = operations
        self._folder = config.home / "uploads"
        self._slots = threading.BoundedSemaphore(_MOST)
        self._waiting: queue.SimpleQueue[tuple[Upload, Operation, User]] = (
            queue.SimpleQueue()
        )
        self._pending: dict[str, Operation] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next_beat = 0.0

    @contextmanager
    def receiving(self) -> Iterator[Upload]:
        """A place for a bundle; given up when something is raised.

        Raises Overloaded, and NoRoomForUpload where the disk is full, say.
        """
        if not self._slots.acquire(blocking=False):
            raise Overloaded
        upload = None
        try:
            upload = self._new()
            yield upload
        except BaseException as error:
            if upload is not None:
                upload.end()
            self._slots.release()
            if isinstance(error, OSError):
                raise NoRoomForUpload from error
            raise

    def check(self, upload: Upload, user: User) -> Operation:
        """Have a received bundle checked and kept, as the user's.

        Call it last within `receiving`. Raises StoreUnavailable.
        """
        now = datetime.now(UTC)
        operation = Operation(
            id=new_id(),
            owner_id=user.id,
            created_at=now,
            kind="model package upload",
            status="INITIALIZED",
            message="",
            location=None,
            updated_at=now,
        )
        self._operations.save(operation)
        with self._lock:
            self._pending[operation.id] = operation
            self._waiting.put((upload, operation, user))
            if self._thread is None:
                # Made here, after the fork: threads do not survive it.
                self._thread = threading.Thread(
                    target=self._run, name="uploads", daemon=True
                )
                self._thread.start()
        return operation

    def _new(self) -> Upload:
        make_private(self._folder)
        with locked(self._folder):
            self._remove_left()
            folder = self._folder / new_id()
            folder.mkdir(mode=0o700)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return Upload(folder, descriptor)

    def _remove_left(self) -> None:
        """Remove what workers that died have left, whose locks are free."""
        for folder in self._folder.iterdir():
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)

    def _run(self) -> None:
        while True:
            upload, operation, user = self._waiting.get()
            try:
                self._check(upload, operation, user)
            except Exception:
                # One bundle must not end the only thread that checks them.
                log.exception("a bundle cannot be checked")
                self._tell(operation, "ERROR", _FAULT)
            finally:
                with self._lock:
                    self._pending.pop(operation.id, None)
                upload.end()
                self._slots.release()

    def _check(self, upload: Upload, operation: Operation, user: User) -> None:
        operation = self._tell(operation, "RUNNING")
        with self._lock:
            self._pending[operation.id] = operation
        try:
            model_id = check(self._config, upload.tar, user.name, self._beat)
        except CheckRefused as error:
            self._tell(operation, "ERROR", str(error)[:10_000])
            return
        location = f"/api/v2/modelPackages/{model_id}/"
        self._tell(operation, "COMPLETED", location=location)

    def _tell(
        self,
        operation: Operation,
        status: str,
        message: str = "",
        location: str | None = None,
    ) -> Operation:
        told = replace(
            operation,
            status=status,
            message=message,
            location=location,
            updated_at=datetime.now(UTC),
        )
        self._save(told)
        return told

    def _beat(self) -> None:
        """Say that this worker is still there, of all that wait for it."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_SECONDS
        with self._lock:
            pending = list(self._pending.values())
        for each in pending:
            self._save(replace(each, updated_at=datetime.now(UTC)))

    def _save(self, operation: Operation) -> None:
        try:
            self._operations.save(operation)
        except StoreUnavailable as error:
            # Told as interrupted then, unless the database is back in time.
            log.warning("operation %s is not kept: %s", operation.id, error)
