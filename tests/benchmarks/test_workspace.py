import mmap
import os
import subprocess
import sys

import pytest

from app.store.compiled import CompiledModels
from backends import compiled
from backends.trees import fingerprint
from benchmarks import workspace as module
from benchmarks.servers import Server
from benchmarks.specimens import known
from benchmarks.workspace import Workspace, WrongAnswer, WrongEngine, check_engine

MODEL = "5f0c3f1d2b7a4e0012345678"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOAD_SECONDS", 0.05)
    return Workspace(tmp_path, known(tmp_path), "", {})


@pytest.fixture
def folder(workspace):
    """Where the model's deployment keeps what the engine made of it."""
    folder = CompiledModels(workspace.home, fingerprint()).path(MODEL)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(tmp_path):
    """A master with one worker, which is this process."""

    class OwnWorker(Server):
        workers = [os.getpid()]

    (tmp_path / "log").write_text("what it said")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        yield OwnWorker("foretell", process, ("", 0), tmp_path / "log", 0.0)
        process.kill()


def test_specimens_are_chosen_by_bar(workspace):
    assert workspace.names("P1") == ["a", "b"]
    assert workspace.names("P3")[:3] == ["a", "b", "255 leaves"]


def test_other_engine_ends_the_run():
    check_engine("model a", "trees")
    with pytest.raises(
        WrongEngine, match="model a is served by lightgbm, not trees: x"
    ):
        check_engine("model a", "lightgbm", ": x")


def test_verdict_of_the_deployment_counts(workspace, folder):
    with pytest.raises(WrongEngine, match="model a is served by lightgbm"):
        workspace.check_verdict("model a", MODEL)
    compiled.write(folder, MODEL, compiled.Verdict("trees"))
    workspace.check_verdict("model a", MODEL)


def test_worker_without_the_tables_ends_the_run(workspace, folder, server):
    with pytest.raises(WrongEngine, match="model a is not .* what it said"):
        workspace.check_workers(server, "model a", MODEL)
    tables = folder / "tables.npy"
    tables.write_bytes(b"x" * 100)
    with tables.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        workspace.check_workers(server, "model a", MODEL)


def test_answer_is_held_against_the_models_own(workspace, monkeypatch):
    monkeypatch.setattr(Workspace, "expected", {"a": [0.25]})
    body = b'{"data":[{"predictionValues":[{"value":%f}]}]}'
    workspace.check("a", 0, body % 0.25)
    with pytest.raises(WrongAnswer, match="model a, row 0: 0.26, not 0.25"):
        workspace.check("a", 0, body % 0.26)
