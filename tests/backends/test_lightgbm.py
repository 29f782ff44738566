"""LightGBM models answer what the library's own `Booster.predict` answers."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import load
from backends.base import ModelFileRejected
from backends.explanations.base import (
    ExplanationTooSlow,
    NotExplainable,
    Strengths,
)
from backends.explanations.materials import Materials
from backends.features import Columns
from backends.lightgbm import _FEW_ROWS, Booster, LightGBMBackend
from backends.model import Feature, Model

LABELS = ("bad", "fair", "good")

REGRESSIONS = [
    {"objective": "regression"},
    {"objective": "regression", "reg_sqrt": True},
    {"objective": "regression", "linear_tree": True},
    {"objective": "regression_l1"},
    {"objective": "huber"},
    {"objective": "fair"},
    {"objective": "poisson"},
    {"objective": "quantile", "alpha": 0.3},
    {"objective": "mape"},
    {"objective": "gamma"},
    {"objective": "tweedie"},
    {"objective": "cross_entropy"},
    {"objective": "cross_entropy_lambda"},
    {"objective": "regression", "boosting": "dart"},
]
BINARIES = [
    {"objective": "binary"},
    {"objective": "binary", "sigmoid": 0.7, "is_unbalance": True},
    {
        "objective": "binary",
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.6,
    },
]
MULTICLASSES = [
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 3},
]


def frame_of(rows: int, seed: int) -> pd.DataFrame:
    """Columns as people train on: numbers, gaps, categories, an ordered category."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(3, 1, rows)
    income[rng.random(rows) < 0.1] = np.nan
    city = pd.Categorical(
        rng.choice(["Oslo", "Rome", "São Paulo", None], rows),
        categories=["Oslo", "Rome", "São Paulo"],
    )
    size = pd.Categorical(rng.choice([1, 2, 3], rows), ordered=True)
    return pd.DataFrame(
        {
            "income": income,
            "city": city,
            "rooms": rng.integers(0, 9, rows),
            "size": size,
            "is_new": rng.random(rows) < 0.5,
        }
    )


def train(parameters: dict[str, object], frame: pd.DataFrame) -> lightgbm.Booster:
    rng = np.random.default_rng(7)
    signal = frame["rooms"] + 3 * (frame["city"] == "Rome") + rng.random(len(frame))
    if "num_class" in parameters:
        target = signal.rank(pct=True).to_numpy() * 2.99 // 1
    elif parameters["objective"] == "binary":
        target = (signal > signal.median()).to_numpy().astype(float)
    else:
        target = (signal / 20).to_numpy()
    return lightgbm.train(
        {"num_leaves": 8, "verbosity": -1, "num_threads": 1, **parameters},
        lightgbm.Dataset(frame, target),
        num_boost_round=12,
    )


def matrix_of(frame: pd.DataFrame) -> np.ndarray:
    """The matrix that a decoder makes of a frame: codes for categories, NaN missing."""
    columns = [
        np.where(column.cat.codes < 0, np.nan, column.cat.codes.astype(float))
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column.to_numpy(float)
        for _, column in frame.items()
    ]
    return np.stack(columns, axis=1)


def card_of(
    frame: pd.DataFrame, parameters: dict[str, object], **card: object
) -> Model:
    if parameters["objective"] == "binary":
        card = {"task": "binary", "labels": (0, 1), "positive_label": 1} | card
    elif "num_class" in parameters:
        card = {"task": "multiclass", "labels": LABELS} | card
    else:
        card = {"task": "regression"} | card
    return Model(
        id="0" * 24,
        name="model",
        format="lightgbm",
        file="model.txt",
        target="y",
        features=tuple(Feature(name, "numeric") for name in frame.columns),
        **card,
    )


def backend_of(booster: lightgbm.Booster, folder: Path, card: Model) -> LightGBMBackend:
    booster.save_model(folder / "model.txt")
    backend = load(folder, card)
    assert isinstance(backend, LightGBMBackend)
    return backend


