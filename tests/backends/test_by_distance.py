"""Rows go to the model of their distance, and come back in their order."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.compilation import build_each
from backends import compiled, load
from backends.base import Backend
from backends.by_distance import member
from backends.compiled import TREES, Verdict
from backends.explanations.materials import Materials
from backends.features import Columns, DataError, Decoder
from backends.model import Task
from tests.by_distance import ByDistance, make_by_distance

FORMATS = ("lightgbm", "onnx")
TASKS: tuple[Task, ...] = ("regression", "binary", "multiclass")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ByDistance]:
    """Bundles by format and task, each made once."""
    kept: dict[tuple[str, Task], ByDistance] = {}

    def find(format: str, task: Task = "regression") -> ByDistance:
        if (format, task) not in kept:
            folder = tmp_path_factory.mktemp("made") / "bundle"
            kept[format, task] = make_by_distance(folder, format, task=task)
        return kept[format, task]

    return find


def rows_of(each: ByDistance) -> Columns:
    return Decoder.of(each.model).from_table(each.table)


def with_trees(each: ByDistance, folder: Path) -> Backend:
    """The bundle loaded as its deployment would."""
    answers = build_each(str(each.folder), str(folder))
    for (reason, detail), distance in zip(answers, each.model.files, strict=True):
        assert (reason, detail) == ("", "")
        model_id = member(each.model, distance).id
        compiled.write(folder / str(distance), model_id, Verdict(TREES))
    compiled.write(folder, each.model.id, Verdict(TREES))
    return load(each.folder, each.model, folder)


def test_members_have_ids_of_their_own(made: Callable[..., ByDistance]) -> None:
    model = made("lightgbm").model
    members = [member(model, distance) for distance in model.files]
    assert len({model.id, *(each.id for each in members)}) == 4
    assert [each.file for each in members] == list(model.files.values())
    for each in members:
        assert each.features == model.features[:-1]
        assert (each.files, each.time_series) == ({}, None)
        assert len(each.id) == 24


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("format", FORMATS)
def test_each_row_is_scored_by_the_model_of_its_distance(
    made: Callable[..., ByDistance], format: str, task: Task, tmp_path: Path
) -> None:
    each = made(format, task)
    columns = rows_of(each)
    tolerance = 1e-12 if format == "lightgbm" else 1e-5
    expected = each.expected(columns.matrix)
    for backend in (load(each.folder, each.model), with_trees(each, tmp_path)):
        found = backend.predict(columns)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        single = columns.take(np.array([5]))
        np.testing.assert_allclose(
            backend.predict(single), expected[5:6], rtol=tolerance, atol=tolerance
        )
        assert backend.predict(columns.take(np.arange(0))).shape == (
            0,
            expected.shape[1],
        )
    if format == "lightgbm":
        raw = each.expected(columns.matrix, raw_score=True)
        np.testing.assert_array_equal(backend.raw_scores(columns), raw)


@pytest.mark.parametrize("distance", [3.0, 0.0, np.nan, 1.5])
def test_distance_that_no_model_serves_is_refused(
    made: Callable[..., ByDistance], distance: float
) -> None:
    each = made("lightgbm")
    backend, columns = load(each.folder, each.model), rows_of(each)
    columns.matrix[4, -1] = distance
    with pytest.raises(DataError, match=r"'Forecast Distance'.*1, 2, 10"):
        backend.predict(columns)


@pytest.mark.parametrize("algorithm", ["xemp", "shap", "shap_probability"])
@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize("format", FORMATS)
def test_rows_are_explained_as_their_model_explains_them(
    made: Callable[..., ByDistance],
    format: str,
    task: Task,
    algorithm: str,
    tmp_path: Path,
) -> None:
    each = made(format, task)
    columns = rows_of(each).take(np.arange(30))
    materials = Materials(each.folder, each.model)
    backends = [with_trees(each, tmp_path)]
    if format == "lightgbm":
        backends.append(load(each.folder, each.model))
    for backend in backends:
        found = backend.explain(columns, algorithm, materials)
        for row in (0, 7, 29):
            card = member(each.model, int(columns.matrix[row, -1]))
            single = Columns(np.ascontiguousarray(columns.matrix[[row], :-1]))
            place = tmp_path / str(int(columns.matrix[row, -1]))
            alone = load(each.folder, card, place if backend.engine == TREES else None)
            expected = alone.explain(single, algorithm, Materials(each.folder, card))
            values = np.zeros(4)
            values[found.features] = found.values[row, 0]
            own = np.zeros(4)
            own[expected.features] = expected.values[0, 0]
            np.testing.assert_allclose(values, own, rtol=1e-9, atol=1e-12)
            for name in ("base", "total"):
                told, wanted = getattr(found, name), getattr(expected, name)
                assert (told is None) == (wanted is None) == (algorithm == "xemp")
                if told is not None:
                    np.testing.assert_allclose(told[row], wanted[0], rtol=1e-9)


def test_multiclass_strengths_keep_their_classes(
    made: Callable[..., ByDistance],
) -> None:
    each = made("lightgbm", "multiclass")
    backend, columns = load(each.folder, each.model), rows_of(each)
    found = backend.explain(columns, "xemp", Materials(each.folder, each.model))
    assert found.values.shape == (len(columns), 3, 3)
    # Centred: what one class gains the others lose.
    np.testing.assert_allclose(found.values.sum(axis=1), 0, atol=1e-9)


def test_engine_and_size_are_those_of_all_models(
    made: Callable[..., ByDistance], tmp_path: Path
) -> None:
    each = made("lightgbm")
    library, trees = load(each.folder, each.model), with_trees(each, tmp_path)
    assert (library.engine, trees.engine) == ("lightgbm", "trees")
    sizes = [(each.folder / name).stat().st_size for name in each.model.files.values()]
    assert library.nbytes == sum(sizes)
    assert trees.nbytes > 0


def test_damaged_folder_of_one_model_is_its_librarys_alone(
    made: Callable[..., ByDistance], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    each = made("lightgbm")
    expected = with_trees(each, tmp_path).predict(rows_of(each))
    shutil.rmtree(tmp_path / "2")
    backend = load(each.folder, each.model, tmp_path)
    assert backend.engine == "lightgbm and trees"
    assert len(caplog.messages) == 1 and "lightgbm" in caplog.text
    np.testing.assert_allclose(backend.predict(rows_of(each)), expected, rtol=1e-12)
    assert compiled.is_missing(tmp_path)


def test_folder_that_is_not_there_is_told_of_once(
    made: Callable[..., ByDistance], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    each = made("onnx")
    backend = load(each.folder, each.model, tmp_path / "none")
    assert backend.engine == "onnxruntime"
    assert len(caplog.messages) == 1
