"""Predictions of served graphs, against sessions run by hand and the trainers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import backends.onnx
from backends.base import ModelFileRejected
from backends.features import Columns, DataError, Decoder
from backends.onnx import OnnxBackend
from backends.onnx_graph import inspect

Make = Callable[..., Any]
Serve = Callable[..., OnnxBackend]

DOUBLE, INT64 = TensorProto.DOUBLE, TensorProto.INT64


def by_hand(graph: Any, feed: Mapping[str, Any]) -> dict[str, Any]:
    """All outputs of a plain session; ZipMap's dictionaries as they come."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


@pytest.fixture(scope="module")
def matrix() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)


def convert(model: Any, sample: Any, **options: Any) -> Any:
    from skl2onnx import to_onnx

    return to_onnx(model, sample[:1], options={id(model): options} if options else None)


def classes(matrix: NDArray[np.float32], names: Any) -> Any:
    return np.asarray(names)[np.digitize(matrix[:, 0] + matrix[:, 1], [-0.5, 0.7])]


def columns(matrix: NDArray[Any], texts: Mapping[int, Any] | None = None) -> Columns:
    strings = {at: np.asarray(each, object) for at, each in (texts or {}).items()}
    return Columns(matrix.astype(np.float64), strings)


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("names", [[0, 1, 1], [4, 2, 9], ["a", "ß", "c d"]])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(5, max_depth=3, random_state=0),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_classifier_answers_probabilities_in_label_order(
    matrix: NDArray[np.float32], serve: Serve, model: Any, names: Any, zipmap: Any
) -> None:
    model.fit(matrix, classes(matrix, names))
    graph = convert(model, matrix, zipmap=zipmap)
    binary = len(set(names)) == 2
    backend = serve(graph, task="binary" if binary else "multiclass")
    assert list(backend.model.labels) == model.classes_.tolist()
    answers = by_hand(graph, {"X": matrix})
    if zipmap is True:
        rows = answers["output_probability"]
        expected = np.array([[row[label] for label in model.classes_] for row in rows])
    elif zipmap is False:
        expected = answers["probabilities"]
    else:
        answers.pop("output_label")
        expected = np.stack(list(answers.values()), axis=1)
    predicted = backend.predict(columns(matrix))
    assert predicted.dtype == np.float64
    np.testing.assert_array_equal(predicted, expected[:, 1:] if binary else expected)
    # float32 against scikit-learn's float64
    np.testing.assert_allclose(
        backend.raw_scores(columns(matrix)), model.predict_proba(matrix), atol=1e-5
    )


@pytest.mark.parametrize(("positive", "column"), [("no", 0), ("yes", 1)])
def test_positive_label_picks_its_column(
    matrix: NDArray[np.float32], serve: Serve, positive: str, column: int
) -> None:
    model = LogisticRegression().fit(matrix, np.where(matrix[:, 0] > 0, "yes", "no"))
    backend = serve(convert(model, matrix), task="binary", positive=positive)
    np.testing.assert_array_equal(
        backend.predict(columns(matrix)),
        backend.raw_scores(columns(matrix))[:, [column]],
    )


@pytest.mark.parametrize("flat", [True, False])
def test_single_score_is_the_second_labels_probability(
    linear_graph: Make, serve: Serve, matrix: NDArray[np.float32], flat: bool
) -> None:
    graph = linear_graph(top="Sigmoid", flat=flat)
    backend = serve(graph, task="binary", labels=(False, True))
    expected = by_hand(graph, {"X": matrix})["Y"].reshape(-1, 1).astype(np.float64)
    data = columns(matrix)
    np.testing.assert_array_equal(backend.predict(data), expected)
    other = replace(backend.model, positive_label=False)
    backend.model = other
    np.testing.assert_array_equal(backend.predict(data), 1 - expected)
    np.testing.assert_array_equal(backend.raw_scores(data), expected)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, DOUBLE])
