"""Commands that make ready what is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import Unmeasured

ROOT = Path(__file__).parent.parent


class CommandFailed(Unmeasured):
    """A command failed; the message shows what it printed."""


def run(command: list[str], settings: Mapping[str, str] | None = None) -> str:
    """What the command prints on its standard output. Raises CommandFailed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(settings or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def foretell(arguments: list[str], settings: Mapping[str, str] | None = None) -> str:
    """What `foretell …` prints. Raises CommandFailed."""
    command = Path(sys.executable).with_name("foretell")
    return run([str(command), *arguments], settings)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings of foretell and no others."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FORETELL_", "GUNICORN_", "OMP_"))
    }
    return plain | {"OMP_NUM_THREADS": "1"} | dict(settings)
