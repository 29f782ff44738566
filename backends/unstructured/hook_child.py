"""The process of a hook: reads requests, calls the hook, writes its answers.

Only this module imports a hook, and only in a process that `hook_process` started.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from backends.unstructured import confinement, frames, media
from backends.unstructured.media import Content

_STATUS_OF_A_COPY: Final = 0


class NoAnswer(Exception):
    """The hook is not what it has to be, or answers what is no answer."""


def serve(request: str) -> None:
    """Be the process, until the server ends or closes the channel.

    request: JSON of folder, file, memory and file_bytes.
    """
    settings = json.loads(request)
    channel = _take_channel()
    is_isolated = confinement.isolate()
    confinement.confine(settings["memory"], settings["file_bytes"])
    hook: _Hook | None = None
    with channel:
        while (received := _receive(channel)) is not None:
            mark, head, body = received
            confinement.allow_time(head["seconds"])
            try:
                if hook is None:
                    hook = _Hook(Path(settings["folder"]), settings["file"])
                    answer, found = b"", {"kind": "ready", "isolated": is_isolated}
                else:
                    answer, found = hook.score(head, body)
            except BaseException as error:
                # SystemExit, KeyboardInterrupt and all: the server shall hear of it.
                if not isinstance(error, NoAnswer):
                    traceback.print_exc()
                answer, found = b"", {"kind": "failed", "text": _told(error)}
            _send(channel, frames.begin(mark, found, len(answer)), answer)


def _take_channel() -> socket.socket:
    """The socket that standard input is; what is printed goes to the log."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # What a hook printed before it was killed is worth most.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return channel


class _Hook:
    """The hook's module, imported, and the model that it loaded."""

    def __init__(self, folder: Path, file: str) -> None:
        self._process = os.getpid()
        module = _imported(folder, file)
        score = getattr(module, "score_unstructured", None)
        if not callable(score):
            raise NoAnswer(f"{file} has no function score_unstructured")
        self._score = score
        load = getattr(module, "load_model", None)
        self._model = load(str(folder)) if load is not None else None
        self._end_if_copy()

    def score(
        self, head: Mapping[str, Any], body: bytes
    ) -> tuple[bytes, dict[str, Any]]:
        """The answer to one request, and what it is."""
        sent = Content.of(body, head["declared"])
        result = self._score(
            self._model,
            _data(sent),
            {},
            mimetype=sent.kind,
            charset=sent.charset or "utf8",
            headers=dict(head["headers"]),
        )
        self._end_if_copy()
        return _answer(result)

    def _end_if_copy(self) -> None:
        """A fork that the hook did not end must not answer, too."""
        if os.getpid() != self._process:
            os._exit(_STATUS_OF_A_COPY)


def _imported(folder: Path, file: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    name = Path(file).stem
    spec = importlib.util.spec_from_file_location(name, folder / file)
    if spec is None or spec.loader is None:
        raise NoAnswer(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    # As an import would: what was pickled there names the module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _data(sent: Content) -> str | bytes:
    if not sent.is_text:
        return sent.data
    try:
        return sent.data.decode(sent.codec)
    except UnicodeDecodeError as error:
        raise NoAnswer(f"The body is no text in {sent.codec}: {error.reason}") from None


def _answer(result: Any) -> tuple[bytes, dict[str, Any]]:
    about: Any = {}
    if isinstance(result, tuple):
        if len(result) != 2 or not isinstance(result[1], Mapping | None):
            raise NoAnswer(
                "The model's hook answered a tuple that is not (bytes or str, dict)"
            )
        result, about = result[0], result[1] or {}
    charset = about.get("charset")
    kind = about.get("mimetype")
    if isinstance(result, str):
        kind, charset = kind or media.TEXT, charset or "utf-8"
        result = result.encode(media.codec(str(charset)))
    elif isinstance(result, bytes | bytearray | memoryview):
        kind, result = kind or media.BYTES, bytes(result)
    else:
        raise NoAnswer(
            f"The model's hook answered {type(result).__name__[:100]}, not bytes or str"
        )
    # Here and not in the server: its headers take no other texts.
    if not isinstance(kind, str) or not media.is_media_type(kind):
        raise NoAnswer("The model's hook answered a mimetype that is none")
    declared = kind if charset is None else f"{kind}; charset={charset}"
    return result, {"kind": "answer", "declared": declared}


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        # Whatever the hook's own exceptions do when they are to be shown.
        text = ""
    if not isinstance(error, NoAnswer):
        reason = f": {text}" if text else ""
        text = f"The model's hook raised {type(error).__name__}{reason}"
    return text[: frames.LONGEST_TEXT]


# ---- The channel


def _receive(channel: socket.socket) -> tuple[bytes, dict[str, Any], bytes] | None:
    """Mark, head and body; None at the end."""
    prefix = _read(channel, frames.PREFIX.size)
    if prefix is None:
        return None
    mark, sizes = frames.read_prefix(prefix, None)
    head, body = _read(channel, sizes.head), _read(channel, sizes.body)
    if head is None or body is None:
        return None
    return mark, frames.read_head(head), body


def _read(channel: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view, place = memoryview(data), 0
    while place < size:
        count = channel.recv_into(view[place:])
        if count == 0:
            return None
        place += count
    return bytes(data)


def _send(channel: socket.socket, *parts: bytes) -> None:
    for part in parts:
        channel.sendall(part)
