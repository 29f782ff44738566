"""What `foretell doctor` looks at: is this installation fit to serve?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import machine, surroundings
from app.config import Config, InvalidConfig, environment_name, settings
from app.errors import AppError
from app.findings import Finding, Problem
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.database import Database
from app.store.errors import (
    InvalidDatabaseUrl,
    InvalidStoreUrl,
    SchemaTooNew,
    StoreUnavailable,
)
from app.store.files import open_files
from app.store.store import Store
from backends import FORMATS, bundle, compiled
from backends.model import Model
from backends.strict_json import SpecError
from backends.trees import fingerprint

if TYPE_CHECKING:
    from app.store.records import Snapshot

_PACKAGES = (
    "foretell",
    "gunicorn",
    "flask",
    "sqlalchemy",
    "numpy",
    "pillow",
    "pyarrow",
    "numba",
    "lightgbm",
    "onnxruntime",
)

# Less than this is used up by one bundle, or by one large upload on its way.
_LEAST_DISK = 2**30

# File systems of other machines: SQLite's WAL needs memory shared by its users.
_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3"}
)

# Measured: a worker with both libraries loaded, and what a body of 50 MB adds to it
# at most while it is answered (JSON with every column passed through).
_WORKER_BYTES = 130 * 2**20
_BYTES_PER_BYTE = 10

_CHILD_SECONDS = 60


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
        yield _versions()
        return
    yield _settings(config, environ)
    yield _versions()
    yield from map(_library, FORMATS)
    yield _cores(config, environ)
    yield _folder(config)
    elsewhere = (surroundings.shared_files(config), surroundings.cluster(config))
    yield from filter(None, elsewhere)
    database, snapshot = _database(config)
    yield database
    if snapshot is not None:
        yield _bundles(config, snapshot)
        yield _engines(config, snapshot)
        if (found := surroundings.hooks(snapshot)) is not None:
            yield found
        yield _memory(config, snapshot)


def _settings(config: Config, environ: Mapping[str, str]) -> Finding:
    facts = {}
    for setting in settings():
        name = environment_name(setting.name)
        facts[name] = {
            "value": _shown(setting.name, getattr(config, setting.name)),
            "unit": setting.metadata["unit"],
            "source": "environment" if name in environ else "default",
        }
    return Finding("settings", facts)


def _shown(name: str, value: Any) -> Any:
    if name == "database_url":
        return _url(value)
    if name == "datarobot_key" and value:
        return "***"
    if name == "store_url" and value:
        return surroundings.without_password(value)
    return str(value) if isinstance(value, Path) else value


def _url(text: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(text).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"


def _versions() -> Finding:
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    problems = []
    for name in _PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(
                Problem(f"{name} is not installed", "install foretell again")
            )
    return Finding("versions", facts, problems)


# In a process of its own: a library that is broken may crash the one that loads it.
_LOAD = {
    "lightgbm": """
from backends.base import ModelFileRejected
from backends.lightgbm import Booster
try:
    Booster(b"tree\\n")
except ModelFileRejected:
    pass
""",
    "onnx": """
