"""Models, bundles, deployments and requests, made before anything is measured."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import lightgbm as lgb
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks import Unmeasured, specimens
from benchmarks.commands import ROOT, foretell, run
from benchmarks.http import post
from benchmarks.servers import Server, running
from benchmarks.specimens import SPECIMENS, TARGET, Specimen

# So many different rows are sent in turn: a row that repeats hides half of a tree walk.
_ROWS = 2000
_CHECKED_ROWS = 20
_SEED = 11


class WrongAnswer(Unmeasured):
    """A server's predictions are not the model's: its speed is worth nothing."""


@dataclass(frozen=True)
class Workspace:
    """Everything that the bars share.

    folder: build/bench; token: of a user who may use the deployments; deployments:
    specimen name to deployment id.
    """

    folder: Path
    token: str
    deployments: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The state folder of the measured server."""
        return self.folder / "home"

    @property
    def settings(self) -> dict[str, str]:
        """Environment of a server on this state folder."""
        return {"FORETELL_HOME": str(self.home), "FORETELL_BIND": "{address}"}

    def bundle(self, name: str) -> Path:
        """The bundle of specimen `a`, `b` or, one tree smaller, `a-next`, `b-next`."""
        return self.folder / "bundles" / name

    @cached_property
    def rows(self) -> Mapping[str, list[bytes]]:
        """Specimen name to one-row JSON bodies."""
        return {
            name: specimens.json_rows(specimen.frame(_ROWS, _SEED))
            for name, specimen in SPECIMENS.items()
        }

    @cached_property
    def expected(self) -> Mapping[str, NDArray[np.float64]]:
        """Specimen name to what LightGBM itself predicts for `rows`, (n_rows,)."""
        return {
            name: _predict(self.folder / "models" / f"{name}.txt", specimen)
            for name, specimen in SPECIMENS.items()
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
            yield server

    @contextmanager
    def bare(self) -> Iterator[Server]:
        """A bare Flask view under the same gunicorn settings."""
        command = ["-c", "benchmarks/same_settings.py", "benchmarks.bare:application"]
        settings = self.settings | {"BENCH_ANSWERS": str(self.folder / "answers")}
        with running("bare", command, self.folder, **settings) as server:
            for name in SPECIMENS:
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
        for name in SPECIMENS:
            requests = self.requests(server, name)[:_CHECKED_ROWS]
            for row, request in enumerate(requests):
                # Several times, for a server's workers are not ready all at once.
                self.check(name, row, server.first(request).body)

    def check(self, specimen: str, row: int, body: bytes) -> None:
        """Hold an answer against LightGBM's own. Raises WrongAnswer."""
        found = orjson.loads(body)["data"][0]["predictionValues"][0]["value"]
        wanted = float(self.expected[specimen][row])
        # Answers are rounded to ten digits.
        if abs(found - wanted) > 1e-9:
            raise WrongAnswer(f"model {specimen}, row {row}: {found}, not {wanted}")


def prepare(folder: Path) -> Workspace:
    """Train and package, unless that is done already, and deploy afresh."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = _once(folder / "models", _fingerprint([]), _train)
    made_by = [*(ROOT / "app").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    _once(folder / "bundles", _fingerprint(made_by), lambda new: _package(trained, new))
    workspace = _deploy(folder)
    _keep_answers(workspace)
    return workspace


def _train(folder: Path) -> None:
    run([sys.executable, "-m", "benchmarks.specimens", str(folder)])


def _package(models: Path, folder: Path) -> None:
    for name in SPECIMENS:
        for model in (name, f"{name}-next"):
            foretell(
                ["package", str(models / f"{model}.txt")]
                + ["--data", str(models / f"{name}.parquet"), "--target", TARGET]
                + ["--name", f"model {model}", "--out", str(folder / model)]
            )


def _deploy(folder: Path) -> Workspace:
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    own = {"FORETELL_HOME": str(home)}
    foretell(["user", "add", "bench", "--admin"], own)
    token = foretell(["token", "create", "bench"], own)
    deployments = {
        name: foretell(
            ["deploy", str(folder / "bundles" / name), "--label", f"model {name}"], own
        )
        for name in SPECIMENS
    }
    return Workspace(folder, token, deployments)


def _keep_answers(workspace: Workspace) -> None:
    # What the bare view will return: as long as the answers that it stands for.
    answers = workspace.folder / "answers"
    answers.mkdir(exist_ok=True)
    with workspace.foretell() as server:
        for name in SPECIMENS:
            request = workspace.requests(server, name)[0]
            body = server.first(request).body
            (answers / f"{name}.json").write_bytes(body)


def _predict(model: Path, specimen: Specimen) -> NDArray[np.float64]:
    booster = lgb.Booster(model_file=model)
    frame = specimen.frame(_ROWS, _SEED)
    return np.asarray(booster.predict(frame, num_threads=1))


def _fingerprint(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(version("lightgbm").encode())
    for source in [Path(specimens.__file__), *sorted(sources)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _once(folder: Path, fingerprint: str, make: Callable[[Path], None]) -> Path:
    """Fill the folder, unless it was filled under the same fingerprint."""
    stamp = folder / ".made-by"
    if not stamp.exists() or stamp.read_text() != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        make(folder)
        stamp.write_text(fingerprint)
    return folder
