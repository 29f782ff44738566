"""Numbers, texts and cells as bytes."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.tokens import (
    csv_cell,
    csv_numbers,
    number_tokens,
    round_decimals,
    sent_csv_numbers,
    sent_numbers,
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
    ):
        assert tokens == []
