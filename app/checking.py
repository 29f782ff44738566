"""Checks a bundle that a client has sent, and keeps it, in a process of its own.

What that takes of libraries and memory stays out of the workers, and ends with it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from app.config import Config
from app.errors import AppError

# Requests that are being answered go before.
_NICENESS: Final = 10
_WAIT_SECONDS: Final = 5.0
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from app.checking import main; sys.exit(main())"
)
_FAULT: Final = "The server met an internal error while it checked the bundle"


class CheckRefused(AppError):
    """A bundle was not kept; the message says why."""


def check(
    config: Config, tar: Path, user: str, while_waiting: Callable[[], None]
) -> str:
    """Have a bundle checked and kept, and return its model's id.

    tar: alone in a folder, in which it is unpacked. user: name of the one who sent it.
    while_waiting: called every few seconds.
    Raises CheckRefused.
    """
    task = {"config": _plain(config), "tar": str(tar), "user": user}
    # Its input stays open: where it ends, this process has.
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            return _answer(child, task, while_waiting)
        except BaseException:
            child.kill()
            raise


def _answer(
    child: subprocess.Popen[str],
    task: dict[str, Any],
    while_waiting: Callable[[], None],
) -> str:
    assert child.stdin is not None and child.stdout is not None
    try:
        print(json.dumps(task), file=child.stdin, flush=True)
    except BrokenPipeError:
        raise CheckRefused(_FAULT) from None
    while True:
        try:
            # It says one line, which the pipe holds until then.
            child.wait(_WAIT_SECONDS)
            break
        except subprocess.TimeoutExpired:
            while_waiting()
    try:
        answer = json.loads(child.stdout.read())
    except ValueError:
        raise CheckRefused(_FAULT) from None
    if "refused" in answer:
        raise CheckRefused(answer["refused"])
    return str(answer["model_id"])


def main() -> int:
    """What the child does: a task on standard input, an answer on standard output."""
    os.nice(_NICENESS)
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    # Libraries print what they like; the answer goes out alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(_checked(task)), file=answers, flush=True)
    return 0


def _end_with(stream: TextIO) -> None:
    stream.read()
    os._exit(1)


def _checked(task: dict[str, Any]) -> dict[str, str]:
    from app.keeping import checked, keep
    from app.services import Services
    from app.store.records import Actor
    from backends.base import ModelFileRejected
    from backends.bundle import BundleRejected

    tar = Path(task["tar"])
    services = Services(_config(task["config"]))
    services.store = services.store.acting(Actor(task["user"], "api"))
    try:
        with checked(tar, services.config, tar.parent) as (folder, model):
            tar.unlink()
            keep(services, folder, model, task["user"])
    except (AppError, BundleRejected, ModelFileRejected) as error:
        return {"refused": str(error).replace(f"{tar.parent}/", "")}
    except OSError as error:
        traceback.print_exc()
        return {"refused": f"The bundle cannot be kept: {error.strerror or 'no room'}"}
    finally:
        services.close()
    return {"model_id": model.id}


def _plain(config: Config) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(config).items()
    }


def _config(values: dict[str, Any]) -> Config:
    paths = {name: Path(values[name]) for name in ("home", "kernels")}
    return Config(**{**values, **paths})
