"""Dask: parts scored in this process, or by workers elsewhere, in order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from app.errors import AppError

Item = TypeVar("Item")
Result = TypeVar("Result")

# How often a part is tried again that raised, and that workers died of.
_RETRIES: Final = 3
_DEATHS: Final = 2
# How often whoever waits for a part looks whether it is to go on.
_LOOK_SECONDS: Final = 0.5
_CONNECT_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class ClusterLost(AppError):
    """The Dask cluster cannot be reached, or lost what it was given."""


class WorkersDied(AppError):
    """Worker after worker died of a part."""

    def __init__(self) -> None:
        super().__init__(
            "Workers died again and again while they scored a part of the rows; their"
            " log may say why, too little memory is the usual reason"
        )


class Cluster:
    """Threads of this process under Dask, or the workers of a scheduler.

    Nothing is started before more than one part is there. No port is listened on.
    """

    def __init__(self, scheduler: str, threads: int, folder: Path) -> None:
        """scheduler: tcp://HOST:PORT; empty for threads of this process.

        folder: where Dask may keep files.
        """
        self._scheduler = scheduler
        self._threads = threads
        self._folder = folder
        self._own: Any = None
        self._client: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Result]:
        """Apply `work` to each item, yielding in order.

        work and items are sent to workers by pickle. check: is called again and again
        while a result is waited for; what it raises ends the work.
        A few items more than there are threads are read ahead. What a worker that died
        had is done by others. Raises what `work` raises, ClusterLost and WorkersDied.
        """
        waiting = iter(items)
        if not self._scheduler and self._client is None:
            ahead = [item for _, item in zip(range(2), waiting, strict=False)]
            if len(ahead) == 1:
                yield _watched(work, ahead[0], check)
                return
            waiting = _chained(ahead, waiting)
        yield from self._map(work, waiting, check)

    def _map(
        self,
        work: Callable[[Item], Result],
        items: Iterator[Item],
        check: Callable[[], None],
    ) -> Iterator[Result]:
        self._configure()
        from distributed import CancelledError
        from distributed.comm import CommClosedError

        pending: deque[tuple[Item, Any]] = deque()
        try:
            client = self._open()
            for item in items:
                check()
                pending.append((item, self._submit(work, item)))
                if len(pending) > self._window(client):
                    yield self._result(work, *pending[0], check)
                    pending.popleft()
            while pending:
                yield self._result(work, *pending[0], check)
                pending.popleft()
        except (CancelledError, CommClosedError) as error:
            self.close()
            raise ClusterLost(
                f"The Dask scheduler {self._scheduler} lost what it was given"
            ) from error
        finally:
            self._cancel([future for _, future in pending])

    def _submit(self, work: Callable[[Item], Result], item: Item) -> Any:
        return self._client.submit(work, item, pure=False, retries=_RETRIES)

    def _window(self, client: Any) -> int:
        """How many parts are with the workers at once."""
        threads = self._threads
        if self._scheduler:
            threads = sum(client.nthreads().values())
        return 2 * max(1, threads)

    def _result(
        self,
        work: Callable[[Item], Result],
        item: Item,
        future: Any,
        check: Callable[[], None],
    ) -> Result:
        from distributed import KilledWorker
        from distributed import TimeoutError as NotYet

        deaths = 0
        while True:
            check()
            try:
                result: Result = future.result(timeout=_LOOK_SECONDS)
            except (NotYet, TimeoutError):
                # A part may raise the same: then it is done.
                if future.status == "error":
                    raise
            except KilledWorker as error:
                deaths += 1
                log.warning("workers died of a part: %s", error)
                if deaths > _DEATHS:
                    raise WorkersDied from error
                future = self._submit(work, item)
            else:
                return result

    def _cancel(self, futures: list[Any]) -> None:
        if futures and self._client is not None:
            with suppress(Exception):
                self._client.cancel(futures, force=True)

    def _open(self) -> Any:
        if self._client is not None and self._client.status == "running":
            return self._client
        self.close()
        from distributed import Client

        if not self._scheduler:
            self._own = _own_cluster(self._threads, self._folder)
            self._client = Client(self._own, set_as_default=False)
            return self._client
        try:
            self._client = Client(
                self._scheduler, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise ClusterLost(
                f"The Dask scheduler {self._scheduler} cannot be reached"
            ) from error
        return self._client

    def _configure(self) -> None:
        import dask

        # What is not said here is what an administrator of the machine has said. The
        # level of messages counts when `distributed` is imported for the first time.
        dask.config.set(
            {
                "temporary-directory": str(self._folder),
                "logging": {"distributed": "error"},
            }
        )

    def close(self) -> None:
        """End the threads, or leave the scheduler."""
        client, own = self._client, self._own
        self._client = self._own = None
        for each in (client, own):
            if each is not None:
                # One that is lost already cannot be left in order.
                with suppress(OSError, TimeoutError, RuntimeError):
                    each.close(timeout=_CONNECT_SECONDS)


def _watched(
    work: Callable[[Item], Result], item: Item, check: Callable[[], None]
) -> Result:
    """Work in a thread, which is left behind when `check` ends the work."""
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work(item))
        except BaseException as error:
            # Whatever it is, whoever waits shall have it.
            done.set_exception(error)

    threading.Thread(target=run, name="part", daemon=True).start()
    while not done.done():
        check()
        wait([done], _LOOK_SECONDS)
    return done.result()


def _own_cluster(threads: int, folder: Path) -> Any:
    """A scheduler and a worker in this process, which nobody else can reach."""
    from distributed import SpecCluster

    from app.batch.silent import SilentScheduler, SilentWorker

    scheduler = {"protocol": "inproc://", "dashboard": False, "host": ""}
    worker = {
        "nthreads": threads,
        # Spilling to the disk, pausing and ending are for workers of their own.
        "memory_limit": 0,
        "local_directory": str(folder),
        "dashboard": False,
    }
    return SpecCluster(
        scheduler={"cls": SilentScheduler, "options": scheduler},
        workers={0: {"cls": SilentWorker, "options": worker}},
        silence_logs=logging.ERROR,
    )


def _chained(first: list[Item], others: Iterator[Item]) -> Iterator[Item]:
    yield from first
    yield from others
