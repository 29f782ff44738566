"""The load generator: many connections over one epoll loop, in one process."""

from __future__ import annotations

import multiprocessing
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection as Pipe

from benchmarks import Unmeasured
from benchmarks.http import Address, Answer, BadAnswer, Connection

# No server is given longer than this for a small request.
_PATIENCE = 30.0

Until = Callable[[int], bool]


class LoadStalled(Unmeasured):
    """The server stopped answering."""


class RequestsFailed(Unmeasured):
    """Some answers were not 200: the rate of the others says nothing."""


@dataclass(slots=True)
class Load:
    """What one run saw.

    Each answer with status 200 has an entry in `started`, `ended` (monotonic seconds)
    and `watched` (the watched header's value). Anything else is an error.
    uncounted: right answers while the load settled.
    cpu: share of one core that the generator itself used, 0–1.
    """

    started: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    watched: list[bytes] = field(default_factory=list)
    errors: int = 0
    uncounted: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.ended) / self.seconds

    @property
    def latencies(self) -> list[float]:
        """From the request's time to its answer's, in seconds."""
        return [
            end - start for start, end in zip(self.started, self.ended, strict=True)
        ]

    def forget(self) -> None:
        """Count anew, but for errors."""
        self.uncounted = len(self.ended)
        for seen in (self.started, self.ended, self.watched):
            seen.clear()

    def count(self, answer: Answer, started: float, watch: bytes) -> None:
        """Note an answer."""
        if answer.status != 200:
            self.errors += 1
            return
        self.started.append(started)
        self.ended.append(time.monotonic())
        self.watched.append(answer.header(watch) if watch else b"")


def whole(load: Load) -> Load:
    """The load, if every request was answered 200. Raises RequestsFailed."""
    if load.errors or not load.ended:
        raise RequestsFailed(f"{load.errors} failed, {len(load.ended)} answered")
    return load


def for_requests(count: int) -> Until:
    """End once so many requests are answered."""
    return lambda answered: answered >= count


def for_seconds(seconds: float) -> Until:
    """End after a time, which begins with the first question."""
    end: list[float] = []

    def is_over(answered: int) -> bool:
        if not end:
            end.append(time.monotonic() + seconds)
        return time.monotonic() >= end[0]

    return is_over


def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    concurrency: int,
    until: Until,
    settle: float = 0.0,
    watch: bytes = b"",
) -> Load:
    """Keep one request in flight on each of `concurrency` connections.

    requests: sent in turn, so that rows change from request to request.
    settle: seconds at first whose answers do not count, for the queues to fill.
    watch: header whose value each answer is noted with, in lower case.
    What is in flight at the end is awaited, so that it disturbs no later run, but not
    counted. Raises LoadStalled, and OSError if the server is not there.
    """
    load, following = Load(), cycle(requests)
    poll = select.epoll()
    open_: dict[int, tuple[Connection, float]] = {}

    def begin(connection: Connection) -> None:
        open_[connection.fileno()] = (connection, time.monotonic())
        connection.send(next(following))

    def connect() -> Connection:
        connection = Connection(address)
        poll.register(connection.fileno(), select.EPOLLIN)
        return connection

    fresh = [connect() for _ in range(concurrency)]
    started, cpu = time.monotonic(), time.process_time()
    for connection in fresh:
        begin(connection)
    while not until(len(load.ended) + load.errors):
        if settle and time.monotonic() > started + settle:
            load.forget()
            started, cpu, settle = time.monotonic(), time.process_time(), 0.0
        for descriptor in _ready(poll):
            connection, since = open_[descriptor]
            answer = _receive(connection, load)
            if answer is not None:
                load.count(answer, since, watch)
            elif connection.fileno() >= 0:
                continue
            if answer is None or answer.closes:
                connection.close()
                del open_[descriptor]
                connection = connect()
            begin(connection)
    load.seconds = time.monotonic() - started
    load.cpu = (time.process_time() - cpu) / load.seconds
    _drain(poll, [connection for connection, _ in open_.values()])
    return load


