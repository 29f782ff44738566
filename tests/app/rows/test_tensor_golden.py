"""Golden rows of graphs of named tensors: made up, answered plainly, replayed."""

import io
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from onnx import TensorProto, helper
from PIL import Image

from app.rows.golden import Answer, Golden, make, replay
from app.rows.made_up import make_rows
from app.rows.plain import PlainAnswers
from backends import bundle
from backends.base import ModelFileRejected
from backends.features import DataError
from backends.model import Model
from backends.strict_json import SpecError
from backends.tensors import io_json
from backends.tensors.from_graph import inspect
from tests.tensors import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT64,
    STRING,
    UINT8,
    columns_graph,
    graph_of,
    many_sided,
    open_axes,
    picture_classifier,
    picture_to_picture,
    save,
    text_to_text,
)

HALF = TensorProto.FLOAT16

Bundled = Callable[..., Model]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    path.mkdir()
    return path


@pytest.fixture
def bundled(folder: Path) -> Bundled:
    """Writes a bundle without golden rows."""

    def written(graph: Any, content: Any = None) -> Model:
        found = inspect(save(graph, folder / "model.onnx"))
        path = folder.with_name("io.json")
        path.write_text(json.dumps(content or {}))
        spec = io_json.read(path, found)
        model = Model(
            *("", "test", "onnx", "model.onnx", "tensors", "", ()),
            io=io_json.to_json(spec),
        )
        return bundle.write(folder, model)

    return written


def plain_answers(folder: Path, model: Model) -> PlainAnswers:
    return PlainAnswers(folder, model, io_json.spec_of(model))


def samples(folder: Path, content: Any) -> str:
    path = folder.with_name("samples.json")
    path.write_text(json.dumps(content))
    return str(path)


