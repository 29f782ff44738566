"""The servers that are measured: started on loopback, stopped by their process id."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import Unmeasured, processes
from benchmarks.commands import ROOT, environment
from benchmarks.http import Address, Answer, BadAnswer, ask

_START_SECONDS = 60.0
_STOP_SECONDS = 45.0


class ServerFailed(Unmeasured):
    """A server did not start or ended on its own; the message shows its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A gunicorn master and where it listens.

    executed: when it was started, monotonic seconds.
    """

    name: str
    process: subprocess.Popen[bytes]
    address: Address
    log: Path
    executed: float

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return processes.children(self.process.pid)

    def cpu_seconds(self) -> float:
        """CPU time of all workers so far."""
        return sum(map(processes.cpu_seconds, self.workers))

    def pss(self) -> float:
        """Memory of master and workers, shared pages counted once, in MB."""
        return sum(map(processes.pss, [self.process.pid, *self.workers]))

    def check(self) -> None:
        """Raises ServerFailed if it has ended."""
        if self.process.poll() is not None:
            raise ServerFailed(f"{self.name} ended: {self.log.read_text()[-2000:]}")

    def first(self, request: bytes) -> Answer:
        """Ask again and again until the server answers 200. Raises ServerFailed."""
        end = time.monotonic() + _START_SECONDS
        found = "nothing"
        while time.monotonic() < end:
            self.check()
            try:
                answer = ask(self.address, request)
            except (OSError, BadAnswer) as error:
                found = repr(error)
            else:
                if answer.status == 200:
                    return answer
                found = repr(answer.body[:300])
            time.sleep(0.002)
        raise ServerFailed(f"{self.name}: {found}; {self.log.read_text()[-2000:]}")


@contextmanager
def running(
    name: str, command: list[str], folder: Path, **env: str
) -> Iterator[Server]:
    """A server under gunicorn for the time of the block.

    command: gunicorn's arguments; `{address}` in them and in `env` becomes the
    address to listen on.
    """
    address = _free_address()
    spelled = f"{address[0]}:{address[1]}"
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        executed = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                *(part.replace("{address}", spelled) for part in command),
            ],
            cwd=ROOT,
            env=environment(
                {key: each.replace("{address}", spelled) for key, each in env.items()}
            ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield Server(name, process, address, log, executed)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its workers notice that their master is gone and end by themselves.
        process.send_signal(signal.SIGKILL)
        process.wait()


def _free_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
    return host, port
