"""The processes of hooks of one worker: one for each deployment, started when asked."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from app.config import Config
from app.errors import DeadlineExceeded, Overloaded
from app.unstructured.folders import WorkerFolder
from backends.unstructured.code import HookCode
from backends.unstructured.hook_process import HookLimits, HookProcess
from backends.unstructured.media import Content

log = logging.getLogger(__name__)

# A process that nobody asked for so long ends.
_IDLE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 1.0
# Large requests that wait for hooks or are answered by them, with their bodies. They
# are none of the server's bulk work, which they could hold up for minutes.
_LARGE: Final = 4
# Requests that wait for one hook at least, before there are too many.
_LEAST_WAITING: Final = 4


@dataclass(slots=True)
class _Place:
    """Of a deployment: its process, and who may ask it now."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    process: HookProcess | None = None
    asked_at: float = 0.0
    waiting: int = 0


class Hooks:
    """Safe to use from many threads at once; a process answers one at a time."""

    def __init__(
        self,
        config: Config,
        is_allowed: Callable[[str, str], bool],
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        """is_allowed: whether a deployment may run the code of a model, by both ids.

        A process whose code is not any more ends within a second.
        """
        self._limits = HookLimits(
            seconds=config.hook_seconds,
            load_seconds=config.model_seconds,
            memory=config.model_memory,
            answer=config.max_answer,
        )
        self._folder = WorkerFolder(config.home)
        self._is_allowed = is_allowed
        self._idle_seconds = idle_seconds
        # A hook that is slow is to leave the server room for others.
        share = config.max_in_flight // (2 * config.workers)
        self._most_waiting = max(_LEAST_WAITING, share)
        self._large = threading.Semaphore(_LARGE)
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[tuple[HookCode, Future[HookProcess]] | None]
        self._wanted = queue.SimpleQueue()
        self._keeper: threading.Thread | None = None

    def answer(
        self,
        deployment_id: str,
        code: HookCode,
        sent: Content,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Content:
        """What a deployment's hook answers; its process is started if there is none.

        deadline: monotonic seconds. Raises HookFailed, HookTooSlow, AnswerTooLarge,
        BundleRejected, OSError; Overloaded and DeadlineExceeded where others ask.
        """
        with self._turn(deployment_id, deadline) as place:
            process = place.process
            # One that was killed between two requests is to fail none.
            if (
                process is None
                or process.model_id != code.model.id
                or not process.is_alive
            ):
                self._end(place)
                process = self._start(place, code, deadline)
            try:
                return process.score(sent, headers, deadline)
            finally:
                place.asked_at = time.monotonic()
                if not process.is_alive:
                    self._end(place)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
            places, self._places = list(self._places.values()), {}
        for place in places:
            self._end(place)
        if keeper is not None:
            self._wanted.put(None)
            keeper.join()
        self._folder.remove()

    @contextmanager
    def large(self, deadline: float) -> Iterator[None]:
        """A large request's slot, waited for before its body is read.

        Raises DeadlineExceeded.
        """
        if not self._large.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlineExceeded
        try:
            yield
        finally:
            self._large.release()

    @contextmanager
    def _turn(self, deployment_id: str, deadline: float) -> Iterator[_Place]:
        with self._lock:
            place = self._places.setdefault(deployment_id, _Place())
            place.asked_at = time.monotonic()
            if place.waiting >= self._most_waiting:
                raise Overloaded
            place.waiting += 1
        is_ours = place.turn.acquire(timeout=max(0.0, deadline - time.monotonic()))
        with self._lock:
            place.waiting -= 1
        if not is_ours:
            raise DeadlineExceeded
        try:
            yield place
        finally:
            place.turn.release()

    def _start(self, place: _Place, code: HookCode, deadline: float) -> HookProcess:
        code.check_whole()
        started: Future[HookProcess] = Future()
        with self._lock:
            if self._keeper is None:
                self._keeper = threading.Thread(
                    target=self._keep, name="hooks", daemon=True
                )
                self._keeper.start()
            self._wanted.put((code, started))
        place.process = process = started.result()
        log.info("hook of model %s is started", code.model.id)
        try:
            process.load(deadline)
        except BaseException:
            self._end(place)
            raise
        if not process.is_isolated:
            log.warning(
                "the hook of model %s is not kept from the network", code.model.id
            )
        return process

    def _end(self, place: _Place) -> None:
        process, place.process = place.process, None
        if process is not None:
            process.end()

    # ---- In a thread of its own: a process ends with the thread that started it

    def _keep(self) -> None:
        while True:
            try:
                wanted = self._wanted.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._end_unwanted()
                continue
            if wanted is None:
                return
            code, started = wanted
            try:
                started.set_result(self._process(code))
            except BaseException as error:
                # Whatever it is, the thread that waits shall have it.
                started.set_exception(error)

    def _process(self, code: HookCode) -> HookProcess:
        model = code.model
        home = self._folder.get()
        return HookProcess(code.folder, model.file, model.id, self._limits, home)

    def _end_unwanted(self) -> None:
        with self._lock:
            places = dict(self._places)
        for deployment_id, place in places.items():
            if not place.turn.acquire(blocking=False):
                continue
            try:
                process = place.process
                idle = time.monotonic() - place.asked_at
                if process is not None and (
                    idle > self._idle_seconds
                    or not self._is_allowed(deployment_id, process.model_id)
                ):
                    self._end(place)
                    log.info("hook of model %s is ended", process.model_id)
            finally:
                place.turn.release()
