"""A graph and its io.json become a bundle; files are read in a sandbox."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from app.bundling import PackagingRefused
from app.config import Config
from app.model_cache import ServedTensors, load
from app.rows.packaging import TensorOptions, TensorReport, package, read_graph
from app.validation import validate
from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.strict_json import SpecError
from tests.tensors import FLOAT, columns_graph, graph_of, save

CONFIG = Config()


@pytest.fixture
def packaged(tmp_path: Path) -> Callable[..., TensorReport]:
    """Packages a graph with an io.json of this content."""

    def made(graph: Path, content: Any = None, **options: Any) -> TensorReport:
        io = tmp_path / "io.json"
        io.write_text(json.dumps(content or {}))
        given = {"out": tmp_path / "bundle"} | options
        return package(TensorOptions(model=graph, io=io, **given), CONFIG)

    return made


def test_classifier_is_served_without_its_zip_map(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    x = np.random.default_rng(1).normal(0, 1, (40, 3)).astype(np.float32)
    fitted = LogisticRegression().fit(x, np.where(x[:, 0] > 0, "yes", "no"))
    graph = save(to_onnx(fitted, x[:1]), tmp_path / "zipped.onnx")
    content = {"outputs": {"class": {"tensor": "probabilities"}}}
    report = packaged(graph, content, name="Yes or no")
    served = load(report.folder, None)
    assert isinstance(served, ServedTensors)
    assert served.model.name == "Yes or no"
    row = served.backend.decode({"X": x[0].tolist()}, 0, 1)
    [answer] = served.backend.answer([row])
    assert answer["class"] == pytest.approx(fitted.predict_proba(x[:1])[0], abs=1e-6)
    assert report.spec.outputs[0].labels == ("no", "yes")


def test_weights_beside_the_graph_come_along(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    proto, path = columns_graph(), tmp_path / "m.onnx"
    onnx.save_model(
        proto, path, save_as_external_data=True, location="weights", size_threshold=0
    )
    report = packaged(path, tar=tmp_path / "m.tar")
    names = {each.name for each in report.folder.iterdir()}
    assert names == {"model.json", "model.onnx", "weights", "golden.json"}
    found = bundle.unpack(tmp_path / "m.tar", tmp_path / "unpacked")
    assert found == report.model
    (tmp_path / "bundle" / "weights").unlink()
    with pytest.raises(BundleRejected, match="'weights' is missing"):
        validate(report.folder, CONFIG)


def test_weights_with_a_name_of_the_bundles_are_refused(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    proto, path = columns_graph(), tmp_path / "m.onnx"
    onnx.save_model(
        *(proto, path),
        save_as_external_data=True,
        location="golden.json",
        size_threshold=0,
    )
    with pytest.raises(ModelFileRejected, match="'golden.json' has a name"):
        packaged(path)
    assert not (tmp_path / "bundle").exists()


def test_same_bundle_is_made_of_the_same_files(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    graph = save(columns_graph(), tmp_path / "m.onnx")
    first = packaged(graph, out=tmp_path / "1")
    assert packaged(graph, out=tmp_path / "2").model == first.model


def test_nothing_is_left_where_something_is_refused(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    graph = save(columns_graph(), tmp_path / "m.onnx")
    with pytest.raises(SpecError, match="inputs.z"):
        packaged(graph, {"inputs": {"z": {}, "x": {}}})
    (tmp_path / "samples.json").write_text('{"rows": [{"x": "a"}]}')
    with pytest.raises(ModelFileRejected, match="row 0, input 'x'"):
        packaged(graph, samples=tmp_path / "samples.json")
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"m.onnx", "io.json", "samples.json"}


def test_folder_that_holds_something_is_not_replaced(
    tmp_path: Path, packaged: Callable[..., TensorReport]
) -> None:
    with pytest.raises(PackagingRefused, match="is not empty"):
        packaged(save(columns_graph(), tmp_path / "m.onnx"), out=tmp_path)


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("model.txt", b"tree\n", "no ONNX file"),
        ("model.onnx", b"tree\n", "no ONNX file"),
        ("model.pkl", b"\x80\x04", "no ONNX file"),
        ("model.onnx", b"\x80\x04", "is not an ONNX file"),
        ("model.onnx", b"", "holds no graph"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileRejected, match=text):
        read_graph(tmp_path / name, CONFIG)


def test_graph_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Expand", ["x", "size"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["y"], axes=[1], keepdims=0),
    ]
    graph = graph_of(
        nodes,
        {"x": (FLOAT, ["n", 1])},
        {"y": (FLOAT, ["n"])},
        {"size": np.array([1, 2**33])},
    )
    with pytest.raises(ModelFileRejected, match="memory|alloc"):
        read_graph(save(graph, tmp_path / "m.onnx"), CONFIG)


def test_graph_that_takes_no_end_is_refused(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["each"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("each", FLOAT, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, ["n", 1]),
        ],
    )
    graph = graph_of(
        [helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)],
        {"x": (FLOAT, ["n", 1])},
        {"y": (FLOAT, ["n", 1])},
        {"true": np.array(True)},
    )
    path = save(graph, tmp_path / "m.onnx")
    with pytest.raises(ModelFileRejected, match="FORETELL_MODEL_SECONDS"):
        read_graph(path, Config(model_seconds=1))