def test_regression_answers_one_column(
    linear_graph: Make,
    serve: Serve,
    matrix: NDArray[np.float32],
    flat: bool,
    kind: int,
) -> None:
    graph = linear_graph(flat=flat, kind=kind)
    values = serve(graph).predict(columns(matrix))
    fed = matrix.astype(helper.tensor_dtype_to_np_dtype(kind))
    assert values.shape == (300, 1)
    np.testing.assert_array_equal(
        values, by_hand(graph, {"X": fed})["Y"].reshape(-1, 1)
    )


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), RandomForestRegressor(5, max_depth=4, random_state=0)],
    ids=lambda model: type(model).__name__,
)
def test_regressors_of_scikit_learn(
    matrix: NDArray[np.float32], serve: Serve, model: Any
) -> None:
    model.fit(matrix, matrix[:, 0] * 2 + matrix[:, 2])
    backend = serve(convert(model, matrix))
    np.testing.assert_allclose(
        backend.predict(columns(matrix))[:, 0], model.predict(matrix), atol=1e-5
    )


@pytest.fixture
def mixed_frame(matrix: NDArray[np.float32]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age of owner": matrix[:, 0],
            "sex": np.where(matrix[:, 1] > 0, "female", "mäle"),
            "fare-paid": matrix[:, 2] * 10,
            "2nd town": np.array(["a", "b", ""], object)[
                (np.abs(matrix[:, 0]) * 5).astype(int) % 3
            ],
        }
    )


def mixed_model(frame: pd.DataFrame, unknown: str = "ignore") -> Any:
    encode = make_column_transformer(
        (StandardScaler(), ["age of owner", "fare-paid"]),
        (OneHotEncoder(handle_unknown=unknown), ["sex", "2nd town"]),
    )
    model = make_pipeline(encode, LogisticRegression())
    return model.fit(frame, frame["age of owner"] + (frame["sex"] == "female") > 0.5)


def mixed_columns(frame: pd.DataFrame) -> Columns:
    """As the graph takes them: in the frame's order."""
    numbers = frame[["age of owner", "fare-paid"]].to_numpy(np.float64)
    blank = np.full(len(frame), np.nan)
    return columns(
        np.stack([numbers[:, 0], blank, numbers[:, 1], blank], axis=1),
        {1: frame["sex"], 3: frame["2nd town"]},
    )


def test_pipeline_takes_texts_and_numbers_by_name(
    mixed_frame: pd.DataFrame, serve: Serve
) -> None:
    model = mixed_model(mixed_frame)
    graph = convert(model, mixed_frame, zipmap=False)
    shuffled = ["fare-paid", "2nd town", "id", "sex", "age of owner"]
    backend = serve(graph, shuffled, task="binary", labels=(False, True))
    assert [each.name for each in backend.model.features] == list(mixed_frame)
    assert backend.model.input_names == (
        "age_of_owner",
        "sex",
        "fare_paid",
        "_2nd_town",
    )
    data = mixed_columns(mixed_frame)
    feed = {
        name: mixed_frame[[column]].to_numpy()
        for name, column in zip(backend.model.input_names, mixed_frame, strict=True)
    }
    feed = {
        name: each.astype(object if name in ("sex", "_2nd_town") else np.float32)
        for name, each in feed.items()
    }
    expected = by_hand(graph, feed)["probabilities"][:, 1:]
    np.testing.assert_array_equal(backend.predict(data), expected)
    np.testing.assert_allclose(
        backend.predict(data), model.predict_proba(mixed_frame)[:, 1:], atol=1e-5
    )


def test_decoded_records_score_like_the_frame(
    mixed_frame: pd.DataFrame, serve: Serve
) -> None:
    model = mixed_model(mixed_frame)
    backend = serve(convert(model, mixed_frame), list(mixed_frame), task="binary")
    records = mixed_frame.to_dict("records")
    decoded = Decoder(backend.model.features).from_records(records)
    np.testing.assert_array_equal(
        backend.predict(decoded), backend.predict(mixed_columns(mixed_frame))
    )


