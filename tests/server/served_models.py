"""Models that the servers of these tests serve, and what they answer elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from app.compilation import compile_deployed
from app.config import Config
from app.package import PackageOptions, package
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.store import Store
from backends.model import Model
from backends.trees import fingerprint

BIN = Path(sys.executable).parent

# Deployments of the two binary models, of the graph, and of no model.
FIRST = "0123456789abcdef00000001"
SECOND = "0123456789abcdef00000002"
GRAPH = "0123456789abcdef00000003"
EXTERNAL = "0123456789abcdef00000004"

LEVELS = ["red", "green", "blue"]


def frame(rows: int, seed: int) -> pd.DataFrame:
    """Rows for every model here; numbers that CSV and JSON carry exactly."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": random.normal(size=rows).round(4),
            "y": random.normal(size=rows).round(4),
            "colour": pd.Categorical(random.choice(LEVELS, rows), LEVELS),
        }
    )


def csv_body(rows: pd.DataFrame) -> bytes:
    return rows.to_csv(index=False).encode()


def json_body(rows: pd.DataFrame) -> bytes:
    return rows.astype({"colour": str}).to_json(orient="records").encode()


def padded_body(size: int, rows: int = 100) -> bytes:
    """A CSV body of exactly so many bytes; a column that no model takes fills it."""
    lines = frame(rows, seed=5).to_csv(index=False).splitlines()
    head = f"padding,{lines[0]}\n".encode()
    cells = [f",{line}\n".encode() for line in lines[1:]]
    left = size - len(head) - sum(map(len, cells))
    share, rest = divmod(left, rows)
    padding = [b"p" * (share + (rest if row == 0 else 0)) for row in range(rows)]
    pieces = [each for pair in zip(padding, cells, strict=True) for each in pair]
    return head + b"".join(pieces)


def prediction_path(deployment: str, query: str = "") -> str:
    return f"/api/v2/deployments/{deployment}/predictions{query}"


def environment(home: Path, **settings: Any) -> dict[str, str]:
    """What a process gets: nothing of the test run's own settings."""
    ours = ("FORETELL_", "OMP_", "OPENBLAS_", "ORT_", "PYTHON", "COV")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(ours)
    }
    settings = {"kernels": os.environ["FORETELL_KERNELS"], **settings}
    given = {f"FORETELL_{name.upper()}": str(each) for name, each in settings.items()}
    return {**kept, "HOME": str(home), "FORETELL_HOME": str(home), **given}


def foretell(home: Path, *arguments: object) -> str:
    """Run the command line and return what it prints."""
    done = subprocess.run(
        [BIN / "foretell", *map(str, arguments)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass(frozen=True)
class ServedModels:
    """The state folder that servers copy, and what its models answer.

    bundles: by name. ids: deployment to model id. token: an admin's; user: the
    admin's id.
    """

    home: Path
    bundles: Mapping[str, Path]
    ids: Mapping[str, str]
    token: str
    user: str

    def copy_to(self, home: Path) -> None:
        """Make a state folder: the database and the bundles."""
        home.mkdir(mode=0o700)
        # SQLite's log is folded into the file when its last connection closes.
        shutil.copy(self.home / "foretell.db", home)
        for name in ("bundles", "compiled"):
            shutil.copytree(self.home / name, home / name)

    def probabilities(self, deployment: str, rows: pd.DataFrame) -> list[float]:
        """The positive class's probability as the training library answers it."""
        name = {FIRST: "first", SECOND: "second"}[deployment]
        booster = lgb.Booster(model_file=self.home / f"{name}.txt")
        return [round(float(value), 10) for value in booster.predict(rows)]


def make_once(folder: Path) -> ServedModels:
    """Package and deploy the models; the processes of a parallel run share them."""
    home = folder / "served-models"
    made = home / "made.json"
    with open(folder / "served-models.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(home, ignore_errors=True)
            made.write_text(json.dumps(_make(home)))
    facts = json.loads(made.read_text())
    bundles = {name: home / f"{name}-bundle" for name in ("first", "second", "graph")}
    return ServedModels(home, bundles, facts["ids"], facts["token"], facts["user"])


def _make(home: Path) -> dict[str, Any]:
    home.mkdir(mode=0o700)
    rows = frame(400, seed=1)
    score = rows["x"] * 2 + rows["y"] * rows["colour"].cat.codes
    wins = (score > 0).astype(int)
    data = home / "train.csv"
    outcome = wins.map({0: "lost", 1: "won"})
    rows.assign(outcome=outcome, points=score).to_csv(data, index=False)
    _booster(rows, wins, seed=1).save_model(home / "first.txt")
    _booster(rows, 1 - wins, seed=2).save_model(home / "second.txt")
    (home / "graph.onnx").write_bytes(_linear().SerializeToString())
    made = {
        FIRST: _package(home, "first.txt", "outcome"),
        SECOND: _package(home, "second.txt", "outcome"),
        GRAPH: _package(
            home, "graph.onnx", "points", task="regression", features=("x", "y")
        ),
    }
    store = Store(f"sqlite:///{home / 'foretell.db'}", home)
    store.migrate()
    user = store.add_user("admin", admin=True)
    _, token = store.create_token("admin")
    store.create_deployment("elsewhere", "admin", None, deployment_id=EXTERNAL)
    for deployment, model in made.items():
        folder = Bundles(home).put(home / f"{model.name}-bundle", model.id)
        compile_deployed(
            folder, model, CompiledModels(home, fingerprint()), Config(home=home)
        )
        store.add_model(model, "admin", 1)
        store.create_deployment(model.name, "admin", model.id, deployment_id=deployment)
    store.dispose()
    ids = {deployment: model.id for deployment, model in made.items()}
    return {"ids": ids, "token": token, "user": user.id}


def _package(home: Path, file: str, target: str, **options: Any) -> Model:
    name = Path(file).stem
    report = package(
        PackageOptions(
            model=home / file,
            data=home / "train.csv",
            target=target,
            name=name,
            out=home / f"{name}-bundle",
            **options,
        ),
        Config(home=home),
    )
    return report.model


def _booster(rows: pd.DataFrame, target: pd.Series, seed: int) -> lgb.Booster:
    parameters = {
        "objective": "binary",
        "num_leaves": 7,
        "learning_rate": 0.1 * seed,
        "num_threads": 1,
        "deterministic": True,
        "seed": seed,
        "verbosity": -1,
    }
    return lgb.train(parameters, lgb.Dataset(rows, target), 20)


def _linear() -> Any:
    """3 x - y, as a graph of one float matrix."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.array([[3], [-1]], np.float32), "W")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
