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

from app.config import Config
from tests.server.fronting import fronting
from tests.server.processes import Endpoint, Server, running
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


@pytest.fixture(scope="module")
def behind(
    request: pytest.FixtureRequest,
    models: ServedModels,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server on a unix socket, with the module's SETTINGS."""
    folder = tmp_path_factory.mktemp("behind")
    settings = {"bind": f"unix:{folder}/s", **request.module.SETTINGS}
    with running(models, folder / "home", **settings) as started:
        yield started


@pytest.fixture(scope="module")
def front_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where nginx writes."""
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def front(
    request: pytest.FixtureRequest,
    behind: Server,
    models: ServedModels,
    front_folder: Path,
) -> Iterator[Endpoint]:
    """nginx before that server; the module's BESIDE_THE_SITE says more of it."""
    config = Config(bind=f"unix:{behind.path}", **request.module.SETTINGS)
    more = getattr(request.module, "BESIDE_THE_SITE", "")
    with fronting(models, front_folder, config, more) as started:
        yield started