def as_columns(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 2 else values[:, None]


@pytest.mark.parametrize("parameters", REGRESSIONS + BINARIES + MULTICLASSES, ids=str)
@pytest.mark.parametrize("rows", [0, 1, _FEW_ROWS, _FEW_ROWS + 1, 300])
def test_answers_equal_the_library_bit_for_bit(
    parameters: dict[str, object], rows: int, tmp_path: Path
) -> None:
    booster = train(parameters, frame_of(500, seed=1))
    frame = frame_of(max(rows, 1), seed=2)
    backend = backend_of(booster, tmp_path, card_of(frame, parameters))
    columns = Columns(matrix_of(frame)[:rows])

    values = as_columns(booster.predict(frame))[:rows]
    raw = as_columns(booster.predict(frame, raw_score=True))[:rows]
    np.testing.assert_array_equal(backend.predict(columns), values)
    np.testing.assert_array_equal(backend.raw_scores(columns), raw)


def test_model_of_custom_objective_answers_raw_scores(tmp_path: Path) -> None:
    frame = frame_of(300, seed=1)
    squares = {"objective": lambda scores, data: (scores - data.get_label(), scores**0)}
    booster = train(squares, frame)
    backend = backend_of(booster, tmp_path, card_of(frame, squares))
    values = backend.predict(Columns(matrix_of(frame)))
    np.testing.assert_array_equal(values[:, 0], booster.predict(frame, raw_score=True))


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), data=st.data())
@settings(max_examples=25, deadline=None)
def test_random_frames_score_as_in_the_library(
    seed: int, rows: int, data: st.DataObject, booster: lightgbm.Booster
) -> None:
    rng = np.random.default_rng(seed)
    frame = frame_of(rows, seed)
    wild = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-36, 1e300, -1e300, 5e-324, 2.0**53]
    frame["income"] = data.draw(
        st.lists(st.sampled_from(wild) | st.floats(), min_size=rows, max_size=rows)
    )
    frame["rooms"] = rng.choice([-1.0, 0.5, 3.0, 1e10], rows)
    matrix = matrix_of(frame)
    scorer = Booster(booster.model_to_string().encode())
    expected = booster.predict(frame, raw_score=True)
    np.testing.assert_array_equal(scorer.score(matrix, raw=True)[:, 0], expected)
    # Row by row goes another way through the library.
    for row in range(rows):
        single = scorer.score(matrix[row : row + 1], raw=True)
        np.testing.assert_array_equal(single, expected[row].reshape(1, 1))


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    return train({"objective": "binary"}, frame_of(500, seed=1))


def test_codes_that_training_never_saw_score_as_in_the_library(
    booster: lightgbm.Booster,
) -> None:
    matrix = matrix_of(frame_of(40, seed=3))
    matrix[:, 1] = np.resize([-1, 3, 700, 2.7, np.nan, 2**31, -0.5], 40)
    frame = pd.DataFrame(matrix)
    # A frame without category columns is taken as it is, codes and all.
    booster = lightgbm.Booster(model_str=booster.model_to_string())
    booster.pandas_categorical = []
    values = Booster(booster.model_to_string().encode()).score(matrix)
    np.testing.assert_array_equal(values[:, 0], booster.predict(frame))


