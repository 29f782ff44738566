"""Models, bundles, deployments and requests, made before anything is measured."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

import lightgbm as lgb
import numpy as np
import orjson
from numpy.typing import NDArray

from app.store.compiled import CompiledModels
from backends import compiled
from backends.bundle import read as read_bundle
from backends.trees import fingerprint
from benchmarks import Unmeasured, bodies, processes, specimens
from benchmarks.commands import ROOT, foretell, run
from benchmarks.http import post
from benchmarks.servers import Server, running
from benchmarks.specimens.base import IN_PROCESS, TARGET, Specimen

# So many different rows are sent in turn: a row that repeats hides half of a tree walk.
_ROWS = 2000
_CHECKED_ROWS = 20
_LOAD_SECONDS = 10.0
_SEED = 11
_STAMP = ".made-by"


class WrongAnswer(Unmeasured):
    """A server's predictions are not the model's: its speed is worth nothing."""


class WrongEngine(Unmeasured):
    """Something else than the tree engine serves: what it takes says nothing."""


def check_engine(what: str, engine: str, reason: str = "") -> None:
    """Raises WrongEngine for any but the tree engine."""
    if engine != compiled.TREES:
        raise WrongEngine(f"{what} is served by {engine}, not {compiled.TREES}{reason}")


@dataclass(frozen=True)
class Workspace:
    """Everything that the bars share.

    folder: build/bench; specimens: by name; token: of a user who may use the
    deployments; deployments: specimen name to deployment id.
    """

    folder: Path
    specimens: Mapping[str, Specimen]
    token: str
    deployments: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The state folder of the measured server."""
        return self.folder / "home"

    @property
    def kernels(self) -> Path:
        """The engine's compiled code, kept from run to run."""
        return self.folder / "kernels"

    @property
    def state(self) -> dict[str, str]:
        """Environment of a command on this state folder."""
        return {
            "FORETELL_HOME": str(self.home),
            "FORETELL_KERNELS": str(self.kernels),
        }

    @property
    def settings(self) -> dict[str, str]:
        """Environment of a server on this state folder."""
        return self.state | {"FORETELL_BIND": "{address}"}

    def names(self, bar: str) -> list[str]:
        """The specimens that take part in a bar."""
        return [name for name, each in self.specimens.items() if bar in each.bars]

    @property
    def engine(self) -> str:
        """What `foretell` has seen to: it serves no other way."""
        return f"{', '.join(self.deployments)} served by {compiled.TREES}"

    @cached_property
    def model_ids(self) -> Mapping[str, str]:
        """Specimen name to the id of its deployed model."""
        return {name: read_bundle(self.bundle(name)).id for name in self.deployments}

    def model(self, name: str) -> Path:
        """A specimen's LightGBM text."""
        return self.folder / "models" / name / "model.txt"

    def bundle(self, name: str, model: str = "model") -> Path:
        """A specimen's bundle; model: `model` or, one tree smaller, `next`."""
        return self.folder / "bundles" / name / model

    @cached_property
    def rows(self) -> Mapping[str, list[bytes]]:
        """Specimen name to one-row JSON bodies."""
        return {
            name: bodies.json_rows(self.specimens[name].frame(_ROWS, _SEED))
            for name in self.deployments
        }

    @cached_property
    def expected(self) -> Mapping[str, NDArray[np.float64]]:
        """Specimen name to what LightGBM itself predicts for `rows`, (n_rows,)."""
        return {
            name: _predict(self.model(name), self.specimens[name])
            for name in self.deployments
        }

    def headers(self, content_type: str = "application/json") -> dict[str, str]:
        """What a client sends along; the same to every server."""
        return {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": content_type,
            "Accept": "application/json",
        }

    def path(self, server: Server, specimen: str) -> str:
        """Where a server predicts with a specimen."""
        if server.name != "foretell":
            return f"/{specimen}"
        return f"/api/v2/deployments/{self.deployments[specimen]}/predictions"

    def requests(self, server: Server, specimen: str) -> list[bytes]:
        """One-row requests with changing rows."""
        path, headers = self.path(server, specimen), self.headers()
        return [post(path, row, headers) for row in self.rows[specimen]]

    @contextmanager
    def foretell(self, **settings: str) -> Iterator[Server]:
        """The server under test. settings: further environment variables."""
        settings = self.settings | settings
        with running("foretell", [], self.folder, **settings) as server:
            self._warm(server)
            for name, model_id in self.model_ids.items():
                self.check_workers(server, f"model {name}", model_id)
            yield server

    @contextmanager
    def bare(self) -> Iterator[Server]:
        """A bare Flask view under the same gunicorn settings."""
        command = ["-c", "benchmarks/same_settings.py", "benchmarks.bare:application"]
        settings = self.settings | {"BENCH_ANSWERS": str(self.folder / "answers")}
        with running("bare", command, self.folder, **settings) as server:
            for name in self.deployments:
                server.first(self.requests(server, name)[0])
            yield server

    @contextmanager
    def handwritten(self) -> Iterator[Server]:
        """Flask + pandas + Booster.predict + jsonify, also with two workers."""
        command = ["-c", "benchmarks/handwritten_settings.py", "-b", "{address}"]
        command.append("benchmarks.handwritten:application")
        models = str(self.folder / "models")
        with running(
            "handwritten", command, self.folder, BENCH_MODELS=models
        ) as server:
            self._warm(server)
            yield server

    def _warm(self, server: Server) -> None:
        for name in self.deployments:
            requests = self.requests(server, name)[:_CHECKED_ROWS]
            for row, request in enumerate(requests):
                # Several times, for a server's workers are not ready all at once.
                self.check(name, row, server.first(request).body)

    def check_verdict(self, what: str, model_id: str) -> None:
        """Raises WrongEngine unless the model's deployment chose the tree engine."""
        folder = CompiledModels(self.home, fingerprint()).path(model_id)
        verdict = compiled.examine(folder, "lightgbm")
        check_engine(what, verdict.engine, f": {verdict.detail}")

    def check_workers(self, server: Server, what: str, model_id: str) -> None:
        """Raises WrongEngine unless every worker has mapped the tables of a model."""
        tables = f"{CompiledModels(self.home, fingerprint()).path(model_id)}/"
        end = time.monotonic() + _LOAD_SECONDS
        # A server's workers are not ready all at once.
        while not all(_has_mapped(worker, tables) for worker in server.workers):
            if time.monotonic() > end:
                log = server.log.read_text()[-2000:]
                raise WrongEngine(f"{what} is not served by {compiled.TREES}: {log}")
            time.sleep(0.01)

    def check(self, specimen: str, row: int, body: bytes) -> None:
        """Hold an answer against LightGBM's own. Raises WrongAnswer."""
        found = orjson.loads(body)["data"][0]["predictionValues"][0]["value"]
        wanted = float(self.expected[specimen][row])
        # Answers are rounded to ten digits.
        if abs(found - wanted) > 1e-9:
            raise WrongAnswer(f"model {specimen}, row {row}: {found}, not {wanted}")