def png(levels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(np.array(levels, np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def identity(*shape: int | str | None, kind: int = FLOAT) -> Any:
    """A graph that answers y, its x."""
    return graph_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (kind, ["n", *shape])},
        {"y": (kind, ["n", *shape])},
    )


# ---- Rows


def test_made_up_rows_are_always_the_same(folder: Path, bundled: Bundled) -> None:
    plain = plain_answers(folder, bundled(many_sided()))
    rows = list(make_rows(plain.spec, plain.inputs))
    assert rows == json.loads(json.dumps(list(make_rows(plain.spec, plain.inputs))))
    assert len(rows) >= 8
    names = [field.name for field in plain.spec.inputs]
    assert all(list(row) == names for row in rows)


def test_every_class_is_sent(folder: Path, bundled: Bundled) -> None:
    labels = list("abcdef")
    content = {"inputs": {"x": {"labels": labels, "encoding": "one-hot"}}}
    plain = plain_answers(folder, bundled(columns_graph(), content))
    rows = list(make_rows(plain.spec, plain.inputs))
    assert {row["x"] for row in rows} == set(labels)


def test_arrays_are_sent_in_each_form(folder: Path, bundled: Bundled) -> None:
    plain = plain_answers(folder, bundled(identity(2, 3)))
    kinds = {type(row["x"]) for row in make_rows(plain.spec, plain.inputs)}
    assert kinds == {list, dict, str}


def test_large_rows_are_few(folder: Path, bundled: Bundled) -> None:
    plain = plain_answers(folder, bundled(identity(512, 512)))
    rows = list(make_rows(plain.spec, plain.inputs))
    assert len(rows) == 8 and all(isinstance(row["x"], str) for row in rows)


# ---- Answers


def test_plain_answers_are_those_computed_by_hand(
    folder: Path, bundled: Bundled
) -> None:
    plain = plain_answers(folder, bundled(many_sided()))
    series = np.arange(12.0).reshape(3, 4)
    row = {"sizes": [1, 2.5], "count": 3, "flag": True, "word": "naïve"}
    found = plain.answer(row | {"series": series.tolist()})
    assert found["sums"] == pytest.approx(series.sum(axis=0))
    assert found["scaled"] == pytest.approx((series * 3.5).reshape(-1))
    assert found["total"] == pytest.approx([series.sum() + 3])
    assert found["chance"] == pytest.approx([1 / (1 + np.exp(-0.5))])
    assert found["said"].tolist() == ["naïve"]


@pytest.mark.parametrize("color, first", [("RGB", 51), ("BGR", 153)])
def test_pictures_are_laid_out_plainly(
    folder: Path, bundled: Bundled, color: str, first: int
) -> None:
    picture = {"type": "image", "color": color, "range": [0, 2]}
    picture |= {"mean": [0.1, 0.2, 0.3], "std": 0.5}
    plain = plain_answers(
        folder, bundled(identity(3, 2, 4), {"inputs": {"x": picture}})
    )
    found = plain.answer({"x": png([[[51, 102, 153]] * 4] * 2)})["y"].reshape(3, 2, 4)
    levels = (51, 102, 153) if first == 51 else (153, 102, 51)
    means = (0.1, 0.2, 0.3)
    for channel, (level, mean) in enumerate(zip(levels, means, strict=True)):
        expected = (level / 255 * 2 - mean) / 0.5
        assert found[channel] == pytest.approx(np.full((2, 4), expected))


def test_activations_are_applied_plainly(folder: Path, bundled: Bundled) -> None:
    content = {
        "outputs": {
            "class": {"tensor": "y", "labels": ["a", "b"], "activation": "softmax"},
            "risk": {"tensor": "y", "type": "binary", "activation": "sigmoid"},
        }
    }
    plain = plain_answers(folder, bundled(identity(3), content))
    found = plain.answer({"x": [1, 3, -2]})
    powers = np.exp([1, 3])
    assert found["class"] == pytest.approx(powers / powers.sum())
    assert found["risk"] == pytest.approx([1 / (1 + np.exp(2))])


PICTURES = {
    "inputs": {"photo": {"type": "image", "range": [-1, 1], "fit": "pad"}},
    "outputs": {"negative": {"type": "image", "range": [0, 2], "format": "jpeg"}},
}


@pytest.mark.parametrize(
    "graph, content",
    [
        (picture_classifier(), {"inputs": {"x": {"type": "image", "std": 0.3}}}),
        (picture_classifier(rows=3), {}),
        (picture_to_picture(), PICTURES),
        (many_sided(), {}),
        (open_axes(), {}),
        (text_to_text(), {}),
        (identity(40, 40), {}),
        (identity(kind=INT64), {}),
        (identity(2, 3, kind=BOOL), {}),
        (identity(4, kind=DOUBLE), {}),
        (identity(4, kind=HALF), {}),
        (identity(3, 9, 7, kind=UINT8), {"inputs": {"x": {"type": "image"}}}),
        (identity(9, 7, kind=HALF), {"inputs": {"x": {"type": "image"}}}),
        (identity(1, kind=STRING), {"inputs": {"x": {"labels": ["a", "b"]}}}),
    ],
)
def test_serving_answers_as_plainly_computed(
    folder: Path, bundled: Bundled, graph: Any, content: Any
) -> None:
    model = bundled(graph, content)
    count = make(str(folder), None)
    assert count >= 8
    rows, difference = replay(folder, model)
    assert rows == count
    assert difference < 1e-4


def test_changed_answer_names_row_and_output(folder: Path, bundled: Bundled) -> None:
    model = bundled(text_to_text())
    make(str(folder), None)
    golden = json.loads((folder / "golden.json").read_text())
    golden["answers"][2]["reply"]["values"] = ["hello"]
    (folder / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(ValueError, match="'reply' of golden row 2, .* another text"):
        replay(folder, model)


def test_rows_without_a_finite_answer_are_left_out(
    folder: Path, bundled: Bundled
) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    shape = {"x": (FLOAT, ["n", 1])}, {"y": (FLOAT, ["n", 1])}
    bundled(graph_of(nodes, *shape))
    with pytest.raises(ModelFileRejected, match="--samples"):
        make(str(folder), None)
    assert make(str(folder), samples(folder, {"rows": [{"x": 4.0}]})) == 1


# ---- Samples


def test_samples_become_golden_rows(folder: Path, bundled: Bundled) -> None:
    model = bundled(identity(2))
    rows = [{"x": [1, 2.5]}, {"x": {"shape": [2], "data": [0, -1]}}]
    expected = [{"y": [1, 2.5]}, {"y": {"shape": [2], "data": [1e-9, -1.00001]}}]
    content = {"rows": rows, "answers": {"rows": expected}}
    assert make(str(folder), samples(folder, content)) == 2
    golden = Golden.read(folder)
    assert golden.rows == rows
    assert golden.answers[1]["y"].values.tolist() == [0, -1]
    assert replay(folder, model)[0] == 2


@pytest.mark.parametrize("value", [True, False, 1.0, -0.0, 1e300, 0.5, 2**70, "1.0"])
def test_single_values_are_texts_as_in_serving(
    folder: Path, bundled: Bundled, value: Any
) -> None:
    bundled(identity(1, kind=STRING))
    assert make(str(folder), samples(folder, {"rows": [{"x": value}]})) == 1


@pytest.mark.parametrize("labels", [["True", "1"], ["true", "1"]])
@pytest.mark.parametrize("value", [True, 1.0, "1"])
@pytest.mark.parametrize("kind", [INT64, STRING])
def test_single_values_are_classes_as_in_serving(
    folder: Path, bundled: Bundled, labels: list[str], value: Any, kind: int
) -> None:
    bundled(identity(1, kind=kind), {"inputs": {"x": {"labels": labels}}})
    assert make(str(folder), samples(folder, {"rows": [{"x": value}]})) == 1


def test_part_of_a_batch_is_tried(folder: Path, bundled: Bundled) -> None:
    # Adds 1 to a batch of four that has its last row twice, as one of three rows has.
    nodes = [
        helper.make_node("Slice", ["x", "three", "four", "zero"], ["last"]),
        helper.make_node("Equal", ["x", "last"], ["are_last"]),
        helper.make_node("Cast", ["are_last"], ["ones"], to=FLOAT),
        helper.make_node("ReduceSum", ["ones", "zero"], ["count"], keepdims=1),
        helper.make_node("Equal", ["count", "two"], ["is_twice"]),
        helper.make_node("Cast", ["is_twice"], ["more"], to=FLOAT),
        helper.make_node("Add", ["x", "more"], ["y"]),
    ]
    weights = {"three": [3], "four": [4], "zero": [0]}
    graph = graph_of(
        nodes,
        {"x": (FLOAT, [4, 1])},
        {"y": (FLOAT, [4, 1])},
        {name: np.array(each) for name, each in weights.items()}
        | {"two": np.array([[2]], np.float32)},
    )
    bundled(graph)
    rows = [{"x": place} for place in range(8)]
    with pytest.raises(ValueError, match="golden row 4, without the last, differs"):
        make(str(folder), samples(folder, {"rows": rows}))


def test_expected_text_is_compared(folder: Path, bundled: Bundled) -> None:
    bundled(text_to_text())
    rows = {"rows": [{"text": "good day"}]}
    answers = {"answers": {"rows": [{"reply": "good night"}]}}
    with pytest.raises(SpecError, match=r"^answers\.rows\[0\]\.reply: the model answ"):
        make(str(folder), samples(folder, rows | answers))


@pytest.mark.parametrize(
    "change, text", [(0, ""), (1, ""), (9, r"negative: the model answers")]
)
def test_expected_picture_may_be_a_level_off(
    folder: Path, bundled: Bundled, change: int, text: str
) -> None:
    sides = {"inputs": {"photo": {"type": "image"}}}
    bundled(picture_to_picture(), sides | {"outputs": {"negative": {"type": "image"}}})
    levels = np.random.default_rng(1).integers(20, 200, (8, 8, 3))
    rows = [{"photo": png(levels)}]
    answers = {"rows": [{"negative": png(255 - levels + change)}]}
    given = samples(folder, {"rows": rows, "answers": answers})
    if text:
        with pytest.raises(SpecError, match=text):
            make(str(folder), given)
    else:
        assert make(str(folder), given) == 1


@pytest.mark.parametrize(
    "scores, text",
    [
        ({"a": 0.11920292, "b": 0.880797}, ""),
        ({"b": 0.8808, "a": 0.1192}, ""),
        ({"a": 0.12, "b": 0.88}, r"class: the model answers 0\.119"),
        ({"a": 0.1192}, r"class\.b: missing"),
        ({"a": 0.1, "b": 0.9, "c": 0}, r"class\.c: unknown key"),
        ([0.1, 0.9], r"class: an object is expected"),
    ],
)
def test_expected_scores_are_by_class(
    folder: Path, bundled: Bundled, scores: Any, text: str
) -> None:
    output = {"labels": ["a", "b"], "activation": "softmax"}
    bundled(identity(2), {"outputs": {"class": output}})
    answers = {"answers": {"rows": [{"class": scores}]}}
    given = samples(folder, {"rows": [{"x": [1, 3]}]} | answers)
    if text:
        with pytest.raises(SpecError, match=text):
            make(str(folder), given)
    else:
        assert make(str(folder), given) == 1


@pytest.mark.parametrize(
    "content, text",
    [
        ({}, "rows: missing"),
        ({"rows": []}, "rows: one at least"),
        ({"rows": [1]}, r"rows\[0\]: an object"),
        ({"rows": [{"x": [1, 2]}], "answers": {"rows": []}}, "answers: 1 rows are"),
        ({"rows": [{"x": [1, 2]}], "answers": {"rows": [{"z": 1}]}}, "z: unknown key"),
        ({"rows": [{"x": [1, 2]}], "answers": {"rows": [{"y": "?"}]}}, r"\]\.y: "),
        ({"rows": [{"y": 1}]}, "row 0, input 'x'"),
        ({"rows": [{"x": [1, 2]}, {"x": [1]}]}, "row 1, input 'x'"),
    ],
)
def test_samples_that_cannot_be_are_refused(
    folder: Path, bundled: Bundled, content: Any, text: str
) -> None:
    bundled(identity(2))
    with pytest.raises((SpecError, DataError), match=text):
        make(str(folder), samples(folder, content))


def test_sample_without_a_finite_answer_is_refused(
    folder: Path, bundled: Bundled
) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    shape = {"x": (FLOAT, ["n", 1])}, {"y": (FLOAT, ["n", 1])}
    bundled(graph_of(nodes, *shape))
    with pytest.raises(DataError, match="row 1: .* 'y' is not a finite"):
        make(str(folder), samples(folder, {"rows": [{"x": 1}, {"x": -1}]}))


# ---- What is kept


def test_large_outputs_are_kept_in_part() -> None:
    values = np.arange(5000.0).reshape(50, 100)
    answer = Answer.of(values)
    assert (answer.size, len(answer.values)) == (5000, 1000)
    assert answer.difference("it", values) == 0
    values[0, 5] += 1
    with pytest.raises(ValueError, match=r"^it differs: 6\.0 instead of 5\.0"):
        answer.difference("it", values)


@pytest.mark.parametrize("dtype, largest", [("float32", 1e-4), ("float16", 1e-2)])
def test_tolerance_is_that_of_the_type(dtype: str, largest: float) -> None:
    values = np.array([1.0, -3.0], dtype)
    answer = Answer.from_json(json.loads(json.dumps(Answer.of(values).to_json())))
    assert answer.difference("it", values * (1 + 0.5 * largest)) > 0
    with pytest.raises(ValueError, match="differs"):
        answer.difference("it", values * (1 + 3 * largest))


def test_answer_of_another_size_or_kind_differs() -> None:
    answer = Answer.of(np.zeros(3))
    for other in (np.zeros(2), np.array(["0", "0", "0"], dtype=object)):
        with pytest.raises(ValueError, match="it "):
            answer.difference("it", other)
    with pytest.raises(ValueError, match="differs"):
        answer.difference("it", np.array([0.0, np.nan, 0.0]))


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rows", "answers", "dtype", "size", "values", "y"]), inner
        )
    ),
    max_leaves=12,
)


@given(plain_json | st.fixed_dictionaries({"rows": plain_json, "answers": plain_json}))
def test_any_golden_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "golden.json").write_text(json.dumps(content))
    try:
        assert Golden.read(folder).rows
    except ValueError:
        pass
