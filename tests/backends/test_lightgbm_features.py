"""Levels in a model file find their columns, or the model is refused."""

import json

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from backends.base import ModelFileRejected
from backends.lightgbm_features import features_for
from backends.lightgbm_text import LightGBMFile, read
from backends.model import Feature

ROWS = 400


def trained(frame: pd.DataFrame, **dataset: object) -> LightGBMFile:
    target = np.random.default_rng(1).integers(0, 2, len(frame))
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 4},
        lightgbm.Dataset(frame, target, **dataset),
        num_boost_round=3,
    )
    return read(booster.model_to_string().encode())


def texts(frame: pd.DataFrame) -> pa.Table:
    """The frame as a CSV reader brings it: every cell a text."""
    return pa.table(
        {
            str(name): ["" if pd.isna(value) else str(value) for value in column]
            for name, column in frame.items()
        }
    )


def choose(levels: list[object], seed: int = 0) -> np.ndarray:
    # Rare levels stay in what training notes only when none is rare.
    return np.random.default_rng(seed).choice(levels, ROWS)


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=ROWS)


def categories(features: tuple[Feature, ...]) -> dict[str, object]:
    return {feature.name: feature.categories for feature in features}


def test_text_columns_get_the_levels_in_their_order() -> None:
    frame = pd.DataFrame(
        {
            "x": numbers(),
            "city": pd.Categorical(choose(["Oslo", "Rome"])),
            "z": numbers(1),
            "grade": pd.Categorical(choose(["a", "b", "c"]), ["c", "b", "a", "d"]),
        }
    )
    assert features_for(trained(frame), texts(frame)) == (
        Feature("x", "numeric"),
        Feature("city", "categorical", categories=("Oslo", "Rome")),
        Feature("z", "numeric"),
        Feature("grade", "categorical", categories=("c", "b", "a", "d")),
    )


def test_columns_of_the_data_may_stand_in_any_order() -> None:
    frame = pd.DataFrame(
        {"x": numbers(), "city": pd.Categorical(choose(["Oslo", "Rome"])), "z": 1.5}
    )
    data = texts(frame).select(["z", "city", "x"])
    features = features_for(trained(frame), data)
    assert [feature.name for feature in features] == ["x", "city", "z"]


def test_category_columns_of_numbers_are_told_from_numbers() -> None:
    frame = pd.DataFrame(
        {
            "rooms": choose([1, 2, 3]),
            "zone": pd.Categorical(choose([1, 2, 3], seed=1)),
            "is_new": pd.Categorical(choose([True, False])),
            "code": pd.Categorical(choose([0.5, 1.5])),
        }
    )
    assert categories(features_for(trained(frame), texts(frame))) == {
        "rooms": None,
        "zone": (1, 2, 3),
        "is_new": (False, True),
        "code": (0.5, 1.5),
    }


def test_ordered_and_constant_categories_find_their_columns() -> None:
    frame = pd.DataFrame(
        {
            "size": pd.Categorical(
                choose(["S", "M", "L"]), ["S", "M", "L"], ordered=True
            ),
            "country": pd.Categorical(["NO"] * ROWS),
            "x": numbers(),
        }
    )
    assert categories(features_for(trained(frame), texts(frame))) == {
        "size": ("S", "M", "L"),
        "country": ("NO",),
        "x": None,
    }


def test_same_levels_in_two_columns_are_no_riddle() -> None:
    frame = pd.DataFrame(
        {
            name: pd.Categorical(choose(["no", "yes"], seed))
            for seed, name in enumerate("abc")
        }
    )
    frame["x"] = numbers()
    found = categories(features_for(trained(frame), texts(frame)))
    assert found == {
        "a": ("no", "yes"),
        "b": ("no", "yes"),
        "c": ("no", "yes"),
        "x": None,
    }


def test_typed_columns_serve_as_well_as_texts() -> None:
    frame = pd.DataFrame(
        {"x": numbers(), "city": pd.Categorical(choose(["Oslo", "Rome"]))}
    )
    frame.loc[3, "x"] = np.nan
    table = pa.table(
        {"x": frame["x"].to_numpy(), "city": pa.array(frame["city"].astype(object))}
    )
    features = features_for(trained(frame), table)
    assert categories(features) == {"x": None, "city": ("Oslo", "Rome")}


def test_levels_that_only_the_data_has_do_not_confuse() -> None:
    frame = pd.DataFrame(
        {"x": numbers(), "city": pd.Categorical(choose(["Oslo", "Rome"]))}
    )
    file = trained(frame)
    frame["city"] = choose(["Oslo", "Rome", "Nome"])
    features = features_for(file, texts(frame))
    assert categories(features)["city"] == ("Oslo", "Rome")


def test_more_than_one_way_is_refused_with_the_remedy() -> None:
    frame = pd.DataFrame(
        {
            "a": pd.Categorical(choose([1, 2, 3]), ordered=True),
            "b": choose([0, 1, 2]),
            "c": pd.Categorical(choose([1, 2]), [1, 2, 3], ordered=True),
        }
    )
    frame["b"] = choose([1, 2], seed=3)
    file = trained(frame)
    with pytest.raises(ModelFileRejected, match="more than one way.*--categorical"):
        features_for(file, texts(frame))
    features = features_for(file, texts(frame), categorical=["a", "c"])
    assert categories(features) == {"a": (1, 2, 3), "b": None, "c": (1, 2, 3)}


