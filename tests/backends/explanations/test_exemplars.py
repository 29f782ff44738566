"""Exemplars are values of the rows, as frequent as there, and survive their file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bundle import EXEMPLARS, BundleRejected
from backends.explanations import choosing, exemplars
from backends.explanations.choosing import choose, explained
from backends.features import Columns
from backends.model import Feature

SIZE = Feature("size in m²", "numeric")
ROOMS = Feature("rooms", "numeric", dtype="int64", missing="error")
TOWN = Feature("town", "categorical", categories=("Oslo", "null", 'say "hi"', ""))
ZONE = Feature("zone", "categorical", categories=(3, 1, 2.5))
IS_NEW = Feature("is new", "categorical", categories=(False, True))
NOTE = Feature("note", "text", dtype="string", missing="empty")
FEATURES = (SIZE, ROOMS, TOWN, ZONE, IS_NEW, NOTE)
NUMBER = Feature("x", "numeric")
TEXT = Feature("t", "text", dtype="string", missing="empty")


def numbers(values: list[float]) -> Columns:
    return Columns(np.array(values, np.float64)[:, None])


def texts(values: list[str]) -> Columns:
    column = np.full((len(values), 1), np.nan)
    return Columns(column, {0: np.array(values, dtype=object)})


def houses(rows: int) -> Columns:
    rng = np.random.default_rng(5)
    matrix = np.full((rows, 6), np.nan)
    matrix[:, 0] = np.round(rng.normal(80, 20, rows), 1)
    matrix[:, 1] = rng.integers(1, 6, rows)
    for position, levels in ((2, 4), (3, 3), (4, 2)):
        matrix[:, position] = rng.integers(0, levels, rows)
    for position in (0, 2, 3):
        matrix[rng.random(rows) < 0.1, position] = np.nan
    notes = rng.choice([*map(str, range(30)), "", "naïve ☃", "1.50"], rows)
    return Columns(matrix, {5: notes.astype(object)})


# ---- Choosing


def test_few_values_are_all_taken_as_often_as_they_are() -> None:
    values = [1.5, 2.0, 2.0, np.nan]
    chosen = choose(NUMBER, numbers(values), 0)
    assert chosen == [(1.5, 0.25), (2, 0.5), (None, 0.25)]
    assert json.dumps(chosen) == "[[1.5, 0.25], [2, 0.5], [null, 0.25]]"


def test_ten_values_and_the_missing_one_are_few() -> None:
    # Tenths of these rows would have 0 in their middle again and again.
    chosen = choose(NUMBER, numbers([*[0] * 9, *range(10), np.nan]), 0)
    assert [value for value, _ in chosen] == [*range(10), None]
    levels = Feature("c", "categorical", categories=tuple("abcdefghij"))
    chosen = choose(levels, numbers([*[9] * 9, *range(10), np.nan]), 0)
    assert chosen == [
        *((level, 0.05) for level in "abcdefghi"),
        ("j", 0.5),
        (None, 0.05),
    ]


def test_numbers_stand_in_the_middle_of_tenths() -> None:
    # Of the numbers from 1 to 100, in any order.
    values = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))
    chosen = choose(NUMBER, numbers(list(values)), 0)
    assert chosen == [(value, 0.1) for value in range(5, 100, 10)]


def test_equal_middles_are_one_exemplar_with_their_weights() -> None:
    values = [0.0] * 75 + [float(each) for each in range(1, 26)]
    chosen = choose(NUMBER, numbers(values), 0)
    # The middles at 5, 15, ... 75 of 100 rows are 0, then the 85th and the 95th.
    assert [value for value, _ in chosen] == [0, 10, 20]
    np.testing.assert_allclose([weight for _, weight in chosen], [0.8, 0.1, 0.1])


def test_missing_value_has_its_own_frequency_beside_the_tenths() -> None:
    values = [*range(1, 101), *[np.nan] * 100]
    *tenths, missing = choose(NUMBER, numbers(values), 0)
    assert missing == (None, 0.5)
    np.testing.assert_allclose([weight for _, weight in tenths], [0.05] * 10)


def test_infinite_numbers_are_left_out() -> None:
    assert choose(NUMBER, numbers([1, np.inf, -np.inf, np.nan]), 0) == [
        (1, 0.5),
        (None, 0.5),
    ]
    assert choose(NUMBER, numbers([np.inf, -np.inf]), 0) == []


def test_rare_levels_are_pooled_onto_the_tenth() -> None:
    # Level 19 in 20 rows, 18 in 19, and so on.
    feature = Feature("c", "categorical", categories=tuple("tsrqponmlkjihgfedcba"))
    codes = [float(code) for code in range(20) for _ in range(code + 1)]
    chosen = choose(feature, numbers([*codes, np.nan]), 0)
    assert [level for level, _ in chosen] == [*"abcdefghij", None]
    rows = [weight * 211 for _, weight in chosen]
    pooled = sum(range(1, 12))
    np.testing.assert_allclose(rows, [20, 19, 18, 17, 16, 15, 14, 13, 12, pooled, 1])


def test_texts_are_pooled_like_levels_and_empty_ones_are_missing() -> None:
    told = ["a"] * 5 + ["b"] * 4 + [f"rare {each}" for each in range(11)] + [""] * 5
    chosen = choose(TEXT, texts(told), 0)
    assert chosen[:2] == [("a", 0.2), ("b", 0.16)]
    assert chosen[-1] == (None, 0.2)
    rare = [text for text, _ in chosen[2:-1]]
    assert rare == sorted(f"rare {each}" for each in range(11))[:8]
    np.testing.assert_allclose(chosen[-2][1] * 25, 4)


def test_features_follow_their_impact() -> None:
    assert explained([0.0, 0.1, None, -0.2, 0.3, 0.1]) == [4, 1, 5, 3, 2]
    assert explained([1.0] * 60) == list(range(50))
    assert explained([0.0, -0.0]) == []


CELLS = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(allow_subnormal=False),
    st.sampled_from([0.0, -0.0, np.nan, np.inf, 1e300, 2.0**53 + 2]),
)


@given(st.lists(CELLS, min_size=1, max_size=60))
def test_numbers_are_of_the_rows_and_weights_add_up(values: list[float]) -> None:
    chosen = choose(NUMBER, numbers(values), 0)
    usable = [value for value in values if not np.isinf(value)]
    assert bool(chosen) == bool(usable)
    if not chosen:
        return
    assert sum(weight for _, weight in chosen) == pytest.approx(1, abs=1e-12)
    assert all(weight > 0 for _, weight in chosen)
    found = [value for value, _ in chosen if value is not None]
    assert len(found) == len(set(found)) <= 10
    assert set(found) <= set(usable)
    missing = sum(np.isnan(usable)) / len(usable)
    told = dict(chosen).get(None, 0.0)
    assert told == pytest.approx(missing, abs=1e-12)
    distinct = Counter(value for value in usable if value == value)
    if len(distinct) <= 10:
        assert {
            value: weight * len(usable) for value, weight in chosen if value is not None
        } == pytest.approx(distinct)


@given(st.lists(st.sampled_from(["", *map(str, range(14))]), min_size=1))
def test_texts_of_many_rows_keep_their_weights(values: list[str]) -> None:
    chosen = choose(TEXT, texts(values), 0)
    counts = Counter(values)
    assert sum(weight for _, weight in chosen) == pytest.approx(1, abs=1e-12)
    present = [(text, weight) for text, weight in chosen if text is not None]
    assert len(present) == min(10, len(counts) - ("" in counts))
    for text, weight in present[:9]:
        assert weight == pytest.approx(counts[str(text)] / len(values))


# ---- The file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = houses(300)
    impact = [0.1, 0.5, 0.0, None, -0.3, 0.2]
    assert choosing.write(tmp_path, FEATURES, rows, impact) == 5
    found = exemplars.read(tmp_path, FEATURES)
    assert found is not None
    assert found.features.tolist() == [1, 5, 0, 4, 3]
    assert found.weights.shape == (len(found.columns), 5) == (11, 5)
    np.testing.assert_allclose(found.weights.sum(axis=0), 1)
    for place, position in enumerate(found.features.tolist()):
        feature = FEATURES[position]
        chosen = choose(feature, rows, position)
        weights = found.weights[:, place]
        assert weights[: len(chosen)] == pytest.approx([each for _, each in chosen])
        assert not weights[len(chosen) :].any()
        values = [value for value, _ in chosen]
        if feature.kind == "text":
            read = found.columns.texts[position][: len(chosen)].tolist()
            assert read == ["" if value is None else value for value in values]
            continue
        codes = found.columns.matrix[: len(chosen), position]
        if feature.kind == "categorical":
            levels = [
                None if np.isnan(c) else feature.categories[int(c)] for c in codes
            ]
            assert levels == values
        else:
            np.testing.assert_array_equal(codes, np.array(values, np.float64))


def test_levels_that_look_like_missing_ones_survive(tmp_path: Path) -> None:
    codes = np.array([0.0, 1.0, 2.0, 3.0, np.nan])[:, None]
    choosing.write(tmp_path, (TOWN,), Columns(codes), [1.0])
    found = exemplars.read(tmp_path, (TOWN,))
    assert found is not None
    np.testing.assert_array_equal(found.columns.matrix, codes)


def test_file_is_plain_to_read(tmp_path: Path) -> None:
    rows = Columns(np.array([[1.5, 0], [np.nan, 1], [2, 1]]))
    choosing.write(tmp_path, (SIZE, TOWN), rows, [0.25, 0.5])
    third, two = 1 / 3, 2 / 3
    assert (tmp_path / EXEMPLARS).read_text(encoding="utf-8") == (
        '{"features": [\n'
        f'{{"name": "town", "values": [["Oslo", {third}], ["null", {two}]]}},\n'
        f'{{"name": "size in m²", "values": [[1.5, {third}], [2, {third}],'
        f" [null, {third}]]}}\n"
        "]}\n"
    )


def test_model_may_have_nothing_to_explain(tmp_path: Path) -> None:
    assert choosing.write(tmp_path, FEATURES, houses(20), [0.0] * 6) == 0
    found = exemplars.read(tmp_path, FEATURES)
    assert found is not None
    assert (len(found.features), len(found.columns), found.weights.shape) == (
        0,
        0,
        (0, 0),
    )


def test_feature_without_a_value_is_not_explained(tmp_path: Path) -> None:
    rows = Columns(np.array([[np.inf, 1.0], [-np.inf, 2.0]]))
    assert choosing.write(tmp_path, (SIZE, NUMBER), rows, [1.0, 0.5]) == 1
    found = exemplars.read(tmp_path, (SIZE, NUMBER))
    assert found is not None
    assert found.features.tolist() == [1]


def test_bundle_without_the_file_has_no_exemplars(tmp_path: Path) -> None:
    assert exemplars.read(tmp_path, FEATURES) is None


def test_rounded_weights_are_made_to_add_up(tmp_path: Path) -> None:
    values = [[1, 0.333333], [2, 0.333333], [None, 0.333333]]
    save(tmp_path, [{"name": SIZE.name, "values": values}])
    found = exemplars.read(tmp_path, FEATURES)
    assert found is not None
    np.testing.assert_allclose(found.weights[:, 0], 1 / 3, rtol=1e-15)


def save(folder: Path, entries: Any) -> None:
    (folder / EXEMPLARS).write_text(json.dumps({"features": entries}))


def one(*values: Any, name: Any = SIZE.name) -> list[dict[str, Any]]:
    return [{"name": name, "values": list(values)}]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (None, "an object with a list of features"),
        ({}, "an object with a list of features"),
        ([1], "a name and values, and nothing else"),
        ([{"name": "x"}], "a name and values, and nothing else"),
        ([{**one([1, 1])[0], "more": 1}], "a name and values, and nothing else"),
        (one([1, 1], name=3), "name is a text"),
        ([{"name": SIZE.name, "values": {}}], "values are a list"),
        (one([1, 1], name="nobody"), "takes no feature 'nobody'"),
        (one([1, 1]) * 2, "'size in m²' stands there twice"),
        ([{"name": str(i), "values": [[1, 1]]} for i in range(51)], "more than 50"),
        (one(*[[i, 1 / 12] for i in range(12)]), "12 values, more than 11"),
        (one(), "add up to 0, not to 1"),
        (one([1, 0]), "add up to 0, not to 1"),
        (one([1, 0.4], [2, 0.5]), "add up to 0.9, not to 1"),
        (one([1, 1.5], [2, -0.5]), "weight is from 0 to 1"),
        (one([1, True]), "a weight is a number"),
        (one([1, "1"]), "a weight is a number"),
        (one([1, None]), "a weight is a number"),
        (one(1), "a pair with its weight"),
        (one([1]), "a pair with its weight"),
        (one([1, 0.5, 0.5]), "a pair with its weight"),
        (one(["much", 1]), "'size in m²', row 0: a number is expected, not 'much'"),
        (one([[1], 1]), "a number is expected, not an array"),
        (one([{}, 1]), "a number is expected, not an object"),
        (one(["inf", 1]), "a number that is not finite"),
        (one([1.5, 1], name="rooms"), "a whole number"),
        (one([None, 1], name="rooms"), "takes no missing value"),
        (one(["Atlantis", 1], name="town"), "a known level is expected"),
        (one([4, 1], name="zone"), "a known level is expected"),
        (one([[], 1], name="note"), "a text is expected"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mistakes_in_the_file_are_told(
    tmp_path: Path, entries: Any, message: str
) -> None:
    save(tmp_path, entries)
    with pytest.raises(BundleRejected, match=f"^exemplars.json: .*{message}"):
        exemplars.read(tmp_path, FEATURES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "an object with a list"),
        ("[" * 100_000, "recursion"),
        ('{"features": [{"name": "rooms", "values": [[1, NaN]]}]}', "NaN is not"),
        ('{"features": [{"name": "rooms", "values": [[1, 1e999]]}]}', "from 0 to 1"),
        ('{"features": [{"name": "zone", "values": [[-Infinity, 1]]}]}', "-Infinity"),
        ('{"features": [{"name": "rooms", "values": [[1e999, 1]]}]}', "whole|finite"),
        (b'{"features": ["\xff"]}', "decode"),
    ],
    ids=["empty", "list", "deep", "nan", "weight", "infinity", "value", "bytes"],
)
def test_what_is_no_such_json_is_refused(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / EXEMPLARS).write_bytes(data)
    with pytest.raises(BundleRejected, match=f"^exemplars.json: .*({message})"):
        exemplars.read(tmp_path, FEATURES)


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / EXEMPLARS).open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(BundleRejected, match="larger than 67108864 bytes"):
        exemplars.read(tmp_path, FEATURES)
