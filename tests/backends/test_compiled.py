"""A compiled folder that is not as it was written is never used."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import backends
from backends import compiled
from backends.compiled import (
    LIBRARIES,
    TREES,
    Verdict,
    examine,
    is_missing,
    of_all,
    read,
    write,
)
from backends.features import Columns
from backends.lightgbm import LightGBMBackend
from backends.trees.backend import TreesBackend

MODEL = "0" * 24
KEPT = Verdict("lightgbm", "differs", "row 7")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "compiled"
    folder.mkdir()
    (folder / "tables.npy").write_bytes(b"arrays")
    write(folder, MODEL, Verdict(TREES))
    return folder


def test_verdict_is_read_as_it_was_written(folder: Path) -> None:
    assert examine(folder, "lightgbm") == Verdict(TREES)
    (folder / "tables.npy").unlink()
    write(folder, MODEL, KEPT)
    assert examine(folder, "lightgbm") == read(folder, "lightgbm") == KEPT


def test_missing_folder_is_the_librarys(tmp_path: Path) -> None:
    found = examine(tmp_path / "none", "onnx")
    assert (found.engine, found.reason) == ("onnxruntime", "missing")
    assert is_missing(tmp_path / "none")
    assert read(tmp_path / "none", "other").engine == "other"


@pytest.mark.parametrize("change", ["truncated", "flipped", "gone", "more"])
def test_changed_arrays_are_noticed(folder: Path, change: str) -> None:
    file = folder / "tables.npy"
    if change == "gone":
        file.unlink()
    else:
        other = folder / "more.npy" if change == "more" else file
        other.write_bytes(b"array" if change == "truncated" else b"arrayz")
    found = examine(folder, "lightgbm")
    assert (found.engine, found.reason) == ("lightgbm", "damaged")
    assert str(folder) in found.detail and "start the server" in found.detail


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with one for each of two forecast distances."""
    for distance in ("1", "2"):
        (tmp_path / "both" / distance).mkdir(parents=True)
        (tmp_path / "both" / distance / "tables.npy").write_bytes(b"arrays")
        write(tmp_path / "both" / distance, distance * 24, Verdict(TREES))
    write(tmp_path / "both", MODEL, Verdict(TREES))
    return tmp_path / "both"


@pytest.mark.parametrize("name", ["tables.npy", "verdict.json"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_change_inside_is_noticed(parts: Path, name: str, is_gone: bool) -> None:
    assert examine(parts, "lightgbm") == Verdict(TREES)
    if is_gone:
        (parts / "2" / name).unlink()
    else:
        (parts / "2" / name).write_bytes(b"")
    assert examine(parts, "lightgbm").reason == "damaged"
    assert examine(parts / "1", "lightgbm") == Verdict(TREES)


def test_verdict_on_all_is_that_on_the_first_without_trees() -> None:
    trees, slow = Verdict(TREES), Verdict(TREES, detail="explained slowly")
    linear = Verdict("lightgbm", "not covered", "linear trees")
    assert of_all({1: trees, 2: trees}) == trees
    detail = "at the forecast distance 2, explained slowly"
    assert of_all({1: trees, 2: slow}) == Verdict(TREES, "", detail)
    found = of_all({1: slow, 2: linear, 3: KEPT, 4: linear})
    assert (found.engine, found.reason) == ("lightgbm and trees", "not covered")
    assert found.detail == "at the forecast distance 2 and 2 more, linear trees"
    assert found.has_trees and not of_all({1: linear}).has_trees


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "lightgbm"},
        {"engine": 1},
        {"model": None},
        {"reason": "odd"},
        {"reason": "differs"},
        {"detail": None},
        {"files": []},
    ],
)
def test_changed_verdict_is_noticed(folder: Path, change: dict[str, object]) -> None:
    file = folder / compiled.VERDICT
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert examine(folder, "lightgbm").reason == "damaged"
    assert is_missing(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_verdict_that_is_none_is_noticed(folder: Path, text: str) -> None:
    (folder / compiled.VERDICT).write_text(text)
    assert examine(folder, "lightgbm").reason == "damaged"


@pytest.mark.parametrize("format", LIBRARIES)
def test_libraries_go_by_their_backends_names(format: str) -> None:
    assert backends.backend_class(format).engine == LIBRARIES[format]


def test_load_takes_the_engine_of_the_verdict(services, specimens, caplog) -> None:
    specimen = specimens["churn"]
    folder = services.compiled.path(specimen.model.id)
    found = backends.load(specimen.folder, specimen.model, folder)
    assert isinstance(found, TreesBackend)
    assert isinstance(backends.load(specimen.folder, specimen.model), LightGBMBackend)
    assert caplog.text == ""


def test_library_serves_what_is_damaged_and_the_log_says_so(
    services, specimens, tmp_path: Path, caplog
) -> None:
    specimen = specimens["churn"]
    source = services.compiled.path(specimen.model.id)
    expected = backends.load(specimen.folder, specimen.model)
    for size in (0, 10, 500):
        folder = tmp_path / str(size)
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        [tables] = folder.glob("tables.*")
        tables.write_bytes(tables.read_bytes()[:size])
        with caplog.at_level(logging.WARNING):
            found = backends.load(specimen.folder, specimen.model, folder)
        assert isinstance(found, LightGBMBackend)
        assert f"served by lightgbm: {tables.name!r} in {folder}" in caplog.text
        caplog.clear()
    assert found.nbytes == expected.nbytes


def test_arrays_of_another_model_are_not_used(services, specimens, caplog) -> None:
    churn, plan = specimens["churn"], specimens["plan"]
    folder = services.compiled.path(plan.model.id)
    found = backends.load(churn.folder, churn.model, folder)
    assert found.engine == "lightgbm"
    assert f"compiled of model {plan.model.id}" in caplog.text


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("churn", TREES), ("price", TREES), ("plan", TREES), ("grade", TREES)),
        *(("onnx-iris", TREES), ("onnx-risk", "onnxruntime")),
    ],
)
def test_engine_and_library_answer_alike(services, specimens, name, engine) -> None:
    specimen = specimens[name]
    served = services.models.get(specimen.model.id)
    assert served.backend.engine == engine
    library = backends.load(specimen.folder, specimen.model)
    random = np.random.default_rng(1)
    codes = random.integers(-1, 4, (300, len(specimen.model.features)))
    columns = Columns(codes.astype(float))
    for ask in ("predict", "raw_scores"):
        found, expected = (
            getattr(each, ask)(columns) for each in (served.backend, library)
        )
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