def test_wrong_categorical_option_is_refused() -> None:
    frame = pd.DataFrame(
        {
            "x": numbers(),
            "city": pd.Categorical(choose(["Oslo", "Rome"])),
            "grade": pd.Categorical(choose(["a", "b", "c"])),
        }
    )
    file = trained(frame)
    for names, message in {
        ("city",): "names 1 columns; .* of 2",
        ("city", "town"): "names 'town', which the model does not take",
        ("grade", "city"): "'grade' cannot be the category column .* 'Oslo', 'Rome'",
        ("x", "grade"): "'x' cannot be the category column",
    }.items():
        with pytest.raises(ModelFileRejected, match=message):
            features_for(file, texts(frame), categorical=names)


def test_data_with_other_levels_is_refused() -> None:
    frame = pd.DataFrame(
        {"x": numbers(), "city": pd.Categorical(choose(["Oslo", "Rome"]))}
    )
    file = trained(frame)
    frame["city"] = choose(["Paris", "Lyon"])
    with pytest.raises(ModelFileRejected, match="'city' cannot be .* --categorical"):
        features_for(file, texts(frame))


def test_integer_codes_are_taken_as_they_are() -> None:
    frame = pd.DataFrame({"zone": choose([0, 3, 7]), "x": numbers()})
    file = trained(frame, categorical_feature=["zone"])
    assert features_for(file, texts(frame)) == (
        Feature("zone", "numeric", dtype="int64"),
        Feature("x", "numeric"),
    )


def test_integer_codes_beside_category_columns_are_told_apart() -> None:
    frame = pd.DataFrame(
        {
            "zone": choose([0, 3, 7]),
            "city": pd.Categorical(choose(["Oslo", "Rome"])),
            "x": numbers(),
        }
    )
    file = trained(frame, categorical_feature=["zone", "city"])
    features = features_for(file, texts(frame))
    assert features[0] == Feature("zone", "numeric", dtype="int64")
    assert categories(features)["city"] == ("Oslo", "Rome")


def test_rare_integer_codes_are_no_reason_to_refuse() -> None:
    zone = choose([0, 3, 7])
    zone[:2] = 55
    frame = pd.DataFrame({"zone": zone, "x": numbers()})
    file = trained(frame, categorical_feature=["zone"])
    assert "55" not in file.feature_infos[0].split(":")
    assert features_for(file, texts(frame))[0].dtype == "int64"


@pytest.mark.parametrize("seen", [[1.5, 2.5], ["a", "b"], [100, 200], [-3, -4]])
def test_unknowable_categories_are_refused_with_the_remedy(seen: list[object]) -> None:
    frame = pd.DataFrame({"zone": choose([0, 3, 7]), "x": numbers()})
    file = trained(frame, categorical_feature=["zone"])
    frame["zone"] = choose(seen)
    with pytest.raises(ModelFileRejected, match="'zone'.*category dtype"):
        features_for(file, texts(frame))


def test_text_in_a_numeric_column_is_refused_with_the_value() -> None:
    frame = pd.DataFrame({"x": numbers(), "y": numbers(1)})
    file = trained(frame)
    data = texts(frame).set_column(1, "y", pa.array(["?", "1", "", "much"] * 100))
    with pytest.raises(ModelFileRejected, match="'y' holds text \\('much'\\)"):
        features_for(file, data)


def test_blanks_in_names_match_the_underscores_of_the_file() -> None:
    frame = pd.DataFrame({"n of rooms": numbers(), "a_b": numbers(1)})
    file = trained(frame)
    assert file.feature_names == ("n_of_rooms", "a_b")
    data = texts(frame).append_column("a b", pa.array(["1"] * ROWS))
    features = features_for(file, data)
    assert [feature.name for feature in features] == ["n of rooms", "a_b"]


def test_unnamed_features_need_the_features_option() -> None:
    frame = pd.DataFrame({"x": numbers(), "y": numbers(1)})
    file = trained(frame.to_numpy())
    with pytest.raises(ModelFileRejected, match="'Column_0', 'Column_1'.*--features"):
        features_for(file, texts(frame))
    features = features_for(file, texts(frame), names=["y", "x"])
    assert [feature.name for feature in features] == ["y", "x"]
    for names, message in {
        ("x",): "names 1 columns, the model takes 2",
        ("x", "q"): "no column for the model's 'q'",
        ("x", "x"): "'x' twice",
    }.items():
        with pytest.raises(ModelFileRejected, match=message):
            features_for(file, texts(frame), names=names)


def test_wide_models_are_placed_in_a_moment() -> None:
    names = [f"f{i}" for i in range(300)]
    infos = tuple("1:0" if i % 2 else "[0:1]" for i in range(300))
    file = LightGBMFile(
        feature_names=tuple(names),
        objective="binary sigmoid:1",
        outputs=1,
        feature_infos=infos,
        categorical=tuple(range(1, 300, 2)),
        pandas_categorical=(("0", "1"),) * 150,
        trees=1,
        average_output=False,
        linear_tree=False,
    )
    table = pa.table({name: ["0", "1", ""] for name in names})
    features = features_for(file, table)
    assert [feature.kind for feature in features[:3]] == [
        "numeric",
        "categorical",
        "numeric",
    ]


def test_what_a_file_says_survives_json() -> None:
    frame = pd.DataFrame({"x": numbers(), "c": pd.Categorical(choose(["a", "b"]))})
    file = trained(frame)
    assert LightGBMFile.from_json(json.loads(json.dumps(file.to_json()))) == file
