"""Graphs of raw tensors over HTTP, in every form that requests come in."""

from __future__ import annotations

import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from backends.onnx import open_session

NPY = "application/x-npy"
JSON = "application/json"


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_npy(answer):
    assert answer.status_code == 200, answer.data
    return np.load(io.BytesIO(answer.data), allow_pickle=False)


def plain(send, name, feed):
    """What the library itself answers, by output."""
    deployment = send.services.store.deployment(send.site.deployments[name])
    folder = send.services.bundles.path(deployment.model_id)
    session = open_session(folder / "model.onnx")
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.fixture
def matrix():
    return np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)


@pytest.mark.parametrize("kind", [NPY, "application/octet-stream", None])
@pytest.mark.parametrize("layout", ["unstructured", "serverless unstructured"])
def test_npy_is_answered_npy(send, matrix, kind, layout):
    answer = send("matrix", npy_of(matrix), kind, layout=layout)
    np.testing.assert_allclose(
        read_npy(answer), plain(send, "matrix", {"x": matrix})["y"], rtol=1e-5
    )
    assert answer.content_type == (NPY if kind == NPY else "application/octet-stream")


@pytest.mark.parametrize(
    "form",
    [
        lambda array: array.tolist(),
        lambda array: {"x": array.tolist()},
        lambda array: {"x": {"shape": [7, 6], "data": array.ravel().tolist()}},
        lambda array: {"shape": [7, 6], "data": array.ravel().tolist()},
    ],
)
@pytest.mark.parametrize("kind", [JSON, "text/plain; charset=utf-8", None])
def test_json_is_answered_json(send, matrix, form, kind):
    answer = send("matrix", json.dumps(form(matrix)), kind)
    expected = plain(send, "matrix", {"x": matrix})["y"]
    np.testing.assert_allclose(answer.json["y"], expected, rtol=1e-5)
    assert answer.content_type == JSON


def test_many_rows_are_whole_and_in_order(send):
    rows = np.random.default_rng(2).normal(size=(5000, 6)).astype(np.float32)
    expected = plain(send, "matrix", {"x": rows})["y"]
    found = read_npy(send("matrix", npy_of(rows), NPY))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_several_outputs_come_as_an_archive(send):
    steps = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    answer = send("steps", npy_of(steps), NPY)
    assert answer.content_type == "application/x-npz"
    with np.load(io.BytesIO(answer.data), allow_pickle=False) as found:
        np.testing.assert_allclose(found["mean"], steps.mean(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(found["twice"], 2 * steps)


def test_same_request_has_the_same_archive(send):
    steps = np.ones((2, 3, 2), np.float32)
    first, second = (send("steps", npy_of(steps), NPY).data for _ in range(2))
    assert first == second


def test_several_inputs_come_by_name(send):
    body = {
        "series": np.ones((2, 3, 4)).tolist(),
        "sizes": [[1, 2], [3, 4]],
        "count": [10, 2**10],
        "flag": [[True], [False]],
        "word": [["hé"], [""]],
    }
    found = send("many", json.dumps(body), JSON).json
    assert found["said"] == [["hé"], [""]]
    assert found["total"] == [22.0, 1036.0]
    assert found["sums"] == [[3.0] * 4] * 2
    assert found["scaled"][1] == [[7.0] * 4] * 3
    np.testing.assert_allclose(found["chance"], [[0.622459], [0.377541]], rtol=1e-5)


def test_text_is_the_only_input(send):
    answer = send("echo", "grüß Gott".encode(), "text/plain")
    assert answer.json == {"reply": ["servus"]}
    latin = "grüß Gott".encode("latin-1")
    answer = send("echo", latin, "text/plain; charset=latin-1")
    assert answer.json == {"reply": ["servus"]}
    assert send("echo", b'["good day", "x"]', JSON).json == {
        "reply": ["good evening", "pardon?"]
    }


def test_picture_is_decoded_as_its_card_says(send):
    levels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    for kind in ("image/png", "image/whatever", "application/octet-stream", None):
        found = send("negative", file.getvalue(), kind).json["negative"]
        np.testing.assert_allclose(found, [1 - levels / 255], atol=1e-6)


def test_picture_may_come_as_the_tensor_itself(send):
    photo = np.random.default_rng(3).random((2, 8, 8, 3)).astype(np.float32)
    found = read_npy(send("negative", npy_of(photo), NPY))
    np.testing.assert_allclose(found, 1 - photo, atol=1e-6)


def test_graph_of_one_row_takes_any_number(send):
    rows = np.random.default_rng(4).random((3, 1, 8, 8)).astype(np.float32)
    found = read_npy(send("fixed", npy_of(rows), NPY))
    alone = [plain(send, "fixed", {"x": row[None]})["probs"][0] for row in rows]
    np.testing.assert_allclose(found, alone, rtol=1e-5)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (
            np.zeros((2, 6)),
            "input 'x': an array of float32 is expected, not of float64",
        ),
        (
            np.zeros((2, 5), np.float32),
            "input 'x': an array of the shape (any, 6) is expected, not (2, 5)",
        ),
        (
            np.zeros(6, np.float32),
            "input 'x': an array of the shape (any, 6) is expected, not (6,)",
        ),
        (
            np.zeros((0, 6), np.float32),
            "input 'x': an array of the shape (any, 6) is expected, not (0, 6)",
        ),
        (
            np.full((2, 6), np.nan, np.float32),
            "row 0: the model's output 'y' is not a finite number",
        ),
    ],
)
def test_other_arrays_are_refused(send, array, reason):
    answer = send("matrix", npy_of(array), NPY)
    assert (answer.status_code, answer.json["message"]) == (422, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[", "the body is not JSON: "),
        (
            '{"x": [[1,2,3,4,5,6]], "x": [[6,5,4,3,2,1]]}',
            "the body has the key 'x' twice in one object",
        ),
        ('{"x": {"shape": [1, 6], "data": [1], "data": [2]}}', "the body has the key"),
        ("5", "a list, or an object of the inputs by name is expected, not 5"),
        ("{}", "input 'x' is missing; the model takes 'x'"),
        ('{"x": [[1,2,3,4,5,6]], "z": 1}', "'z' is no input; the model takes 'x'"),
        ("[]", "input 'x': an array of the shape (any, 6) is expected, not (0,)"),
        ("[[1,2,3,4,5,null]]", "input 'x': at [0][5]: a number is expected, not null"),
        ('{"x": "AAAA"}', "input 'x': numbers are expected, not 'AAAA'"),
    ],
)
def test_other_json_is_refused(send, body, reason):
    answer = send("matrix", body, JSON)
    assert answer.status_code == 422
    assert answer.json["message"].startswith(reason), answer.json["message"]


