"""Numbers, texts and cells as bytes."""

import json
from itertools import repeat

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.tokens import (
    csv_cell,
    csv_lines,
    csv_numbers,
    integer_tokens,
    json_value,
    number_tokens,
    round_decimals,
    sent_csv_numbers,
    sent_numbers,
    spelled_once,
)


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, b""), (True, b"True"), (3, b"3"), (0.5, b"0.5"), ([1], b"[1]")],
)
def test_native_values_become_cells(value, cell):
    assert csv_cell(value) == cell


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=80), st.integers(0, 400))
@example([0.5, 1.5, 2.5, -0.5, 1e300, -0.0] * 10, 0)
@example([0.12345678905, 1e-11, 138180.79084123881, 2.0**52 + 1] * 10, 10)
def test_rounding_equals_pythons(values, decimals):
    rounded = round_decimals(np.array(values), decimals).tolist()
    expected = [round(value, min(decimals, 1100)) + 0.0 for value in values]
    assert rounded == expected
    assert not any(str(value) == "-0.0" for value in rounded)


@given(st.lists(finite, min_size=1, max_size=80))
def test_tokens_read_back_as_the_rounded_numbers(values):
    tokens = number_tokens(np.array(values), 10)
    assert [float(token) for token in tokens] == [round(v, 10) + 0.0 for v in values]


@pytest.mark.parametrize(
    ("value", "json_token", "csv_token"),
    [
        (9.0, b"9", b"9"),
        (-3.0, b"-3", b"-3"),
        (-0.0, b"0", b"0"),
        (17.56, b"17.56", b"17.56"),
        (1e-7, b"1e-7", b"1e-07"),
        (2.0**53, b"9007199254740992", b"9007199254740992"),
        (0.1234567890123, b"0.1234567890123", b"0.1234567890123"),
        (np.nan, b"null", b""),
        (np.inf, b"null", b""),
        (-np.inf, b"null", b""),
    ],
)
@pytest.mark.parametrize("count", [1, 40])
def test_sent_numbers_are_as_they_were_sent(value, json_token, csv_token, count):
    values = np.full(count, value)
    assert sent_numbers(values) == [json_token] * count
    assert sent_csv_numbers(values) == [csv_token] * count


@given(st.lists(st.floats(), max_size=60))
def test_sent_numbers_read_back_as_themselves(values):
    for token, value in zip(sent_numbers(np.array(values)), values, strict=True):
        expected = value if np.isfinite(value) else None
        assert json.loads(token) == expected
        assert not token.endswith(b".0")


def test_no_numbers_have_no_tokens():
    none = np.empty(0)
    for tokens in (
        number_tokens(none, 10),
        csv_numbers(none, 10),
        sent_numbers(none),
        sent_csv_numbers(none),
        integer_tokens(np.empty(0, np.int64)),
    ):
        assert tokens == []


@pytest.mark.parametrize("count", [1, 40])
def test_what_is_no_number_is_null_and_an_empty_cell(count):
    values = np.tile([np.nan, np.inf, -np.inf, 0.5], count)
    assert number_tokens(values, 10) == [b"null", b"null", b"null", b"0.5"] * count
    assert csv_numbers(values, 10) == [b"", b"", b"", b"0.5"] * count


def test_integers_are_spelled_whatever_their_array():
    numbers = np.array([[-1, 0], [2**53 + 1, 7]])
    assert integer_tokens(numbers[:, 0]) == [b"-1", b"9007199254740993"]


def test_equal_values_of_other_types_are_spelled_each_in_its_way():
    values = [1, True, 1.0, "1", None, 1]
    spelled = [b"1", b"true", b"1.0", b'"1"', b"null", b"1"]
    assert spelled_once(values, json_value) == spelled


def test_each_different_value_is_spelled_once():
    asked = []

    def spelled(value):
        asked.append(value)
        return value.encode()

    assert spelled_once(["b", "a", "b"], spelled) == [b"b", b"a", b"b"]
    assert asked == ["b", "a"]
    assert spelled_once([], spelled) == []


def test_constant_columns_of_csv_are_as_long_as_the_others():
    columns = [repeat(b"x"), [b"1", b"2"], repeat(b"")]
    assert csv_lines(columns) == b"x,1,\nx,2,\n"
    assert csv_lines([[], repeat(b"x")]) == b""
