"""Hooks' processes end with the workers that started them, however those end."""

from __future__ import annotations

import signal

import pytest

from tests.liveness import is_alive
from tests.server.processes import wait_for
from tests.server.served_models import foretell
from tests.unstructured_models import HOOKS

WAY = {"Content-Type": "application/x-way"}


@pytest.fixture
def hooked(start, tmp_path):
    """A server of one worker, and a deployment of a hook that it may run."""
    server = start(workers=1)
    package = ("package", HOOKS / "many_ways.py", "--unstructured")
    foretell(server.home, *package, "--out", tmp_path / "bundle")
    deployment = foretell(server.home, "deploy", tmp_path / "bundle", "--label", "h")
    foretell(server.home, "update", deployment, "--allow-python-hook")
    path = f"/api/v2/deployments/{deployment}/predictionsUnstructured"
    headers = server.headers() | WAY

    def ask(way):
        return server.ask("POST", path, way.encode(), headers)

    wait_for(lambda: ask("count").status == 200)
    return server, ask


def hooks_of(server):
    (worker,) = server.workers()
    return worker, worker.children(recursive=True)


def are_gone(processes):
    return not any(map(is_alive, processes))


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_hooks_end_with_their_worker(hooked, kind):
    server, ask = hooked
    worker, hooks = hooks_of(server)
    assert hooks
    worker.send_signal(kind)
    wait_for(lambda: are_gone([worker, *hooks]))
    wait_for(lambda: server.workers() and ask("count").status == 200)


def test_hooks_end_with_the_server(hooked):
    server, _ = hooked
    worker, hooks = hooks_of(server)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: are_gone([worker, *hooks]))
    assert "Traceback" not in server.errors()


def test_replaced_hook_is_off(hooked, tmp_path):
    server, ask = hooked
    package = ("package", HOOKS / "many_ways.py", "--unstructured", "--name", "new")
    foretell(server.home, *package, "--out", tmp_path / "other")
    deployment = server.log()[-1]["deployment"]
    foretell(server.home, "replace-model", deployment, tmp_path / "other")
    wait_for(lambda: ask("count").status == 422)
    assert "--allow-python-hook" in ask("count").message
    foretell(server.home, "update", deployment, "--allow-python-hook")
    wait_for(lambda: ask("count").status == 200)
