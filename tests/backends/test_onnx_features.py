"""Which column goes into which input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.base import ModelFileRejected
from backends.model import Feature, Model
from backends.onnx import Input, InputDType
from backends.onnx_features import features_for, precision_warnings
from backends.onnx_graph import Graph


def graph(**inputs: tuple[InputDType, int | None]) -> Graph:
    """A graph of inputs: name → (dtype, width)."""
    return Graph(
        inputs=tuple(
            Input(name, dtype, (None, width)) for name, (dtype, width) in inputs.items()
        ),
        outputs=(),
        output="Y",
        columns=1,
        labels=(),
        task="regression",
        external_data=(),
    )


def names(features: tuple[Feature, ...]) -> list[str]:
    return [feature.name for feature in features]


def test_matrix_takes_columns_in_order() -> None:
    features = features_for(graph(X=("float32", 3)), ["c", "a", "b"])
    assert names(features) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("dtype", "feature"),
    [
        ("float32", Feature("x", "numeric", "float32", None, "nan")),
        ("float64", Feature("x", "numeric", "float64", None, "nan")),
        ("int64", Feature("x", "numeric", "int64", None, "error")),
        ("int32", Feature("x", "numeric", "int64", None, "error")),
        ("bool", Feature("x", "numeric", "int64", None, "error")),
        ("string", Feature("x", "text", "string", None, "empty")),
    ],
)
def test_dtype_decides_kind_and_missing(dtype: InputDType, feature: Feature) -> None:
    assert features_for(graph(X=(dtype, 1)), ["x"]) == (feature,)


def test_width_and_columns_must_agree() -> None:
    with pytest.raises(
        ModelFileRejected,
        match=r"takes 3 columns, the data has 2: a, b; .* --features",
    ):
        features_for(graph(X=("float32", 3)), ["a", "b"])


def test_inputs_of_one_column_go_by_name() -> None:
    by_column = graph(sex=("string", 1), age=("float32", 1))
    features = features_for(by_column, ["id", "age", "fare", "sex"])
    assert names(features) == ["sex", "age"]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("age of owner", "age_of_owner"),
        ("n-1", "n_1"),
        ("1st", "_1st"),
        ("größe", "größe"),
        ("größe", "gr__e"),
        ("a+b", "a+b"),
        ("a_b", "a_b"),
    ],
)
def test_name_may_be_rewritten_by_converter(column: str, written: str) -> None:
    inputs: dict[str, Any] = {written: ("float32", 1), "other": ("float32", 1)}
    features = features_for(graph(**inputs), ["other", column])
    assert names(features) == [column, "other"]


def test_exact_name_wins_over_rewritten_one() -> None:
    both = graph(n_1=("float32", 1), x=("float32", 1))
    assert names(features_for(both, ["n 1", "x", "n_1"])) == ["n_1", "x"]


def test_ambiguous_rewritten_name_is_refused() -> None:
    both = graph(n_1=("float32", 1), x=("float32", 1))
    with pytest.raises(ModelFileRejected, match=r"'n_1' could be any of .* n 1, n-1"):
        features_for(both, ["n 1", "x", "n-1"])


def test_column_goes_into_one_input_only() -> None:
    inputs: dict[str, Any] = {"a+b": ("float32", 1), "a_b": ("float32", 1)}
    with pytest.raises(ModelFileRejected, match="does not have: a_b;"):
        features_for(graph(**inputs), ["a+b", "c"])


def test_columns_are_never_taken_by_position_when_inputs_have_names() -> None:
    with pytest.raises(ModelFileRejected, match=r"does not have: fare; .* age, price"):
        features_for(
            graph(age=("float32", 1), fare=("float32", 1)),
            ["age", "price"],
            in_order=True,
        )


def test_wide_input_takes_what_single_ones_leave() -> None:
    mixed = graph(numbers=("float32", 2), sex=("string", 1))
    assert names(features_for(mixed, ["a", "sex", "b"])) == ["a", "b", "sex"]


def test_wide_input_with_too_many_left_is_refused() -> None:
    mixed = graph(numbers=("float32", 2), sex=("string", 1))
    with pytest.raises(ModelFileRejected, match="takes 2 more columns, the data has 3"):
        features_for(mixed, ["a", "sex", "b", "c"])


@pytest.mark.parametrize(
    "unclear",
    [
        graph(X=("float32", None)),
        graph(numbers=("float32", 2), texts=("string", 1), more=("float32", 2)),
    ],
)
def test_graph_that_names_nothing_needs_an_order(unclear: Graph) -> None:
    columns = ["a", "texts", "b", "c", "d"]
    with pytest.raises(ModelFileRejected, match="with --features"):
        features_for(unclear, columns)
    assert sorted(names(features_for(unclear, columns, in_order=True))) == sorted(
        columns
    )


def test_several_wide_inputs_take_the_given_order() -> None:
    wide = graph(numbers=("float32", 2), texts=("string", 2))
    features = features_for(wide, ["d", "c", "b", "a"], in_order=True)
    assert [(each.name, each.kind) for each in features] == [
        ("d", "numeric"),
        ("c", "numeric"),
        ("b", "text"),
        ("a", "text"),
    ]


def test_single_input_of_one_column_goes_by_name_if_it_has_one() -> None:
    assert names(features_for(graph(age=("float32", 1)), ["id", "age"])) == ["age"]
    assert names(features_for(graph(X=("float32", 1)), ["age"])) == ["age"]
    with pytest.raises(ModelFileRejected, match="takes 1 columns, the data has 2"):
        features_for(graph(X=("float32", 1)), ["id", "age"])


def test_long_lists_of_columns_are_shortened() -> None:
    columns = [f"c{i}" for i in range(1000)]
    with pytest.raises(ModelFileRejected, match="c19 and 980 more;"):
        features_for(graph(X=("float32", 3)), columns)


def model(features: tuple[Feature, ...]) -> Model:
    return Model(
        id="0" * 24,
        name="test",
        format="onnx",
        file="model.onnx",
        task="regression",
        target="y",
        features=features,
    )


def test_large_numbers_for_float32_are_warned_of() -> None:
    features = features_for(graph(X=("float32", 3)), ["small", "seconds", "infinite"])
    matrix = np.array([[2.0**24, -1.7e9, np.inf], [np.nan, 0.0, 1.0]])
    (warning,) = precision_warnings(model(features), matrix)
    assert "'seconds' reaches 1.7e+09" in warning
    wide = tuple(replace(feature, dtype="float64") for feature in features)
    assert precision_warnings(model(wide), matrix) == []


def test_text_columns_have_no_precision() -> None:
    features = features_for(graph(X=("string", 1)), ["a"])
    assert precision_warnings(model(features), np.full((2, 1), np.nan)) == []
