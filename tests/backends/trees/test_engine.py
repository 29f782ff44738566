"""The engine takes any matrix, any number of threads, and no damaged tables."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.trees import from_lightgbm, kernel_cache, kernels, tables
from backends.trees.engine import Engine
from backends.trees.ensemble import NotCovered
from tests.backends.trees import models
from tests.backends.trees.equality import assert_same_bits
from tests.backends.trees.rows import adversarial
from tests.backends.trees.texts import Text, text_of

KIND = "255 leaves"
FILE = "tables.int32"
SMALL = Text(seed=21, leaves=[3, 6], categorical=0.2)
Matrix = NDArray[np.float64]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(from_lightgbm.read(models.trained(KIND).text))


@pytest.fixture(scope="module")
def rows() -> Matrix:
    text = models.trained(KIND).text
    return adversarial(text, 200, np.random.default_rng(models.SEED))


@pytest.mark.parametrize("shape", [(8,), (0,), (3, 7), (3, 9), (3, 0), (3, 8, 1), ()])
def test_matrix_of_another_shape_raises(engine: Engine, shape: tuple[int, ...]) -> None:
    for raw in (False, True):
        with pytest.raises(ValueError, match="8 columns"):
            engine.score(np.zeros(shape), raw=raw)


def test_no_rows_answer_no_rows(engine: Engine) -> None:
    assert engine.score(np.empty((0, 8))).shape == (0, 1)
    assert engine.score(np.empty((0, 8)), raw=True).shape == (0, 1)


def test_scores_are_float64_in_rows(engine: Engine, rows: Matrix) -> None:
    scores = engine.score(rows)
    assert (scores.dtype, scores.shape) == (np.float64, (200, 1))
    assert scores.flags.c_contiguous and scores.flags.owndata and scores.flags.writeable


def _unaligned(rows: Matrix) -> Matrix:
    room = np.zeros(rows.nbytes + 1, np.uint8)
    moved = room[1:].view(np.float64).reshape(rows.shape)
    moved[:] = rows
    assert not moved.flags.aligned
    return moved


def _read_only(rows: Matrix) -> Matrix:
    copy = rows.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[Matrix], Matrix]] = {
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "every second row": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "every second column": lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
    "columns of a wider matrix": lambda rows: np.hstack([rows, rows])[:, 8:],
    "backwards": lambda rows: np.ascontiguousarray(rows[::-1, ::-1])[::-1, ::-1],
    "big-endian": lambda rows: rows.astype(">f8"),
    "of bytes": lambda rows: np.frombuffer(rows.tobytes()).reshape(rows.shape),
    "masked": lambda rows: np.ma.array(rows),
    "objects": lambda rows: rows.astype(object),
}


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_scores_alike(
    engine: Engine, rows: Matrix, layout: str, count: int
) -> None:
    laid = LAYOUTS[layout](rows[:count])
    assert_same_bits(
        engine.score(laid, raw=True), engine.score(rows[:count], raw=True), rows
    )


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.int8, np.uint64, np.bool_]
)
@pytest.mark.parametrize("count", [1, 200])
def test_other_numbers_score_as_float64(
    engine: Engine, rows: Matrix, dtype: type, count: int
) -> None:
    with np.errstate(all="ignore"):
        given = np.nan_to_num(rows[:count]).clip(0, 100).astype(dtype)
    wanted = engine.score(given.astype(np.float64))
    assert_same_bits(engine.score(given), wanted, rows)


def test_texts_are_no_numbers(engine: Engine) -> None:
    with pytest.raises(ValueError):
        engine.score(np.full((2, 8), "x"))


@pytest.mark.parametrize("count", [1, 200])
def test_matrix_stays_as_it_is(engine: Engine, rows: Matrix, count: int) -> None:
    before = rows[:count].copy()
    engine.score(rows[:count])
    engine.score(rows[:count], raw=True)
    assert rows[:count].tobytes() == before.tobytes()


def test_threads_at_once_score_as_one(rows: Matrix) -> None:
    """Each of 8 threads takes other rows of other models in another order."""
    kinds = [KIND, "multiclass", "5000 categories", "1000 leaves"]
    engines = [Engine(from_lightgbm.read(models.trained(kind).text)) for kind in kinds]
    matrices = [models.trained(kind).rows[:300] for kind in kinds]
    wanted = [
        engine.score(matrix) for engine, matrix in zip(engines, matrices, strict=True)
    ]
    ready = threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        ready.wait()
        for _ in range(60):
            which = int(random.integers(len(kinds)))
            start = int(random.integers(300))
            stop = start + int(random.choice([1, 1, 2, 64, 300]))
            some = matrices[which][start:stop]
            found = engines[which].score(some)
            assert_same_bits(found, wanted[which][start:stop], some)

    # Switch as often as can be, within the Python part of a call too.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)


def test_scoring_lets_other_threads_run(engine: Engine) -> None:
    begins, ran = threading.Event(), []

    def run() -> None:
        begins.wait()
        ran.append(time.perf_counter())

    thread = threading.Thread(target=run)
    thread.start()
    matrix = np.zeros((100_000, 8))
    interval = sys.getswitchinterval()
    # A thread that has the interpreter's lock keeps it, unless it lets go itself.
    sys.setswitchinterval(3600)
    try:
        begins.set()
        engine.score(matrix)
        scored = time.perf_counter()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ran[0] < scored


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that an engine writes, of a small model."""
    folder = tmp_path_factory.mktemp("written")
    Engine(from_lightgbm.read(SMALL.build())).write(folder)
    [path] = folder.iterdir()
    assert path.name == FILE
    return path.read_bytes()


