"""Rows of named values through real graphs, against onnxruntime and numpy by hand."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from backends.base import ModelFileRejected
from backends.features import DataError
from backends.onnx import open_session
from backends.tensors import backend as module
from backends.tensors import npy
from backends.tensors.answers import RowWriter
from backends.tensors.pixels import Pixels
from backends.tensors.refusals import DataUrlInvalid, FeatureMissing, TypeMismatch
from backends.tensors.sent import Upload, read_data_url
from tests.tensor_backends import backend_of
from tests.tensors import (
    BOOL,
    FLOAT,
    INT64,
    columns_graph,
    fixed_classifier,
    graph_of,
    many_sided,
    open_axes,
    picture_classifier,
    picture_to_picture,
    text_to_text,
)

PIXELS = Pixels(10**6, 10**9)
DIGIT = {"inputs": {"x": {"type": "image", "shape": [8, 8, 1]}}}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def answer(backend, *rows):
    return backend.answer(
        [backend.decode(row, number, PIXELS) for number, row in enumerate(rows)]
    )


def written(backend, *rows, tensor_json=True):
    writer = RowWriter(backend.spec, tensor_json=tensor_json)
    decoded = [backend.decode(row, number, PIXELS) for number, row in enumerate(rows)]
    parts = [row for batch in backend.run(decoded) for row in writer.rows(batch)]
    return [json.loads(part) for part in parts]


def test_pictures_are_scored_as_the_graph_scores_their_pixels(tmp_path: Path):
    backend = backend_of(tmp_path, picture_classifier(), DIGIT)
    pictures = np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    found = written(backend, *({"x": url(png(each))} for each in pictures))
    session = open_session(tmp_path / "model.onnx")
    tensor = (pictures[:, None] / 255).astype(np.float32)
    (expected,) = session.run(None, {"x": tensor})
    for row, scores in zip(found, expected, strict=True):
        assert list(row["probs"]) == [str(label) for label in range(10)]
        np.testing.assert_allclose(list(row["probs"].values()), scores, rtol=1e-6)


def test_picture_may_be_a_file(tmp_path: Path):
    backend = backend_of(tmp_path, picture_classifier(), DIGIT)
    data = png(np.full((8, 8), 77, np.uint8))
    as_url, as_file = answer(backend, {"x": url(data)}, {"x": Upload(data)})
    assert (as_url["probs"] == as_file["probs"]).all()


def test_values_of_every_type_and_rank_reach_their_tensors(tmp_path: Path):
    backend = backend_of(tmp_path, many_sided())
    series = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
    row = {
        "series": series.tolist(),
        "sizes": {"shape": [2], "data": [3, 0.5]},
        "count": 3,
        "flag": True,
        "word": "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
    }
    names = [each.name for each in open_session(tmp_path / "model.onnx").get_outputs()]
    feed = {
        "series": series[None],
        "sizes": np.array([[3, 0.5]], np.float32),
        "count": np.array([3], np.int64),
        "flag": np.array([[True]]),
        "word": np.array([[row["word"]]], object),
    }
    answers = open_session(tmp_path / "model.onnx").run(None, feed)
    expected = dict(zip(names, answers, strict=True))
    (found,) = answer(backend, row)
    assert list(found) == names
    for name in names:
        assert found[name].ravel().tolist() == expected[name].ravel().tolist(), name


def test_arrays_come_in_every_form_alike(tmp_path: Path):
    backend = backend_of(tmp_path, columns_graph())
    values = np.array([1, 2.5, -3, 0, 1e-3, 7], np.float32)
    as_npy = npy.write(values)
    forms = [
        values.tolist(),
        {"shape": [6], "data": values.tolist()},
        f"data:{npy.NPY};base64," + base64.b64encode(as_npy).decode(),
        Upload(as_npy),
        json.dumps(values.tolist()),
    ]
    found = [each["y"].tolist() for each in answer(backend, *({"x": f} for f in forms))]
    assert found == [found[0]] * len(forms)


def test_fields_of_one_tensor_are_its_columns(tmp_path: Path):
    one_by_one = {
        "inputs": {
            "a": {"tensor": "x", "shape": [2]},
            "kind": {
                **{"tensor": "x", "type": "categorical"},
                **{"labels": ["u", "v", "w"], "encoding": "one-hot"},
            },
            "b": {"tensor": "x", "type": "binary"},
        },
        "outputs": {
            "scores": {"tensor": "y", "type": "categorical", "labels": ["p", "q"]},
            "rest": {"tensor": "y", "shape": [3]},
        },
    }
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = backend_of(tmp_path / "whole", columns_graph())
    parts = backend_of(tmp_path / "parts", columns_graph(), one_by_one)
    (expected,) = answer(whole, {"x": [1, 2, 0, 1, 0, 1]})
    row = {"a": [1, 2], "kind": "v", "b": "true"}
    (found,) = answer(parts, row)
    assert found["scores"].tolist() == expected["y"][:2].tolist()
    assert found["rest"].tolist() == expected["y"][2:].tolist()
    (told,) = written(parts, row)
    assert list(told) == ["scores", "rest"]
    assert list(told["scores"]) == ["p", "q"]
    assert told["rest"]["shape"] == [3]


def test_picture_comes_back_as_a_picture(tmp_path: Path):
    side = {"type": "image", "shape": [8, 8, 3]}
    backend = backend_of(
        tmp_path,
        picture_to_picture(),
        {"inputs": {"photo": side}, "outputs": {"negative": side}},
    )
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (row,) = written(backend, {"photo": url(png(pixels))})
    media_type, data = read_data_url(row["negative"])
    assert media_type == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(data))) == 255 - pixels).all()


def test_texts_come_back_as_texts(tmp_path: Path):
    backend = backend_of(tmp_path, text_to_text())
    rows = written(backend, {"text": "gr\u00fc\u00df Gott"}, {"text": "good day"})
    assert rows == [{"reply": "servus"}, {"reply": "good evening"}]


def test_arrays_are_told_as_older_clients_read_them(tmp_path: Path):
    backend = backend_of(tmp_path, columns_graph())
    row = {"x": [1, 2, 3, 4, 5, 6]}
    (as_json,) = written(backend, row)
    (as_npy,) = written(backend, row, tensor_json=False)
    media_type, data = read_data_url(as_npy["y"])
    assert media_type == npy.NPY
    values = np.load(io.BytesIO(data))
    assert list(values.shape) == as_json["y"]["shape"]
    assert values.tolist() == np.float32(as_json["y"]["data"]).tolist()


def test_rows_of_other_lengths_are_answered_by_themselves(tmp_path: Path):
    backend = backend_of(tmp_path, open_axes())
    sent = [np.arange(2 * n, dtype=np.float32).reshape(n, 2) for n in (3, 3, 1, 5, 3)]
    found = answer(backend, *({"steps": each.tolist()} for each in sent))
    for each, row in zip(sent, found, strict=True):
        np.testing.assert_allclose(row["mean"], each.mean(axis=0), rtol=1e-6)
        assert (row["twice"] == 2 * each).all()


def test_graph_for_one_row_answers_many(tmp_path: Path):
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    one = backend_of(tmp_path / "one", fixed_classifier(), DIGIT)
    many = backend_of(tmp_path / "many", picture_classifier(), DIGIT)
    rows = [{"x": url(png(np.full((8, 8), n, np.uint8)))} for n in (0, 99, 255)]
    for left, right in zip(answer(one, *rows), answer(many, *rows), strict=True):
        np.testing.assert_allclose(left["probs"], right["probs"], rtol=1e-6)


def test_rows_that_do_not_fill_a_fixed_batch_keep_their_own_answers(tmp_path: Path):
    for name in ("three", "many"):
        (tmp_path / name).mkdir()
    three = backend_of(tmp_path / "three", picture_classifier(rows=3), DIGIT)
    many = backend_of(tmp_path / "many", picture_classifier(), DIGIT)
    noise = np.random.default_rng(9).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    rows = [{"x": url(png(each))} for each in noise]
    for count in (1, 2, 3, 4, 5):
        found = answer(three, *rows[:count])
        alone = [answer(many, row)[0] for row in rows[:count]]
        for left, right in zip(found, alone, strict=True):
            np.testing.assert_allclose(left["probs"], right["probs"], rtol=1e-5)


def test_booleans_are_answered_as_numbers(tmp_path: Path):
    graph = graph_of(
        [helper.make_node("Greater", ["x", "zero"], ["y"])],
        {"x": (FLOAT, ["n", 3])},
        {"y": (BOOL, ["n", 3])},
        {"zero": np.zeros(3, np.float32)},
    )
    [row] = written(backend_of(tmp_path, graph), {"x": [1, -1, 2]})
    assert row == {"y": {"shape": [3], "data": [1, 0, 1]}}
    assert all(type(each) is int for each in row["y"]["data"])


def test_row_that_the_graph_refuses_is_named_among_others(tmp_path: Path):
    graph = graph_of(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        {"x": (INT64, ["n"])},
        {"y": (FLOAT, ["n"])},
        {"table": np.arange(10, dtype=np.float32) ** 2},
    )
    backend = backend_of(tmp_path, graph)
    assert [each["y"].item() for each in answer(backend, {"x": 3}, {"x": 5})] == [9, 25]
    decoded = [backend.decode({"x": n}, 0, PIXELS) for n in (1, 2, 99, 3)]
    with pytest.raises(DataError, match="^row 102: the model cannot score this row"):
        list(backend.run(decoded, first_row=100))


def test_answer_of_another_shape_is_refused(tmp_path: Path):
    graph = graph_of(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])],
        {"x": (FLOAT, ["n", "a", "b"])},
        {"y": (FLOAT, ["n", "b", "a"])},
    )
    described = {"shape": [2, 3]}
    io = {"inputs": {"x": described}, "outputs": {"y": described}}
    backend = backend_of(tmp_path, graph, io)
    with pytest.raises(ModelFileRejected, match=r"has the shape \(3, 2\) for a row"):
        answer(backend, {"x": [[1, 2, 3], [4, 5, 6]]})


def test_softmax_of_nothing_finite_is_refused(tmp_path: Path):
    described = {"y": {"type": "categorical", "activation": "softmax"}}
    graph = graph_of(
        [helper.make_node("Log", ["x"], ["y"])],
        {"x": (FLOAT, ["n", 3])},
        {"y": (FLOAT, ["n", 3])},
    )
    backend = backend_of(tmp_path, graph, {"outputs": described})
    with pytest.raises(DataError, match="row 0: the model's output 'y' is not"):
        answer(backend, {"x": [0, 0, 0]})


def test_pictures_of_a_request_share_a_budget(tmp_path: Path):
    backend = backend_of(tmp_path, picture_classifier(), DIGIT)
    row = {"x": url(png(np.zeros((10, 10), np.uint8)))}
    pixels = Pixels(100, 250)
    backend.decode(row, 0, pixels)
    backend.decode(row, 1, pixels)
    with pytest.raises(DataError, match="row 2, input 'x': .* more than 250 pixels"):
        backend.decode(row, 2, pixels)


def test_rows_beyond_a_batch_are_answered_in_order(tmp_path: Path, monkeypatch):
    backend = backend_of(tmp_path, columns_graph())
    rows = [{"x": [n, 1, 2, 3, 4, 5]} for n in range(50)]
    at_once = [each["y"].tolist() for each in answer(backend, *rows)]
    # Seven rows of six float32 each.
    monkeypatch.setattr(module, "_MOST_BYTES", 7 * 24)
    in_batches = [each["y"].tolist() for each in answer(backend, *rows)]
    np.testing.assert_allclose(in_batches, at_once, rtol=1e-6)
    decoded = [backend.decode(row, 0, PIXELS) for row in rows]
    sizes = [len(batch["y"]) for batch in backend.run(decoded)]
    assert sizes == [7] * 7 + [1]


def test_activation_makes_scores_of_raw_outputs(tmp_path: Path):
    for name in ("raw", "softmax", "sigmoid"):
        (tmp_path / name).mkdir()
    row = {"x": [30, -2, 3, 4, 5, 6]}
    (raw,) = answer(backend_of(tmp_path / "raw", columns_graph()), row)
    values = raw["y"].astype(np.float64)
    for name, expected in (
        ("softmax", np.exp(values) / np.exp(values).sum()),
        ("sigmoid", 1 / (1 + np.exp(-values))),
    ):
        described = {"type": "categorical", "activation": name}
        backend = backend_of(
            tmp_path / name, columns_graph(), {"outputs": {"y": described}}
        )
        (found,) = answer(backend, row)
        np.testing.assert_allclose(found["y"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "error", "text"),
    [
        ({}, FeatureMissing, "row 0, input 'x': the row does not have it"),
        ({"y": 1}, FeatureMissing, "row 0, input 'x'"),
        ({"x": "AAAA"}, DataUrlInvalid, "a data URL"),
        ({"x": "data:text/plain;base64,AAAA"}, DataUrlInvalid, "'text/plain'"),
        ({"x": "data:image/png;base64,*"}, DataUrlInvalid, "row 0, input 'x': "),
        ({"x": "data:image/png;base64,AAAA"}, DataError, "row 0, input 'x': "),
        ({"x": None}, TypeMismatch, "not null"),
        ({"x": 1.5}, TypeMismatch, "not 1.5"),
        ({"x": [[0] * 8] * 8}, TypeMismatch, "not an array"),
        ({"x": {"shape": [1], "data": [1]}}, TypeMismatch, "not an object"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, row, error, text):
    backend = backend_of(tmp_path, picture_classifier(), DIGIT)
    with pytest.raises(error) as raised:
        backend.decode(row, 0, PIXELS)
    assert type(raised.value) is error
    assert text in str(raised.value)


def test_what_is_no_text_is_refused(tmp_path: Path):
    backend = backend_of(tmp_path, text_to_text())
    for value in (None, float("nan"), ["a"], {"a": 1}):
        with pytest.raises(TypeMismatch, match="a text is expected"):
            backend.decode({"text": value}, 0, PIXELS)
    with pytest.raises(DataError, match="no text in UTF-8"):
        backend.decode({"text": Upload(b"\xff")}, 0, PIXELS)


def test_class_that_is_none_is_refused(tmp_path: Path):
    described = {
        "a": {"tensor": "x", "shape": [5]},
        "b": {"tensor": "x", "type": "categorical", "labels": ["1", "true", "c"]},
    }
    backend = backend_of(tmp_path, columns_graph(), {"inputs": described})
    codes = [
        backend.decode({"a": [0] * 5, "b": value}, 0, PIXELS)["x"][-1]
        for value in (1, "1", 1.0, True, "true", "c")
    ]
    assert codes == [0, 0, 0, 1, 1, 2]
    for value in ("d", 2, "", "C"):
        with pytest.raises(DataError, match="is none of the classes '1', 'true', 'c'"):
            backend.decode({"a": [0] * 5, "b": value}, 7, PIXELS)


def test_answer_that_is_no_number_names_row_and_output(tmp_path: Path):
    backend = backend_of(tmp_path, columns_graph())
    huge = 3e38
    rows = [{"x": [1] * 6}, {"x": [huge, huge, -huge, huge, huge, huge]}]
    with pytest.raises(DataError, match="row 1: the model's output 'y' is not a fin"):
        answer(backend, *rows)


def test_card_of_another_graph_is_refused(tmp_path: Path):
    backend = backend_of(tmp_path, columns_graph())
    (tmp_path / "model.onnx").write_bytes(text_to_text().SerializeToString())
    with pytest.raises(ModelFileRejected, match="package the model again"):
        module.TensorBackend(tmp_path, backend.model)
