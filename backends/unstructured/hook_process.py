"""The server's side of a hook's process: started, asked, watched, ended.

The server never imports a hook. A process answers one request at a time; one that
crashes, is too slow, or says what is no answer, is ended and answers no more.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from backends.unstructured import frames, media
from backends.unstructured.media import Content
from backends.unstructured.refusals import AnswerTooLarge, HookFailed, HookTooSlow

log = logging.getLogger(__name__)

# Isolated mode does not know where the project lies.
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from backends.unstructured.hook_child import serve; serve(sys.argv[2])"
)
_ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
_STEP: Final = 2**20
# Lines that a request may print into the log, and characters of each.
_MOST_LINES: Final = 200
_LONGEST_LINE: Final = 1000


class _Gone(Exception):
    """The process ended, or closed the channel."""


@dataclass(frozen=True, slots=True)
class HookLimits:
    """What a hook may take.

    seconds: of a request. load_seconds: of its start. memory: bytes beyond Python's
    own. answer: bytes, and as many of a file that it writes.
    """

    seconds: float
    load_seconds: float
    memory: int
    answer: int


class HookProcess:
    """A process with a hook's module. To be used by one thread at a time.

    model_id: the bundle that the hook is of.
    is_isolated: whether it is without network; known once it is loaded.
    """

    def __init__(
        self, folder: Path, file: str, model_id: str, limits: HookLimits, homes: Path
    ) -> None:
        """Start it, from a thread that lives as long as the process shall.

        folder: of the bundle, which has the module and what it reads.
        homes: where the process gets a folder of its own.
        """
        self.model_id = model_id
        self.is_isolated = False
        self._limits = limits
        self._lines_left = _MOST_LINES
        self._home = tempfile.mkdtemp(prefix=f"{model_id}-", dir=homes)
        self._channel, theirs = socket.socketpair()
        request = {
            "folder": str(folder.resolve()),
            "file": file,
            "memory": limits.memory,
            "file_bytes": limits.answer,
        }
        with theirs:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-B", "-c", _PROGRAM),
                    *(_root(), json.dumps(request)),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                env={**_ENVIRONMENT, "HOME": self._home, "TMPDIR": self._home},
                start_new_session=True,
            )
        self._ended = os.pidfd_open(self._child.pid)
        self._channel.setblocking(False)
        threading.Thread(
            target=self._log, args=(self._child.stdout,), daemon=True
        ).start()

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._ended >= 0 and self._child.poll() is None

    def load(self, deadline: float) -> None:
        """Have the module imported and its model loaded.

        deadline: monotonic seconds. Raises HookFailed and HookTooSlow.
        """
        head, _ = self._ask({}, b"", self._limits.load_seconds, deadline)
        self.is_isolated = head.get("isolated") is True

    def score(
        self, sent: Content, headers: Mapping[str, str], deadline: float
    ) -> Content:
        """What the hook answers. Raises HookFailed, HookTooSlow, AnswerTooLarge."""
        asked = {"declared": sent.declared, "headers": _short(headers)}
        head, data = self._ask(asked, sent.data, self._limits.seconds, deadline)
        return _content(data, head)

    def end(self) -> None:
        """End it and all that it started, and remove its folder."""
        if self._ended < 0:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        os.close(self._ended)
        self._ended = -1
        self._channel.close()
        shutil.rmtree(self._home, ignore_errors=True)

    # ---- One exchange

    def _ask(
        self, head: dict[str, Any], body: bytes, seconds: float, deadline: float
    ) -> tuple[dict[str, Any], bytes]:
        self._lines_left = _MOST_LINES
        mark = secrets.token_bytes(frames.MARK)
        deadline = min(deadline, time.monotonic() + seconds)
        is_whole = False
        try:
            begun = frames.begin(mark, {**head, "seconds": seconds}, len(body))
            self._send(begun, deadline)
            self._send(body, deadline)
            found, answer = self._receive(mark, deadline)
            # What comes behind an answer is no answer to the next request.
            is_whole = not self._poll(select.POLLIN, 0.0)[0]
        except TimeoutError:
            raise HookTooSlow(
                f"The model's hook took longer than the {seconds:g} seconds that it may"
            ) from None
        except (_Gone, OSError):
            raise self._crashed(seconds) from None
        except frames.NoMessage:
            raise HookFailed(
                "The model's hook wrote where its answer belongs"
            ) from None
        finally:
            if not is_whole:
                self.end()
        if found.get("kind") == "failed":
            raise HookFailed(str(found.get("text"))[: frames.LONGEST_TEXT])
        return found, answer

    def _crashed(self, seconds: float) -> Exception:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=1.0)
        status = self._child.poll()
        if status is None:
            return HookFailed("The model's hook closed the channel of its answers")
        # Its keeper tells of signals as shells do.
        number = -status if status < 0 else status - 128
        if number == signal.SIGXCPU:
            return HookTooSlow(
                f"The model's hook took more of the processor than {seconds:g} seconds"
                " allow"
            )
        how = f"status {status}"
        if number > 0:
            with suppress(ValueError):
                how = signal.Signals(number).name
        return HookFailed(f"The model's hook ended its process ({how})")

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(select.POLLOUT, deadline)
            with suppress(BlockingIOError):
                view = view[self._channel.send(view[:_STEP]) :]

    def _receive(self, mark: bytes, deadline: float) -> tuple[dict[str, Any], bytes]:
        prefix = self._read(frames.PREFIX.size, deadline)
        _, sizes = frames.read_prefix(bytes(prefix), mark)
        head = frames.read_head(bytes(self._read(sizes.head, deadline)))
        if sizes.body > self._limits.answer:
            raise AnswerTooLarge(self._limits.answer)
        return head, bytes(self._read(sizes.body, deadline))

    def _read(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        view, place = memoryview(data), 0
        while place < size:
            self._wait(select.POLLIN, deadline)
            with suppress(BlockingIOError):
                count = self._channel.recv_into(view[place:])
                if count == 0:
                    raise _Gone
                place += count
        return data

    def _wait(self, event: int, deadline: float) -> None:
        """Until the channel is ready. Raises TimeoutError and _Gone."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        is_ready, is_over = self._poll(event, left)
        # What it said before its end still counts.
        if is_over and not (is_ready and event == select.POLLIN):
            raise _Gone
        if not is_ready:
            raise TimeoutError

    def _poll(self, event: int, seconds: float) -> tuple[bool, bool]:
        """Whether the channel is ready, and whether the process is over."""
        waiting = select.poll()
        waiting.register(self._channel, event)
        waiting.register(self._ended, select.POLLIN)
        found = dict(waiting.poll(seconds * 1000))
        return self._channel.fileno() in found, self._ended in found

    # ---- What it prints

    def _log(self, printed: IO[bytes]) -> None:
        with printed:
            while line := printed.readline(_LONGEST_LINE):
                self._lines_left -= 1
                if self._lines_left >= 0:
                    text = line.decode(errors="replace").rstrip()
                    shown = "".join(c if c.isprintable() else "?" for c in text)
                    log.info("hook of model %s: %s", self.model_id, shown)
                elif self._lines_left == -1:
                    log.info("hook of model %s: it prints more", self.model_id)


def _content(data: bytes, head: Mapping[str, Any]) -> Content:
    declared = str(head.get("declared"))
    found = Content.of(data, declared)
    if not declared.isascii() or not declared.isprintable():
        return Content(data, media.BYTES)
    return found


def _short(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that fit into a message's head."""
    kept, left = {}, frames.LONGEST_HEAD - 4096
    for name, value in headers.items():
        # JSON escapes a character into six at most.
        size = 6 * (len(name) + len(value)) + 8
        if size < left:
            kept[name], left = value, left - size
    return kept


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])