import os
import backends.onnx
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1", "telemetry is on"
written = [os.path.join(*each) for each in os.walk(os.environ["HOME"]) if each[2]]
assert not written, f"telemetry is on: it wrote {written}"
""",
}


def _loading(format: str) -> str:
    return _LOAD.get(format, f"import backends; backends.backend_class({format!r})")


def _library(format: str) -> Finding:
    """Load the library that a format needs as a worker does."""
    with tempfile.TemporaryDirectory() as home:
        # An empty home: onnxruntime's telemetry would leave files there.
        environ = {**os.environ, "HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)}
        for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
            environ.pop(name, None)
        child = subprocess.run(
            [sys.executable, "-P", "-B", "-c", _loading(format)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=_CHILD_SECONDS,
        )
    said = child.stderr.strip().splitlines()
    facts: dict[str, Any] = {"loads": child.returncode == 0}
    if format == "onnx":
        facts["telemetry"] = "off" if child.returncode == 0 else "unknown"
    if child.returncode == 0:
        return Finding(format, facts)
    reason = said[-1] if said else f"it ended with {child.returncode}"
    problem = Problem(f"{format} models cannot be loaded: {reason}", _remedy(reason))
    return Finding(format, facts, [problem])


def _remedy(reason: str) -> str:
    if "libgomp" in reason:
        return "install libgomp: apt-get install libgomp1, or dnf install libgomp"
    return "install foretell again, with its pinned versions"


def _cores(config: Config, environ: Mapping[str, str]) -> Finding:
    found = machine.cores()
    facts = {
        "machine": found.machine,
        "affinity": found.affinity,
        "quota": found.quota,
        "usable": found.usable,
        "workers": config.workers,
        "scoring_threads": config.scoring_threads,
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS"),
    }
    problems = []
    for name in ("workers", "scoring_threads"):
        if getattr(config, name) > found.usable:
            variable = environment_name(name)
            problems.append(
                Problem(
                    f"{variable} is {getattr(config, name)}, and {found.usable} cores "
                    "can be used: they would wait for one another",
                    f"set {variable}={found.usable}",
                )
            )
    if environ.get("OMP_NUM_THREADS", "1") != "1":
        text = "OMP_NUM_THREADS is not 1: small requests take many times longer"
        problems.append(Problem(text, "unset OMP_NUM_THREADS, or set it to 1"))
    return Finding("cores", facts, problems)


def _folder(config: Config) -> Finding:
    home = config.home
    facts: dict[str, Any] = {"path": str(home), "exists": home.exists()}
    # A new installation has no folder yet: where it will be made is what counts.
    place = next(each for each in (home, *home.parents) if each.exists())
    status = place.stat()
    free = shutil.disk_usage(place).free
    facts |= {
        "mode": stat.filemode(status.st_mode),
        "free_bytes": free,
        "file_system": _file_system(place),
    }
    problems = []
    if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        text = f"{place} is no folder that this user may read and write"
        problems.append(Problem(text, "run as its owner, or set FORETELL_HOME"))
    if home.exists() and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"others than the owner may write to {home}"
        problems.append(Problem(text, f"chmod go-w {home}"))
    if free < _LEAST_DISK:
        text = f"only {free / 2**20:.0f} MiB of disk are free at {place}"
        problems.append(Problem(text, "make room: 1 GiB and more is wanted"))
    if facts["file_system"] in _REMOTE and config.database_url.startswith("sqlite"):
        text = f"{home} is on {facts['file_system']}, where SQLite may lose changes"
        remedy = "set FORETELL_HOME to a local disk, or use PostgreSQL"
        problems.append(Problem(text, remedy))
    if place_of_socket := _missing_socket_folder(config.bind):
        text = f"the folder of FORETELL_BIND, {place_of_socket}, is not there"
        problems.append(Problem(text, f"mkdir -p {place_of_socket}"))
    return Finding("folder", facts, problems)


def _file_system(place: Path) -> str | None:
    """The type of the file system that a folder is on, as the kernel names it."""
    found = None
    longest = 0
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        # Later mounts lie over earlier ones.
        if place.is_relative_to(point) and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def _missing_socket_folder(bind: str) -> Path | None:
    if not bind.startswith("unix:"):
        return None
    folder = Path(bind.removeprefix("unix:")).absolute().parent
    return None if folder.is_dir() else folder


def _database(config: Config) -> tuple[Finding, Snapshot | None]:
    facts: dict[str, Any] = {"url": _url(config.database_url)}
    finding = Finding("database", facts)
    try:
        file = Database(config.database_url).file
        facts["exists"] = file is None or file.exists()
        if not facts["exists"]:
            return finding, None
        if file is not None:
            finding.problems.extend(_sqlite(file, facts))
        snapshot = _read(config, facts)
        if snapshot is not None:
            return finding, snapshot
        problem = Problem("the database has an older schema", "foretell migrate")
    except SchemaTooNew as error:
        problem = Problem(str(error), "install the release that made the database")
    except InvalidDatabaseUrl as error:
        problem = Problem(str(error), "correct FORETELL_DATABASE_URL")
    except StoreUnavailable as error:
        problem = Problem(str(error), "start the database, and look at its rights")
    except sqlite3.DatabaseError as error:
        problem = Problem(f"the database is damaged: {error}", "restore a backup")
    finding.problems.append(problem)
    return finding, None


def _read(config: Config, facts: dict[str, Any]) -> Snapshot | None:
    """What the store keeps; None if its schema is not current."""
    store = Store(config.database_url, config.home)
    try:
        facts["schema_is_current"] = store.schema_is_current()
        if not facts["schema_is_current"]:
            return None
        snapshot = store.snapshot()
    finally:
        store.dispose()
    facts["users"] = len(snapshot.users)
    facts["live_tokens"] = len(snapshot.tokens)
    facts["deployments"] = len(snapshot.deployments)
    facts["generation"] = snapshot.generation
    return snapshot


def _sqlite(file: Path, facts: dict[str, Any]) -> Iterator[Problem]:
    """Raises sqlite3.DatabaseError if the file is no database."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        (facts["journal_mode"],) = connection.execute("PRAGMA journal_mode").fetchone()
        (check,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if facts["journal_mode"] != "wal":
        yield Problem(
            "the database is not in WAL mode: readers wait for writers",
            "foretell migrate",
        )
    if check != "ok":
        yield Problem(f"the database is damaged: {check}", "restore a backup")


def _bundles(config: Config, snapshot: Snapshot) -> Finding:
    kept = Bundles(config.home)
    problems = []
    for deployment in snapshot.deployments.values():
        if deployment.model_id is None or _is_elsewhere(deployment.model_id, config):
            continue
        try:
            _check_spec(bundle.read(kept.path(deployment.model_id)))
        except (AppError, bundle.BundleRejected, SpecError, OSError) as error:
            folder = config.home / "bundles" / deployment.model_id
            problems.append(
                Problem(
                    f"the bundle of {deployment.id} ({deployment.label}) cannot be "
                    f"used: {error}",
                    f"remove {folder} if it is there, then "
                    f"foretell replace-model {deployment.id} BUNDLE",
                )
            )
    checked = len(_models(snapshot))
    return Finding("bundles", {"models": checked}, problems)


def _is_elsewhere(model_id: str, config: Config) -> bool:
    """Whether a bundle is not here, and is fetched when it is asked for."""
    if not config.store_url or Bundles(config.home).has(model_id):
        return False
    try:
        return open_files(config.store_url).exists(f"bundles/{model_id}.tar")
    except (OSError, InvalidStoreUrl):
        # Which is told of the store itself.
        return True


def _check_spec(model: Model) -> None:
    """Raises SpecError where the card's spec is none that this release reads."""
    # What they bring is imported where there are such models.
    if model.io is not None:
        from backends.tensors.io_json import spec_of

        spec_of(model)
    if model.time_series is not None:
        from backends.timeseries.spec_json import load_spec

        load_spec(model.time_series)


def _engines(config: Config, snapshot: Snapshot) -> Finding:
    """What serves the deployed models, and the code that it takes."""
    folder = config.kernels
    facts: dict[str, Any] = {"kernels": str(folder)}
    problems = []
    if folder.exists():
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            text = f"compiled kernels cannot be kept in {folder}: starts are slow"
            problems.append(Problem(text, "give its owner all rights on it"))
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            text = f"others than the owner may write to {folder}: servers run its code"
            problems.append(Problem(text, f"remove {folder}; it is made again"))
    kept = CompiledModels(config.home, fingerprint())
    for model_id in sorted(_models(snapshot)):
        format = snapshot.models[model_id].format
        verdict = compiled.examine(kept.path(model_id), format)
        facts[verdict.engine] = facts.get(verdict.engine, 0) + 1
        if verdict.reason in ("damaged", "failed"):
            text = f"model {model_id} is served by {verdict.engine}: {verdict.detail}"
            remedy = f"remove {kept.path(model_id)}, then start the server again"
            problems.append(Problem(text, remedy))
    return Finding("engines", facts, problems)


def _models(snapshot: Snapshot) -> set[str]:
    deployments = snapshot.deployments.values()
    return {each.model_id for each in deployments if each.model_id is not None}


def _memory(config: Config, snapshot: Snapshot) -> Finding:
    """Estimate what all workers take at their worst."""
    found = machine.memory()
    stored = sum(snapshot.models[each].nbytes for each in _models(snapshot))
    large = config.bulk_slots * config.max_body * _BYTES_PER_BYTE
    worker = _WORKER_BYTES + min(stored, config.model_cache) + large
    facts = {
        "machine_bytes": found.machine,
        "limit_bytes": found.limit,
        "worker_bytes": worker,
        "all_workers_bytes": worker * config.workers,
    }
    problems = []
    if worker * config.workers > found.usable:
        text = (
            f"{config.workers} workers may take {worker * config.workers / 2**30:.1f} "
            f"GiB, and there are {found.usable / 2**30:.1f} GiB"
        )
        remedy = "lower FORETELL_WORKERS, FORETELL_BULK_SLOTS or FORETELL_MAX_BODY"
        problems.append(Problem(text, remedy))
    return Finding("memory", facts, problems)