def test_folder_without_tables_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=FILE):
        Engine.open(tmp_path)
    with pytest.raises(ValueError, match=FILE):
        Engine.open(tmp_path / "nowhere")


def test_folder_in_place_of_tables_raises(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ValueError, match=FILE):
        Engine.open(tmp_path)


def test_tables_are_not_written_over(tmp_path: Path) -> None:
    engine = Engine(from_lightgbm.read(SMALL.build()))
    engine.write(tmp_path)
    with pytest.raises(FileExistsError):
        engine.write(tmp_path)


def test_tables_cut_off_anywhere_raise(written: bytes, tmp_path: Path) -> None:
    cuts = [*range(140), *range(140, len(written), len(written) // 100)]
    for cut in [*cuts, len(written) - 1]:
        (tmp_path / FILE).write_bytes(written[:cut])
        with pytest.raises(ValueError, match="tables"):
            Engine.open(tmp_path)


def test_tables_with_another_bit_raise(written: bytes, tmp_path: Path) -> None:
    places = [*range(700), *range(700, len(written), len(written) // 100)]
    for place in places:
        damaged = bytearray(written)
        damaged[place] ^= 1 << place % 8
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(ValueError, match="tables"):
            Engine.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a text", b"PK\x03\x04", b"\0" * 4096])
def test_other_files_raise(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match="tables"):
        Engine.open(tmp_path)


def test_tables_of_another_form_raise(
    written: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(written)
    Engine.open(tmp_path)
    monkeypatch.setattr(tables, "_FORM", b"another")
    with pytest.raises(ValueError, match="tables"):
        Engine.open(tmp_path)


def test_tables_with_a_rest_raise(written: bytes, tmp_path: Path) -> None:
    for rest in (b"\0", b"\0" * 4, b"\0" * 64):
        (tmp_path / FILE).write_bytes(written + rest)
        with pytest.raises(ValueError, match="tables"):
            Engine.open(tmp_path)


def test_opened_tables_are_mapped(tmp_path: Path) -> None:
    engine = Engine(from_lightgbm.read(models.trained(KIND).text))
    engine.write(tmp_path)
    opened = Engine.open(tmp_path)
    assert opened.nbytes == engine.nbytes
    assert str(tmp_path / FILE) in Path("/proc/self/maps").read_text()


def test_nothing_compiles_after_preparation(tmp_path: Path) -> None:
    kernel_cache.prepare(tmp_path)
    assert not list(tmp_path.iterdir())
    compiled = [len(kernel.signatures) for kernel, _ in kernels.KERNELS]
    for kind in (KIND, "multiclass", "one tree", "binary"):
        model = models.trained(kind)
        ensemble = from_lightgbm.read(model.text)
        scorer = Engine(ensemble)
        for matrix in (model.rows[:1], model.rows[:70], model.rows[:0]):
            scorer.score(matrix)
            scorer.score(_read_only(matrix), raw=True)
    assert [len(kernel.signatures) for kernel, _ in kernels.KERNELS] == compiled


def test_linear_trees_are_not_covered() -> None:
    with pytest.raises(NotCovered, match="linear"):
        from_lightgbm.read(models.train(models.LINEAR).text)


def test_any_sign_of_linear_trees_counts() -> None:
    text = SMALL.build().replace(b"is_linear=0\n", b"is_linear=2\n")
    with pytest.raises(NotCovered, match="linear"):
        from_lightgbm.read(text)


def test_splits_of_different_number_are_refused() -> None:
    text = SMALL.build().replace(b"decision_type=", b"decision_type=2 ", 1)
    sizes = re.search(rb"tree_sizes=(\d+)", text)
    assert sizes
    longer = b"tree_sizes=%d" % (int(sizes[1]) + 2)
    with pytest.raises(ModelFileRejected):
        from_lightgbm.read(text.replace(sizes[0], longer))


@pytest.mark.parametrize("objective", ["lambdarank", "made_up", "l2"])
def test_objectives_not_known_are_not_covered(objective: str) -> None:
    text = Text(seed=0, objective=objective).build()
    with pytest.raises((NotCovered, ValueError)):
        from_lightgbm.read(text)


def test_nodes_that_lead_in_circles_are_not_covered() -> None:
    """Each has one parent, as it should; but no way leads to them from the root."""
    text = text_of(
        [
            {
                "num_leaves": 4,
                "num_cat": 0,
                "split_feature": "0 0 0",
                "split_gain": "1 1 1",
                "threshold": "0 1 2",
                "decision_type": "2 2 2",
                "left_child": "-1 2 1",
                "right_child": "-2 -3 -4",
                "leaf_value": "1 2 3 4",
                "leaf_weight": "1 1 1 1",
                "leaf_count": "1 1 1 1",
                "internal_value": "0 0 0",
                "internal_weight": "1 1 1",
                "internal_count": "1 1 1",
            }
        ],
        features=1,
    )
    with pytest.raises(NotCovered, match="no row reaches"):
        Engine(from_lightgbm.read(text))


@pytest.mark.parametrize("sigmoid", ["", " sigmoid:0", " sigmoid:-1", " sigmoid:x"])
def test_sigmoid_that_the_library_refuses_is_not_covered(sigmoid: str) -> None:
    text = models.trained("binary").text
    begin = text.index(b"\nobjective=")
    end = text.index(b"\n", begin + 1)
    changed = text[:begin] + f"\nobjective=binary{sigmoid}".encode() + text[end:]
    with pytest.raises(NotCovered, match="objective"):
        from_lightgbm.read(changed)