def test_rows_that_the_graph_refuses_are_a_data_error(
    mixed_frame: pd.DataFrame, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    model = mixed_model(mixed_frame, unknown="error")
    backend = serve(convert(model, mixed_frame), list(mixed_frame), task="binary")
    unseen = mixed_frame.assign(sex="none")
    with pytest.raises(
        DataError, match="^the model cannot score these rows: Unknown Category"
    ):
        backend.predict(mixed_columns(unseen))
    assert capfd.readouterr() == ("", "")


def test_wide_text_input_takes_all_columns(serve: Serve) -> None:
    texts = np.array([["a", "x"], ["b", "y"], ["a", "y"], ["b", "x"]], object)
    model = make_pipeline(OrdinalEncoder(), DecisionTreeRegressor(random_state=0))
    model.fit(texts, [1.0, 2.0, 3.0, 4.0])
    graph = convert(model, texts)
    backend = serve(graph, ["first", "second"])
    rows = np.tile(texts, (3, 1))
    data = columns(np.full((12, 2), np.nan), {0: rows[:, 0], 1: rows[:, 1]})
    np.testing.assert_array_equal(backend.predict(data)[:, 0], [1.0, 2.0, 3.0, 4.0] * 3)


def test_each_input_gets_its_declared_dtype(make_graph: Make, serve: Serve) -> None:
    kinds = {
        "single": TensorProto.FLOAT,
        "double": DOUBLE,
        "long": INT64,
        "int": TensorProto.INT32,
        "flag": TensorProto.BOOL,
    }
    nodes = [
        helper.make_node("Cast", [name], [f"{name} cast"], to=DOUBLE) for name in kinds
    ]
    nodes.append(helper.make_node("Sum", [f"{name} cast" for name in kinds], ["Y"]))
    graph = make_graph(
        nodes,
        {name: (kind, [None, 1]) for name, kind in kinds.items()},
        {"Y": (DOUBLE, [None, 1])},
    )
    backend = serve(graph, list(kinds))
    row = np.array([[0.1, 0.1, 2.0**53, -(2.0**31) + 1, 1.0]])
    single = float(np.float32(0.1))
    expected = single + 0.1 + 2.0**53 - 2.0**31 + 1 + 1
    assert backend.predict(columns(row))[0, 0] == pytest.approx(expected, rel=1e-15)
    assert [each.dtype for each in backend.model.features] == [
        "float32",
        "float64",
        "int64",
        "int64",
        "int64",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (INT64, 1.5, "column 'b': 1.5 is not an int64"),
        (INT64, 2.0**60, "is not an int64"),
        (INT64, np.nan, "column 'b': nan is not an int64"),
        (TensorProto.INT32, 3e9, r"column 'b': 3e\+09 is not an int32"),
        (TensorProto.BOOL, 2.0, "column 'b': 2 is not true or false"),
    ],
)
def test_number_that_does_not_fit_its_dtype_is_a_data_error(
    make_graph: Make, serve: Serve, kind: int, value: float, message: str
) -> None:
    nodes = [
        helper.make_node("Cast", ["X"], ["cast"], to=DOUBLE),
        helper.make_node("ReduceSum", ["cast", "axes"], ["Y"]),
    ]
    graph = make_graph(
        nodes,
        {"X": (kind, [None, 3])},
        {"Y": (DOUBLE, [None, 1])},
        {"axes": np.array([1])},
    )
    rows = np.array([[0.0, 1.0, 1.0], [0.0, value, 1.0]])
    with pytest.raises(DataError, match=message):
        serve(graph).predict(columns(rows))


def test_double_inputs_keep_their_precision(linear_graph: Make, serve: Serve) -> None:
    backend = serve(linear_graph(kind=DOUBLE))
    rows = np.array([[2.0**24 + 1, 0, 0], [1e300, 0, 0]])
    np.testing.assert_array_equal(backend.predict(columns(rows))[:, 0], rows[:, 0])