def _has_mapped(pid: int, folder: str) -> bool:
    return any(path.startswith(folder) for path in processes.mapped(pid))


def prepare(folder: Path, data: Path, bars: Collection[str]) -> Workspace:
    """Train and package, unless that is done already, and deploy afresh.

    data: folder of the real data. bars: only what these need is made.
    """
    wanted = {
        name: specimen
        for name, specimen in specimens.known(data).items()
        if specimen.bars.intersection(bars)
    }
    for specimen in wanted.values():
        made_by = [*Path(specimens.__file__).parent.glob("*.py"), *specimen.sources]
        _once(
            folder / "models" / specimen.name,
            _fingerprint(made_by),
            partial(_train, specimen.name, data),
        )
    if set(bars) <= {IN_PROCESS}:
        return Workspace(folder, wanted, "", {})
    deployed = [name for name, specimen in wanted.items() if specimen.is_deployed]
    for name in deployed:
        models = folder / "models" / name
        made_by = [*(ROOT / "app").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
        made_by.append(models / _STAMP)
        _once(
            folder / "bundles" / name, _fingerprint(made_by), partial(_package, models)
        )
    workspace = _deploy(folder, wanted, deployed)
    for name, model_id in workspace.model_ids.items():
        workspace.check_verdict(f"model {name}", model_id)
    _keep_answers(workspace)
    return workspace


def _train(name: str, data: Path, folder: Path) -> None:
    run([sys.executable, "-m", "benchmarks.specimens", name, str(folder), str(data)])


def _package(models: Path, folder: Path) -> None:
    for model in ("model", "next"):
        foretell(
            ["package", str(models / f"{model}.txt")]
            + ["--data", str(models / "data.parquet"), "--target", TARGET]
            + ["--name", f"{models.name} {model}", "--out", str(folder / model)]
        )


def _deploy(
    folder: Path, wanted: Mapping[str, Specimen], names: Sequence[str]
) -> Workspace:
    workspace = Workspace(folder, wanted, "", {})
    shutil.rmtree(workspace.home, ignore_errors=True)
    foretell(["user", "add", "bench", "--admin"], workspace.state)
    token = foretell(["token", "create", "bench"], workspace.state)
    deployments = {
        name: foretell(
            ["deploy", str(workspace.bundle(name)), "--label", f"model {name}"],
            workspace.state,
        )
        for name in names
    }
    return replace(workspace, token=token, deployments=deployments)


def _keep_answers(workspace: Workspace) -> None:
    # What the bare view will return: as long as the answers that it stands for.
    answers = workspace.folder / "answers"
    answers.mkdir(exist_ok=True)
    with workspace.foretell() as server:
        for name in workspace.deployments:
            request = workspace.requests(server, name)[0]
            body = server.first(request).body
            (answers / f"{name}.json").write_bytes(body)


def _predict(model: Path, specimen: Specimen) -> NDArray[np.float64]:
    booster = lgb.Booster(model_file=model)
    frame = specimen.frame(_ROWS, _SEED)
    return np.asarray(booster.predict(frame, num_threads=1))


def _fingerprint(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(version("lightgbm").encode())
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Fill the folder, unless it was filled by the same code."""
    packages = [ROOT / name for name in ("app", "backends", "benchmarks")]
    made_by = [path for package in packages for path in package.rglob("*.py")]
    return _once(folder, _fingerprint(made_by), make)


def _once(folder: Path, fingerprint: str, make: Callable[[Path], None]) -> Path:
    """Fill the folder, unless it was filled under the same fingerprint."""
    stamp = folder / _STAMP
    if not stamp.exists() or stamp.read_text() != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        stamp.write_text(fingerprint)
    return folder
