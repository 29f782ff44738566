import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config import environment_name, settings
from app.doctor import examination, folder, libraries
from app.doctor.examination import examine
from app.doctor.findings import Finding
from app.machine import Cores, Memory
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.store import Store
from backends import FORMATS, bundle, compiled
from backends.compiled import Verdict
from backends.model import Feature, Model, Task
from backends.trees import fingerprint

Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def look(home: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Examines an installation, without loading the model libraries."""
    monkeypatch.setattr(examination, "FORMATS", {})

    def examined(**environ: str) -> dict[str, Finding]:
        environ = {"FORETELL_HOME": str(home), "FORETELL_WORKERS": "1"} | environ
        environ.setdefault("FORETELL_SCORING_THREADS", "1")
        return {each.part: each for each in examine(environ)}

    return examined


@pytest.fixture
def store(home: Path) -> Store:
    store = Store(f"sqlite:///{home / 'foretell.db'}", home)
    store.migrate()
    store.add_user("ada", admin=True)
    return store


@pytest.fixture
def deployment_id(store: Store, home: Path, tmp_path: Path) -> str:
    """A deployment with a bundle; only its checksums matter here."""
    features = (Feature("x", "numeric"),)
    card = Model("", "m", "lightgbm", "model.txt", "regression", "y", features)
    return deployed(card, store, home, tmp_path / "bundle")


def deployed(card: Model, store: Store, home: Path, folder: Path) -> str:
    folder.mkdir()
    (folder / card.file).write_text("tree\n")
    model = bundle.write(folder, card)
    Bundles(home).put(folder, model.id)
    store.add_model(model, "ada", nbytes=1000)
    return store.create_deployment("prices", "ada", model.id).id


def problems(found: dict[str, Finding]) -> list[str]:
    return [problem.text for each in found.values() for problem in each.problems]


def test_new_installation_has_no_problems(look: Look, home: Path) -> None:
    found = look()
    assert problems(found) == []
    assert found["database"].facts["exists"] is False
    assert not home.exists()


def test_used_installation_has_no_problems(look: Look, deployment_id: str) -> None:
    found = look()
    assert problems(found) == []
    facts = found["database"].facts
    assert (facts["journal_mode"], facts["schema_is_current"]) == ("wal", True)
    assert (facts["users"], facts["deployments"]) == (1, 1)
    assert found["bundles"].facts == {"models": 1}


def test_every_setting_has_value_and_source(look: Look) -> None:
    facts = look(FORETELL_KEEP_ALIVE="5")["settings"].facts
    assert set(facts) == {environment_name(each.name) for each in settings()}
    keep_alive = {"value": 5, "unit": "s", "source": "environment"}
    assert facts["FORETELL_KEEP_ALIVE"] == keep_alive
    assert facts["FORETELL_BIND"]["source"] == "default"


def test_secrets_are_masked(look: Look) -> None:
    found = look(
        FORETELL_DATAROBOT_KEY="s3cret",
        FORETELL_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/foretell",
    )
    assert "s3cret" not in repr(found)


def test_wrong_settings_are_all_told(look: Look) -> None:
    found = look(FORETELL_MAX_BODY="much", FORETELL_COLOUR="red")
    text = " ".join(problems(found))
    assert "FORETELL_MAX_BODY" in text and "FORETELL_COLOUR" in text
    assert "versions" in found


def test_versions_of_what_batch_jobs_take_are_told(look: Look) -> None:
    assert look()["versions"].facts.keys() >= {"dask", "distributed", "fsspec"}


def test_missing_bundle_is_a_problem(
    look: Look, deployment_id: str, home: Path
) -> None:
    folder = next((home / "bundles").iterdir())
    folder.rename(home / "elsewhere")
    [problem] = look()["bundles"].problems
    assert deployment_id in problem.text and "replace-model" in problem.remedy


def test_changed_bundle_is_a_problem(
    look: Look, deployment_id: str, home: Path
) -> None:
    folder = next((home / "bundles").iterdir())
    (folder / "model.txt").write_text("changed")
    [problem] = look()["bundles"].problems
    assert "model.txt" in problem.text and str(folder) in problem.remedy


@pytest.mark.parametrize(
    ("task", "spec"), [("tensors", {"io": {}}), ("regression", {"time_series": {}})]
)
def test_spec_that_is_not_understood_is_a_problem(
    look: Look, store: Store, home: Path, tmp_path: Path, task: Task, spec: Any
) -> None:
    features = () if task == "tensors" else (Feature("x", "numeric"),)
    card = Model("", "m", "onnx", "model.onnx", task, "", features, **spec)
    deployment_id = deployed(card, store, home, tmp_path / "bundle")
    [problem] = look()["bundles"].problems
    assert deployment_id in problem.text and "missing" in problem.text
    assert "replace-model" in problem.remedy


def test_older_schema_is_a_problem(look: Look, home: Path) -> None:
    home.mkdir(mode=0o700)
    with sqlite3.connect(home / "foretell.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    [problem] = look()["database"].problems
    assert problem.remedy == "foretell migrate"


def test_file_that_is_no_database_is_a_problem(look: Look, home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "foretell.db").write_text("this is a text of a certain length" * 100)
    [problem] = look()["database"].problems
    assert "not a database" in problem.text


def test_database_without_wal_is_a_problem(
    look: Look, store: Store, home: Path
) -> None:
    store.dispose()
    connection = sqlite3.connect(home / "foretell.db")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    [problem] = look()["database"].problems
    assert "WAL" in problem.text


def test_unreachable_database_is_a_problem(look: Look) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://u@127.0.0.1:1/foretell"
    [problem] = look(FORETELL_DATABASE_URL=url)["database"].problems
    assert "FORETELL_DATABASE_URL" in problem.remedy or "start" in problem.remedy


def test_unknown_kind_of_database_is_a_problem(look: Look) -> None:
    found = look(FORETELL_DATABASE_URL="mysql://u:s3cret@db/foretell")
    [problem] = found["database"].problems
    assert problem.remedy == "correct FORETELL_DATABASE_URL"


def test_more_workers_than_cores_is_a_problem(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.machine.cores", lambda: Cores(64, 64, 2.0))
    found = look(FORETELL_WORKERS="64", FORETELL_SCORING_THREADS="2")
    [problem] = found["cores"].problems
    assert problem.remedy == "set FORETELL_WORKERS=2"


def test_many_openmp_threads_are_a_problem(look: Look) -> None:
    [problem] = look(OMP_NUM_THREADS="8")["cores"].problems
    assert "OMP_NUM_THREADS" in problem.remedy


def test_folder_that_others_may_write_to_is_a_problem(look: Look, home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    [problem] = look()["folder"].problems
    assert problem.remedy == f"chmod go-w {home}"


def test_file_in_the_place_of_the_folder_is_a_problem(look: Look, home: Path) -> None:
    home.write_text("")
    assert "no folder" in look()["folder"].problems[0].text


def test_full_disk_is_a_problem(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_LEAST_DISK", 2**60)
    [problem] = look()["folder"].problems
    assert "MiB of disk are free" in problem.text


def test_remote_file_system_is_a_problem_for_sqlite(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = look()["folder"].facts["file_system"]
    monkeypatch.setattr(folder, "_REMOTE", {here})
    [problem] = look()["folder"].problems
    assert "SQLite" in problem.text


def test_socket_without_folder_is_a_problem(look: Look, home: Path) -> None:
    [problem] = look(FORETELL_BIND=f"unix:{home}/run/socket")["folder"].problems
    assert f"mkdir -p {home}/run" == problem.remedy


def test_too_little_memory_is_a_problem(
    look: Look, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.machine.memory", lambda: Memory(2**40, 2**28))
    [problem] = look()["memory"].problems
    assert "FORETELL_WORKERS" in problem.remedy


def test_libraries_load_and_telemetry_is_off(home: Path) -> None:
    found = {each.part: each for each in examine({"FORETELL_HOME": str(home)})}
    assert all(found[format].facts["loads"] for format in FORMATS)
    assert found["onnx"].facts["telemetry"] == "off"


def test_library_that_crashes_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "import ctypes; ctypes.string_at(0)"
    monkeypatch.setitem(libraries._LOAD, "onnx", crash)
    finding = libraries.library("onnx")
    assert finding.facts["loads"] is False
    assert "ended with -11" in finding.problems[0].text


def test_missing_openmp_names_the_package() -> None:
    reason = "OSError: libgomp.so.1: cannot open shared object file"
    assert "libgomp1" in libraries._remedy(reason)


def test_engines_of_models_are_counted(look: Look, deployment_id: str) -> None:
    facts = look()["engines"].facts
    assert facts["lightgbm"] == 1


def test_damaged_compiled_model_is_a_problem(
    look: Look, deployment_id: str, store: Store, home: Path
) -> None:
    [model_id] = store.snapshot().models
    folder = CompiledModels(home, fingerprint()).path(model_id)
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text("{")
    [problem] = look()["engines"].problems
    assert model_id in problem.text and str(folder) in problem.remedy


def test_model_that_failed_to_compile_is_a_problem(
    look: Look, deployment_id: str, store: Store, home: Path
) -> None:
    [model_id] = store.snapshot().models
    folder = CompiledModels(home, fingerprint()).path(model_id)
    folder.mkdir(parents=True)
    compiled.write(folder, model_id, Verdict("lightgbm", "failed", "it took too long"))
    [problem] = look()["engines"].problems
    assert model_id in problem.text and "it took too long" in problem.text


def test_kernels_that_others_may_write_are_a_problem(
    look: Look, deployment_id: str, tmp_path: Path
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(0o777)
    [problem] = look(FORETELL_KERNELS=str(folder))["engines"].problems
    assert "others than the owner" in problem.text
    folder.chmod(0o700)
    assert look(FORETELL_KERNELS=str(folder))["engines"].problems == []


@pytest.mark.parametrize("is_shared", [True, False])
def test_bundle_that_another_server_has_is_no_problem(
    look: Look, home: Path, deployment_id: str, tmp_path: Path, is_shared: bool
) -> None:
    (kept,) = (home / "bundles").iterdir()
    shared = tmp_path / "shared" / "bundles"
    shared.mkdir(parents=True)
    if is_shared:
        (shared / f"{kept.name}.tar").touch()
    shutil.rmtree(kept)
    found = look(FORETELL_STORE_URL=shared.parent.as_uri())["bundles"].problems
    expected = [] if is_shared else [True]
    assert [deployment_id in each.text for each in found] == expected


def test_hook_that_is_allowed_is_told_and_no_problem(look, store, deployment_id):
    model_id = store.deployment(deployment_id).model_id
    store.update_deployment(deployment_id, settings={"python_hook": model_id})
    finding = look()["python hooks"]
    assert "runs the Python code" in finding.facts[deployment_id]
    assert all("network" in each.text for each in finding.problems)
