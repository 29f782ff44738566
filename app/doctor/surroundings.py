"""What of an installation lies elsewhere: the object store and the Dask cluster."""

from __future__ import annotations

import socket
from typing import Any, Final
from urllib.parse import urlsplit

from app.config import Config
from app.doctor.findings import Finding, Problem
from app.errors import AppError
from app.store.files import open_files

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


def without_password(url: str) -> str:
    """The URL, with what may be a secret in it left out."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
