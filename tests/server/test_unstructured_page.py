"""docs/unstructured.md on a real server: its lines work as they are printed."""

from __future__ import annotations

import os
import re
import subprocess

from tests.server.processes import ROOT
from tests.server.served_models import BIN, environment

PAGE = (ROOT / "docs" / "unstructured.md").read_text(encoding="utf-8")
PRINTED = "127.0.0.1:8080"
MARK = "@@@"


def fences():
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)


def script(address):
    """All code of the page in its order; a mark behind what each block prints."""
    lines = []
    for language, text in fences():
        text = text.replace(PRINTED, address)
        if language == "sh":
            lines += [text, f"echo; echo {MARK}"]
        elif language == "python":
            lines += [f"python - <<'OF_THE_PAGE'\n{text}OF_THE_PAGE", f"echo {MARK}"]
    return "\n".join(lines)


def expected():
    """What each block of code prints at its end; None where the page does not say."""
    told = []
    for language, text in fences():
        if language == "json":
            told[-1] = text.strip()
        else:
            told.append(None)
    return told


def test_lines_of_the_page_work(start, tmp_path):
    server = start()
    done = subprocess.run(
        ["sh", "-ec", script(f"127.0.0.1:{server.port}")],
        cwd=tmp_path,
        env=environment(server.home) | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING: this server will run the code of" in done.stderr
    printed = done.stdout.split(MARK)
    assert len(expected()) == len(printed) - 1 == 4
    for wanted, found in zip(expected(), printed, strict=False):
        assert wanted is None or found.strip().endswith(wanted), found