def test_first_label_as_positive_gets_the_complement(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    frame = frame_of(50, seed=4)
    card = card_of(frame, booster.params, labels=("no", "yes"), positive_label="no")
    backend = backend_of(booster, tmp_path, card)
    columns = Columns(matrix_of(frame))
    values = 1.0 - booster.predict(frame)
    np.testing.assert_array_equal(backend.predict(columns)[:, 0], values)
    # The margin stays the one of the file.
    margins = booster.predict(frame, raw_score=True)
    np.testing.assert_array_equal(backend.raw_scores(columns)[:, 0], margins)


def test_answer_of_a_row_outlives_the_next_row(booster: lightgbm.Booster) -> None:
    scorer = Booster(booster.model_to_string().encode())
    matrix = matrix_of(frame_of(50, seed=5))
    first = scorer.score(matrix[:1])
    kept = first.copy()
    for row in range(1, 50):
        scorer.score(matrix[row : row + 1])
    np.testing.assert_array_equal(first, kept)


def test_matrix_in_any_memory_order_scores_alike(booster: lightgbm.Booster) -> None:
    scorer = Booster(booster.model_to_string().encode())
    matrix = matrix_of(frame_of(60, seed=6))
    expected = scorer.score(matrix)
    np.testing.assert_array_equal(scorer.score(np.asfortranarray(matrix)), expected)
    np.testing.assert_array_equal(scorer.score(matrix[::2]), expected[::2])


@pytest.mark.parametrize("rows", [1, 100])
def test_matrix_of_another_width_is_refused(
    booster: lightgbm.Booster, rows: int
) -> None:
    scorer = Booster(booster.model_to_string().encode())
    with pytest.raises(ValueError, match="a matrix of 5 columns is expected"):
        scorer.score(np.zeros((rows, 1)))


def test_threads_share_a_booster(booster: lightgbm.Booster) -> None:
    scorer = Booster(booster.model_to_string().encode())
    matrix = matrix_of(frame_of(200, seed=8))
    expected = scorer.score(matrix)
    wrong: list[int] = []
    barrier = threading.Barrier(8)

    def score_rows() -> None:
        barrier.wait()
        for row in range(200):
            if scorer.score(matrix[row : row + 1])[0, 0] != expected[row, 0]:
                wrong.append(row)

    threads = [threading.Thread(target=score_rows) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_dropped_booster_is_freed_while_threads_live_on(
    booster: lightgbm.Booster,
) -> None:
    scorer = Booster(booster.model_to_string().encode())
    handle = weakref.ref(scorer._handle)
    matrix = matrix_of(frame_of(1, seed=9))
    with ThreadPoolExecutor(1) as living:
        living.submit(scorer.score, matrix).result()
        del scorer
        # The worker lets go of its last task when it takes the next.
        living.submit(int).result()
        gc.collect()
        assert handle() is None


def test_library_never_uses_more_than_one_thread(booster: lightgbm.Booster) -> None:
    program = """
import os, sys
import numpy as np
from backends.lightgbm import Booster

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
booster = Booster(sys.stdin.buffer.read())
booster.score(np.zeros((5000, 5)))
booster.score(np.zeros((1, 5)))
print(threads() - before, "lightgbm" in sys.modules)
"""
    text = booster.model_to_string().encode()
    # As the environment has it: nothing here holds OpenMP back but the backend.
    done = subprocess.run(
        [sys.executable, "-c", program], input=text, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"0", b"False"]


def test_card_of_another_width_is_refused(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    card = card_of(frame_of(1, 0).drop(columns="size"), booster.params)
    with pytest.raises(ModelFileRejected, match="takes 5 features"):
        backend_of(booster, tmp_path, card)


def test_text_that_is_no_model_is_refused() -> None:
    with pytest.raises(ModelFileRejected, match="LightGBM cannot load the model"):
        Booster(b"tree\nnothing here\n")
    with pytest.raises(ModelFileRejected, match="not a LightGBM text model"):
        Booster(b"tree\nnum_class=1\0\n")


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    card = Model("0" * 24, "m", "pickle", "m.pkl", "regression", "y", ())
    with pytest.raises(ModelFileRejected, match="No backend here serves 'pickle'"):
        load(tmp_path, card)


def test_row_without_a_free_scorer_is_scored_all_the_same(specimens):
    specimen = specimens["churn"]
    backend = LightGBMBackend(specimen.folder, specimen.model)
    columns = Columns(np.array([[1.0, 50.0, 0.0, 1.0, np.nan, 1.0]]))
    expected = backend.predict(columns)
    backend._booster._row_scorers.clear()
    assert np.array_equal(backend.predict(columns), expected)


def materials_of(tmp_path: Path, card: Model, frame: pd.DataFrame) -> Materials:
    """Materials whose reference rows are a frame's."""
    matrix = pd.DataFrame(matrix_of(frame), columns=frame.columns)
    matrix.to_parquet(tmp_path / "reference.parquet")
    return Materials(tmp_path, card)


@pytest.mark.parametrize(
    "parameters",
    [each for each in REGRESSIONS if "linear_tree" not in each] + BINARIES,
    ids=str,
)
def test_shap_equals_the_librarys_contributions(
    parameters: dict[str, object], tmp_path: Path
) -> None:
    booster = train(parameters, frame_of(500, seed=1))
    frame = frame_of(300, seed=2)
    backend = backend_of(booster, tmp_path, card_of(frame, parameters))
    found = backend.explain(
        Columns(matrix_of(frame)), "shap", Materials(tmp_path, backend.model)
    )
    divisor = 12 if parameters.get("boosting") == "rf" else 1
    expected = booster.predict(frame, pred_contrib=True) / divisor
    np.testing.assert_allclose(values_of(found), expected[:, :-1], rtol=1e-15)
    np.testing.assert_allclose(found.base, expected[:, -1:], rtol=1e-15)
    assert_adds_up(found)


def values_of(found: Strengths) -> np.ndarray:
    # Which is no frame.
    return found.values[:, 0]  # noqa: PD011


def assert_adds_up(found: Strengths) -> None:
    assert found.base is not None and found.total is not None
    sums = found.base[:, 0] + values_of(found).sum(axis=1)
    np.testing.assert_allclose(sums, found.total[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("parameters", BINARIES, ids=str)
@pytest.mark.parametrize("positive", ["no", "yes"])
def test_shap_adds_up_to_what_the_link_makes_the_probability_of(
    parameters: dict[str, object], positive: str, tmp_path: Path
) -> None:
    frame = frame_of(300, seed=2)
    labels = {"labels": ("no", "yes"), "positive_label": positive}
    card = card_of(frame, parameters, **labels)
    backend = backend_of(train(parameters, frame_of(500, seed=1)), tmp_path, card)
    columns = Columns(matrix_of(frame))
    found = backend.explain(columns, "shap", Materials(tmp_path, card))
    steepness = parameters.get("sigmoid", 1.0)
    assert isinstance(steepness, float)
    assert found.total is not None
    linked = 1 / (1 + np.exp(-steepness * found.total))
    values = backend.predict(columns)
    np.testing.assert_allclose(linked, values, rtol=1e-9)
    assert_adds_up(found)


def test_linear_leaves_are_explained_by_what_they_predict(tmp_path: Path) -> None:
    parameters: dict[str, object] = {"objective": "poisson", "linear_tree": True}
    frame = frame_of(20, seed=2)
    card = card_of(frame, parameters)
    backend = backend_of(train(parameters, frame_of(500, seed=1)), tmp_path, card)
    columns = Columns(matrix_of(frame))
    materials = materials_of(tmp_path, card, frame_of(50, seed=3))
    found = backend.explain(columns, "shap", materials)
    np.testing.assert_array_equal(found.total, backend.raw_scores(columns))
    assert found.base is not None
    raw = backend.raw_scores(materials.reference)
    assert found.base.shape == (20, 1)
    np.testing.assert_allclose(found.base, raw.mean(), rtol=1e-12)
    assert_adds_up(found)


def test_shap_of_a_probability_adds_up_to_it(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    frame = frame_of(20, seed=4)
    card = card_of(frame, booster.params, labels=("no", "yes"), positive_label="no")
    backend = backend_of(booster, tmp_path, card)
    columns = Columns(matrix_of(frame))
    materials = materials_of(tmp_path, card, frame_of(50, seed=3))
    found = backend.explain(columns, "shap_probability", materials)
    np.testing.assert_array_equal(found.total, backend.predict(columns))
    assert_adds_up(found)


@pytest.mark.parametrize("algorithm", ["shap", "shap_probability"])
def test_multiclass_has_no_shap(algorithm: str, tmp_path: Path) -> None:
    frame = frame_of(200, seed=1)
    card = card_of(frame, MULTICLASSES[0])
    backend = backend_of(train(MULTICLASSES[0], frame), tmp_path, card)
    with pytest.raises(NotExplainable, match="Multiclass models cannot be used"):
        backend.explain(Columns(matrix_of(frame)), algorithm, Materials(tmp_path, card))


def test_contributions_take_no_longer_than_they_may(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    frame = frame_of(2000, seed=4)
    card = card_of(frame, booster.params)
    backend = backend_of(booster, tmp_path, card)
    columns = Columns(matrix_of(frame))
    with pytest.raises(ExplanationTooSlow):
        backend.explain(columns, "shap", Materials(tmp_path, card), time.monotonic())
    none = backend.explain(
        Columns(columns.matrix[:0]), "shap", Materials(tmp_path, card)
    )
    assert values_of(none).shape == (0, 5)
    assert none.base is not None and none.base.shape == (0, 1)


def test_threads_get_the_same_contributions(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    frame = frame_of(600, seed=4)
    card = card_of(frame, booster.params)
    columns = Columns(matrix_of(frame))
    expected = booster.predict(frame, pred_contrib=True)[:, :-1]
    # Nobody has asked this booster before: what it prepares is prepared once.
    backend = backend_of(booster, tmp_path, card)
    materials = Materials(tmp_path, card)
    with ThreadPoolExecutor(8) as pool:
        works = [
            pool.submit(backend.explain, columns, "shap", materials) for _ in range(16)
        ]
        for work in works:
            np.testing.assert_array_equal(values_of(work.result()), expected)
