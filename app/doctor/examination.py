"""The examination: is this installation fit to serve?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.config import Config, InvalidConfig
from app.doctor.capacity import cores, memory
from app.doctor.database import database
from app.doctor.findings import Finding, Problem
from app.doctor.folder import folder
from app.doctor.libraries import library, versions
from app.doctor.models import bundles, engines, hooks
from app.doctor.settings import settings_in_force
from app.doctor.surroundings import cluster, shared_files
from backends import FORMATS


def examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at every part; nothing is made or changed.

    environ: where the settings come from.
    """
    try:
        config = Config.from_environment(environ)
    except InvalidConfig as error:
        remedy = "correct or unset these variables"
        problems = [Problem(text, remedy) for text in str(error).split("; ")]
        yield Finding("settings", {}, problems)
        yield versions()
        return
    yield settings_in_force(config, environ)
    yield versions()
    yield from map(library, FORMATS)
    yield cores(config, environ)
    yield folder(config)
    yield from filter(None, (shared_files(config), cluster(config)))
    found, snapshot = database(config)
    yield found
    if snapshot is not None:
        yield bundles(config, snapshot)
        yield engines(config, snapshot)
        yield from filter(None, (hooks(snapshot),))
        yield memory(config, snapshot)
