import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
RunJson = Callable[..., Any]

ROOT = Path(__file__).parents[3]


def test_migrate_makes_the_database(run: Run, home: Path) -> None:
    assert run("migrate").stdout.startswith("The database has schema ")
    assert (home / "foretell.db").is_file()


@pytest.mark.usefixtures("no_formats")
def test_doctor_counts_problems(run: Run) -> None:
    result = run("doctor", code=1, env={"FORETELL_BIND": "unix:/nonexistent/socket"})
    assert "mkdir -p /nonexistent" in result.stdout
    assert result.stderr == "Error: 1 problem found\n"
    result = run("doctor", "--json")
    assert json.loads(result.stdout)["problems"] == []


def test_server_starts_in_any_folder_and_stops(home: Path, tmp_path: Path) -> None:
    # Modules of somebody else in the folder that the server is started in.
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong app')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {
        "PATH": os.environ["PATH"],
        "FORETELL_HOME": "home",
        "FORETELL_BIND": address,
        "FORETELL_WORKERS": "1",
        "FORETELL_KERNELS": os.environ["FORETELL_KERNELS"],
    }
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from app.cli import main"
    arguments = [sys.executable, "-P", "-c", f"{script}; main()", "serve"]
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert ping(f"http://{address}/ping", server) == b'{"response":"pong"}'
            assert (home / "foretell.db").is_file()
        finally:
            server.send_signal(signal.SIGTERM)
            _, said = server.communicate(timeout=300)
    assert server.returncode == 0, said


def ping(url: str, server: subprocess.Popen[str]) -> bytes:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=120) as answer:
                return bytes(answer.read()).strip()
        except OSError:
            assert server.poll() is None
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def test_serving_with_wrong_settings_is_refused(run: Run) -> None:
    env = {"FORETELL_WORKERS": "many"}
    assert "FORETELL_WORKERS" in run("serve", code=1, env=env).stderr