def test_non_finite_answers_pass_through(linear_graph: Make, serve: Serve) -> None:
    backend = serve(linear_graph())
    rows = np.array([[1e300, 0, 0], [np.nan, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(
        backend.predict(columns(rows))[:, 0], [np.inf, np.nan, 1.0]
    )


@pytest.mark.parametrize("fixed", [1, 7])
def test_graph_of_a_fixed_number_of_rows_scores_any(
    linear_graph: Make, serve: Serve, matrix: NDArray[np.float32], fixed: int
) -> None:
    backend = serve(linear_graph(rows=fixed))
    expected = linear_answers(linear_graph, matrix)
    for count in (1, 6, 7, 8, 20):
        np.testing.assert_array_equal(
            backend.predict(columns(matrix[:count])), expected[:count]
        )


def linear_answers(linear_graph: Make, matrix: NDArray[np.float32]) -> NDArray[Any]:
    answer: NDArray[Any] = by_hand(linear_graph(), {"X": matrix})["Y"]
    return answer


def test_open_width_takes_the_columns_that_are_named(
    linear_graph: Make, serve: Serve, matrix: NDArray[np.float32]
) -> None:
    graph = linear_graph()
    graph.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    backend = serve(graph, in_order=True)
    np.testing.assert_array_equal(
        backend.predict(columns(matrix)), linear_answers(linear_graph, matrix)
    )


def test_flat_inputs_are_fed_flat(make_graph: Make, serve: Serve) -> None:
    graph = make_graph(
        [helper.make_node("Sub", ["a", "b"], ["Y"])],
        {"a": (DOUBLE, [None]), "b": (DOUBLE, [None])},
        {"Y": (DOUBLE, [None])},
    )
    backend = serve(graph, ["b", "a"])
    rows = np.array([[5.0, 1.0], [7.0, 2.0]])
    np.testing.assert_array_equal(backend.predict(columns(rows)), [[4.0], [5.0]])


def test_many_rows_are_scored_in_chunks(
    serve: Serve, matrix: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RandomForestClassifier(5, max_depth=4, random_state=0)
    model.fit(matrix, classes(matrix, [0, 1, 2]))
    graph = convert(model, matrix, zipmap=False)
    backend = serve(graph, task="multiclass")
    monkeypatch.setattr(backends.onnx, "_CHUNK_ROWS", 32)
    sizes = []
    run = backend._run

    def counted(data: Columns, rows: slice) -> NDArray[np.float64]:
        values = run(data, rows)
        sizes.append(len(values))
        return values

    monkeypatch.setattr(backend, "_run", counted)
    np.testing.assert_array_equal(
        backend.predict(columns(matrix)),
        by_hand(graph, {"X": matrix})["probabilities"],
    )
    assert sizes == [32] * 9 + [12]


def train(objective: str, **more: Any) -> tuple[lightgbm.Booster, NDArray[Any]]:
    rows = np.random.default_rng(3).normal(size=(500, 4)).round(3)
    target = np.digitize(rows[:, 0] + rows[:, 1] ** 2, [0.5, 1.5]).astype(float)
    settings = {"objective": objective, "verbose": -1, "num_threads": 1, **more}
    if objective == "binary":
        target = target.clip(max=1)
    return lightgbm.train(settings, lightgbm.Dataset(rows, target), 10), rows


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("binary", {}),
        ("multiclass", {"num_class": 3}),
        ("regression", {}),
        ("poisson", {}),
    ],
)
def test_converted_lightgbm_models_answer_as_the_booster(
    serve: Serve, objective: str, more: dict[str, Any], zipmap: bool
) -> None:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster, rows = train(objective, **more)
    graph = convert_lightgbm(
        booster, initial_types=[("X", FloatTensorType([None, 4]))], zipmap=zipmap
    )
    task = objective if objective in ("binary", "multiclass") else "regression"
    backend = serve(graph, ["a", "b", "c", "d"], task=task)
    expected = np.asarray(booster.predict(rows, num_threads=1))
    # The graph adds its trees up in float32.
    np.testing.assert_allclose(
        backend.predict(columns(rows)), expected.reshape(len(rows), -1), atol=2e-6
    )


@pytest.mark.parametrize(
    ("task", "labels", "weights"),
    [
        ("regression", (), [[1.0, 2.0]]),
        ("binary", (0, 1), [[1.0, 2.0, 3.0]]),
        ("multiclass", (0, 1, 2), [[1.0, 2.0]]),
        ("multiclass", (0, 1, 2), [[1.0]]),
    ],
)
def test_answer_of_another_width_is_refused(
    linear_graph: Make, serve: Serve, task: str, labels: Any, weights: Any
) -> None:
    backend = serve(linear_graph(weights=weights), ["a"], task=task, labels=labels)
    with pytest.raises(ModelFileRejected, match=rf"not what a {task} model .* answers"):
        backend.predict(columns(np.ones((2, 1))))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_answer_that_is_not_row_by_row_is_refused(
    make_graph: Make, serve: Serve, keepdims: int
) -> None:
    node = helper.make_node("ReduceMean", ["X"], ["Y"], axes=[0], keepdims=keepdims)
    graph = make_graph([node], {"X": (DOUBLE, [None, 1])}, {"Y": (DOUBLE, None)})
    with pytest.raises(ModelFileRejected, match=r"the shape \(1,.* for 3 rows"):
        serve(graph, ["a"]).predict(columns(np.ones((3, 1))))


def test_card_and_graph_must_agree(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    backend = serve(linear_graph())
    folder = tmp_path / "bundle"
    model = backend.model
    text = replace(model.features[0], kind="text", dtype="string", missing="empty")
    for wrong, reason in (
        (replace(model, output="Z"), "no output 'Z'"),
        (
            replace(model, features=model.features[:2]),
            "takes 3 columns, the card has 2",
        ),
        (
            replace(model, features=(text, *model.features[1:])),
            "'a' is text, input 'X'",
        ),
    ):
        with pytest.raises(ModelFileRejected, match=f"{reason}.*package the model"):
            OnnxBackend(folder, wrong)


def test_bundle_made_by_hand_cannot_read_outside(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    """onnxruntime's own guard, for files that never went through `inspect`."""
    backend = serve(linear_graph())
    path = tmp_path / "bundle" / "model.onnx"
    (path.parent.parent / "secret").write_bytes(np.ones(3, np.float32).tobytes())
    graph = linear_graph()
    weights = next(each for each in graph.graph.initializer if each.name == "W")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../secret")
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileRejected, match="cannot load"):
        OnnxBackend(path.parent, backend.model)


def test_onnxruntimes_own_format_is_not_served(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    backend = serve(linear_graph())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "bundle" / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(tmp_path / "bundle" / "model.onnx"), options)
    with pytest.raises(ModelFileRejected, match="cannot load model.ort"):
        OnnxBackend(tmp_path / "bundle", replace(backend.model, file="model.ort"))


def test_session_keeps_to_one_thread_and_the_cpu(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    session = serve(linear_graph())._session
    options = session.get_session_options()
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert not options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_memory_counts_weights_beside_the_graph(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    backend = serve(linear_graph())
    folder = tmp_path / "bundle"
    graph = (folder / "model.onnx").stat().st_size
    for name in ("weights.bin", "golden.json", "reference.parquet"):
        (folder / name).write_bytes(b"\0" * 1000)
    assert backend.nbytes == 6 * graph
    assert OnnxBackend(folder, backend.model).nbytes == 6 * graph + 1000


def test_one_backend_serves_many_threads(
    serve: Serve, matrix: NDArray[np.float32]
) -> None:
    model = RandomForestClassifier(20, max_depth=4, random_state=0)
    model.fit(matrix, classes(matrix, ["a", "b", "c"]))
    backend = serve(convert(model, matrix), task="multiclass")
    parts = [columns(matrix[start:]) for start in range(0, 296, 5)] * 5
    expected = [backend.predict(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for answer, right in zip(
            pool.map(backend.predict, parts), expected, strict=True
        ):
            np.testing.assert_array_equal(answer, right)


def python(code: str, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    root = Path(backends.onnx.__file__).parents[1]
    environment = {"HOME": str(home), "PYTHONPATH": str(root), "PATH": os.defpath}
    return subprocess.run(
        [sys.executable, "-c", code, *more],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_telemetry_is_off_before_onnxruntime_loads(
    linear_graph: Make, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    code = """
import builtins, os, sys
import backends.features
before = set(sys.modules)
plain, seen = builtins.__import__, []
def watched(name, *more):
    if name.partition(".")[0] == "onnxruntime":
        seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
    return plain(name, *more)
builtins.__import__ = watched
from pathlib import Path
from backends.onnx import open_session
open_session(Path(sys.argv[1]))
assert set(seen) == {"1"}, seen
heavy = {"onnx", "pandas", "lightgbm", "google.protobuf", "sklearn", "shap"}
loaded = set(sys.modules) - before
assert "onnxruntime" in loaded and not heavy & loaded, heavy & loaded
"""
    home = tmp_path / "home"
    home.mkdir()
    ran = python(code, home, str(save(linear_graph())))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert list(home.rglob("*")) == []


def test_onnxruntime_imported_too_early_is_refused(tmp_path: Path) -> None:
    # Off once imported, so that this test itself reports nothing.
    code = """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
del os.environ["ORT_DISABLE_TELEMETRY"]
import backends.onnx
"""
    ran = python(code, tmp_path)
    assert ran.returncode == 1
    assert "RuntimeError: onnxruntime was imported with its telemetry on" in ran.stderr


def test_inspection_and_serving_read_the_same_inputs(
    linear_graph: Make, serve: Serve, tmp_path: Path
) -> None:
    backend = serve(linear_graph())
    assert inspect(tmp_path / "bundle" / "model.onnx").inputs == backend._inputs
