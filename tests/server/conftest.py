"""Real servers: models packaged, deployed and served by gunicorn.

The models are made once a run; every server has a copy of them in a state folder of
its own, listens on a port of its own, and is ended by its pid.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.server.processes import Server, running
from tests.server.served_models import ServedModels, make_once


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> ServedModels:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return make_once(folder)


@pytest.fixture
def start(models: ServedModels, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with other settings, each on a state folder of its own."""
    with ExitStack() as started:

        def begin(name: str = "home", **options: Any) -> Server:
            return started.enter_context(running(models, tmp_path / name, **options))

        yield begin


@pytest.fixture(scope="session")
def server(
    models: ServedModels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The default server; tests leave it as they found it."""
    home = tmp_path_factory.mktemp("server") / "home"
    with running(models, home) as started:
        yield started