def test_different_numbers_of_rows_are_refused(send):
    body = {"series": np.ones((2, 3, 4)).tolist(), "sizes": [[1, 2]], "count": [10, 2]}
    body |= {"flag": [[True], [False]], "word": [["a"], ["b"]]}
    answer = send("many", json.dumps(body), JSON)
    assert answer.status_code == 422
    assert "different numbers of rows: 'series' 2, 'sizes' 1" in answer.json["message"]


def test_texts_are_not_read_from_numbers(send):
    answer = send("echo", b"[5]", JSON)
    assert (answer.status_code, answer.json["message"]) == (
        422,
        "input 'text': a text is expected, not 5",
    )


def test_body_of_no_known_type_is_refused(send):
    answer = send("matrix", b"<x/>", "application/xml")
    assert answer.status_code == 415
    assert answer.json["message"] == (
        "The model takes application/json, application/x-npy, not a body of the type"
        " application/xml that is none of them"
    )


def test_picture_for_a_graph_of_none_is_refused(send):
    answer = send("matrix", b"\x89PNG", "image/png")
    assert answer.status_code == 422


def test_damaged_archive_is_refused(send):
    answer = send("steps", b"PK\x03\x04 and then nothing", None)
    assert (answer.status_code, answer.json["message"]) == (
        422,
        "the .npz file cannot be read",
    )


def test_archive_by_names_is_taken(send):
    file = io.BytesIO()
    np.savez_compressed(file, x=np.ones((2, 6), np.float32))
    answer = send("matrix", file.getvalue(), "application/x-npz")
    with np.load(io.BytesIO(answer.data)) as found:
        assert found["y"].shape == (2, 5)


def test_archive_that_grows_too_large_is_refused(serve_unstructured):
    ask = serve_unstructured(max_body=100_000)
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros((100_000, 6), np.float32))
    answer = ask("matrix", file.getvalue(), "application/x-npz", layout="unstructured")
    assert (answer.status_code, answer.json["message"]) == (
        422,
        "the .npz file has more than 100000 bytes",
    )


def test_limits_of_a_deployment_hold(send, matrix):
    few = send.deploy("matrix", rows_per_request=6)
    answer = send(few, npy_of(matrix), NPY)
    assert (answer.status_code, answer.json["message"]) == (
        413,
        "The request has more than 6 rows",
    )
    rare = send.deploy("matrix", requests_per_minute=1)
    assert send(rare, npy_of(matrix), NPY).status_code == 200
    assert send(rare, npy_of(matrix), NPY).status_code == 429


def test_answer_over_the_limit_is_refused(send):
    steps = np.ones((100_000, 1, 2), np.float32)
    answer = send("steps", npy_of(steps), NPY)
    assert (answer.status_code, answer.json["message"]) == (
        413,
        "The answer is larger than 1048576 bytes: send less at once",
    )


def test_picture_over_the_limit_is_refused(serve_unstructured):
    ask = serve_unstructured(max_pixels=63)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    body = file.getvalue()
    answer = ask("negative", body, "image/png", layout="unstructured")
    assert answer.status_code == 422
    assert "64 pixels, at most 63 are taken" in answer.json["message"]


def test_compressed_body_and_answer(send, matrix):
    rows = np.repeat(matrix, 100, axis=0)
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip, deflate"}
    answer = send("matrix", gzip.compress(npy_of(rows)), NPY, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert np.load(io.BytesIO(gzip.decompress(answer.data))).shape == (700, 5)


def test_body_in_chunks(send, matrix):
    assert read_npy(send("matrix", io.BytesIO(npy_of(matrix)), NPY)).shape == (7, 5)


def test_many_clients_get_their_own_answers(send):
    def ask(number):
        rows = np.full((number % 5 + 1, 6), number, np.float32)
        return read_npy(send("matrix", npy_of(rows), NPY))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(160)))
    (unit,) = plain(send, "matrix", {"x": np.ones((1, 6), np.float32)})["y"]
    for number, found in enumerate(answers):
        expected = np.tile(unit * number, (number % 5 + 1, 1))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