def paced(
    address: Address,
    requests: Sequence[bytes],
    *,
    connections: int,
    rate: float,
    until: Until,
) -> Load:
    """Send `rate` requests a second, each on time, over idle connections in turn.

    A request counts from when it was due: one that has to wait for a free connection
    is as late as its client sees it.
    """
    load, following = Load(), cycle(requests)
    poll = select.epoll()
    idle = deque(Connection(address) for _ in range(connections))
    for connection in idle:
        poll.register(connection.fileno(), select.EPOLLIN)
    busy: dict[int, tuple[Connection, float]] = {}
    started, cpu = time.monotonic(), time.process_time()
    due = started
    while not until(len(load.ended) + load.errors):
        while idle and due <= time.monotonic():
            connection = idle.popleft()
            busy[connection.fileno()] = (connection, due)
            connection.send(next(following))
            due += 1.0 / rate
        wait = max(0.0, due - time.monotonic()) if idle else 0.1
        for descriptor, _ in poll.poll(wait):
            if descriptor not in busy:
                raise LoadStalled("the server closed an idle connection")
            connection, since = busy[descriptor]
            answer = _receive(connection, load)
            if answer is not None:
                load.count(answer, since, b"")
            elif connection.fileno() >= 0:
                continue
            del busy[descriptor]
            if answer is None or answer.closes:
                connection.close()
                connection = Connection(address)
                poll.register(connection.fileno(), select.EPOLLIN)
            idle.append(connection)
    load.seconds = time.monotonic() - started
    load.cpu = (time.process_time() - cpu) / load.seconds
    _drain(poll, [connection for connection, _ in busy.values()])
    for connection in idle:
        connection.close()
    return load


def _receive(connection: Connection, load: Load) -> Answer | None:
    """What came; a connection that broke counts as an error and is closed."""
    try:
        return connection.receive()
    except (BadAnswer, ConnectionError):
        load.errors += 1
        connection.close()
        return None


def _ready(poll: select.epoll) -> Iterator[int]:
    events = poll.poll(_PATIENCE)
    if not events:
        raise LoadStalled(f"no answer within {_PATIENCE:g} s")
    return (descriptor for descriptor, _ in events)


def _drain(poll: select.epoll, busy: list[Connection]) -> None:
    waiting = {connection.fileno(): connection for connection in busy}
    while waiting:
        for descriptor in _ready(poll):
            connection = waiting.get(descriptor)
            if connection is None or _receive(connection, Load()) is None:
                if connection is None or connection.fileno() >= 0:
                    continue
            else:
                connection.close()
            del waiting[descriptor]
    poll.close()


class Background:
    """A load that another process makes while this one does something else."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._load: Load | None = None

    def stop(self) -> Load:
        """End it and get what it saw."""
        if self._load is None:
            seen = _from(self._pipe, lambda: self._pipe.send(None))
            if not isinstance(seen, Load):
                raise LoadStalled(str(seen))
            self._load = seen
        return self._load


@contextmanager
def in_background(run: partial[Load]) -> Iterator[Background]:
    """Run `closed_loop` or `paced` (all arguments but `until`) until stopped."""
    # A forked child would share this process's threads' locks.
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=_work, args=(run, far), daemon=True)
    process.start()
    # The child has its own end; with this one open its death would go unnoticed.
    far.close()
    try:
        _from(near)
        background = Background(near)
        yield background
        background.stop()
    finally:
        process.terminate()
        process.join()


def _from(pipe: Pipe, ask: Callable[[], None] = lambda: None) -> object:
    """What the other process says. Raises LoadStalled if it has ended."""
    try:
        ask()
        return pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise LoadStalled("the load generator ended on its own") from error


def _work(run: partial[Load], pipe: Pipe) -> None:
    pipe.send("ready")
    try:
        pipe.send(run(until=lambda answered: pipe.poll()))
    except (LoadStalled, OSError) as error:
        pipe.send(repr(error))
