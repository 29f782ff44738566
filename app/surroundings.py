"""What of an installation lies elsewhere: the object store and the Dask cluster."""

from __future__ import annotations

import socket
from typing import Any, Final
from urllib.parse import urlsplit

from app.config import Config
from app.errors import AppError
from app.findings import Finding, Problem
from app.store.files import open_files
from app.store.records import Snapshot

_SECONDS: Final = 5.0


def shared_files(config: Config) -> Finding | None:
    """Whether the object store answers; None if there is none."""
    if not config.store_url:
        return None
    facts: dict[str, Any] = {"url": without_password(config.store_url)}
    problems = []
    try:
        facts["bundles"] = len(open_files(config.store_url).names("bundles"))
    except AppError as error:
        problems.append(Problem(str(error), "correct FORETELL_STORE_URL"))
    except Exception as error:
        # Each store's library has exceptions of its own.
        text = f"the object store cannot be read: {' '.join(str(error).split())}"
        remedy = "start it, and look at the address, keys and rights in the environment"
        problems.append(Problem(text, remedy))
    return Finding("object store", facts, problems)


def cluster(config: Config) -> Finding | None:
    """Whether the Dask scheduler can be reached; None if there is none."""
    if not config.dask_scheduler:
        return None
    facts = {"scheduler": config.dask_scheduler}
    problems = []
    try:
        parts = urlsplit(config.dask_scheduler)
        address = parts.hostname or "", parts.port or 8786
        with socket.create_connection(address, _SECONDS):
            pass
    except (OSError, ValueError) as error:
        text = f"the Dask scheduler {config.dask_scheduler} cannot be reached: {error}"
        remedy = "start it, or correct FORETELL_DASK_SCHEDULER: tcp://HOST:PORT"
        problems.append(Problem(text, remedy))
    return Finding("dask", facts, problems)


def hooks(snapshot: Snapshot) -> Finding | None:
    """Whose code is run for deployments, and how apart; None if nobody's is."""
    allowed = [
        each
        for each in snapshot.deployments.values()
        if each.model_id is not None and each.settings.python_hook == each.model_id
    ]
    if not allowed:
        return None
    # What it brings is imported where there are hooks.
    from backends.unstructured.confinement import can_isolate

    is_apart = can_isolate()
    # That it may run is its operator's will, and nothing to be put right.
    warning = "runs the Python code of its model as the user of the service"
    facts: dict[str, Any] = {
        each.id: f"{warning} ({each.label}, model {each.model_id})" for each in allowed
    }
    facts["kept_from_network"] = is_apart
    problems = []
    if not is_apart:
        problems.append(
            Problem(
                "the kernel does not let Python hooks be kept from the network",
                "allow user namespaces, or keep the service from the network",
            )
        )
    return Finding("python hooks", facts, problems)


def without_password(url: str) -> str:
    """The URL, with what may be a secret in it left out."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
