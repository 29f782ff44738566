"""Fields of the management API, and the words that they refuse in."""

from __future__ import annotations

import math

import pytest

from schemas.management import Fields, InvalidFields, load
from schemas.management_fields import (
    Choice,
    Items,
    Mappings,
    Number,
    PageFields,
    Part,
    Switch,
    Text,
    Whole,
    Words,
)


class Inner(Fields):
    number = Number(low=0, high=1, required=True)


class Outer(Fields):
    text = Text(most=3)
    empty = Text(least=0, allow_none=True)
    choice = Choice("a", "b")
    words = Words("a", "b")
    whole = Whole(low=-5, high=5)
    any_number = Number(data_key="anyNumber")
    switch = Switch()
    items = Items(Whole(), least=1, most=2)
    part = Part(Inner)
    parts = Items(Part(Inner))
    mapping = Mappings()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, {}),
        ({"text": "abc"}, {"text": "abc"}),
        ({"empty": None}, {"empty": None}),
        ({"empty": ""}, {"empty": ""}),
        ({"choice": "a"}, {"choice": "a"}),
        ({"words": "b,a"}, {"words": ("b", "a")}),
        ({"whole": "-5"}, {"whole": -5}),
        ({"whole": 5.0}, {"whole": 5}),
        ({"anyNumber": "1e3"}, {"any_number": 1000.0}),
        ({"anyNumber": 2**70}, {"any_number": float(2**70)}),
        ({"switch": False}, {"switch": False}),
        ({"switch": " True"}, {"switch": True}),
        ({"items": [1, "2"]}, {"items": [1, 2]}),
        ({"part": {"number": 1}}, {"part": {"number": 1.0}}),
        ({"mapping": {"x": []}}, {"mapping": {"x": []}}),
    ],
)
def test_values_are_read(given, read):
    found = load(Outer(), given)
    assert found == read
    assert all(type(found[name]) is type(read[name]) for name in read)


INT = "value can't be converted to int"
FLOAT = "value can't be converted to float"


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({"wd": 1}, {"wd": "wd is not allowed key"}),
        ({"text": ""}, {"text": "blank value is not allowed"}),
        ({"text": "abcd"}, {"text": "String is longer than 3 characters"}),
        ({"text": None}, {"text": "value is not a string"}),
        ({"text": ["a"]}, {"text": "value is not a string"}),
        ({"choice": None}, {"choice": "value doesn't match any variant"}),
        ({"choice": []}, {"choice": "value doesn't match any variant"}),
        ({"words": "a,"}, {"words": "value doesn't match any variant"}),
        ({"whole": 6}, {"whole": "value is greater than 5"}),
        ({"whole": "-6"}, {"whole": "value is less than -5"}),
        ({"whole": 1.5}, {"whole": INT}),
        ({"whole": True}, {"whole": INT}),
        ({"whole": "1_0"}, {"whole": INT}),
        ({"whole": "9" * 5000}, {"whole": INT}),
        ({"whole": "٣"}, {"whole": INT}),
        ({"whole": math.inf}, {"whole": INT}),
        ({"whole": None}, {"whole": INT}),
        ({"anyNumber": math.nan}, {"anyNumber": FLOAT}),
        ({"anyNumber": "inf"}, {"anyNumber": FLOAT}),
        ({"anyNumber": 10**400}, {"anyNumber": FLOAT}),
        ({"anyNumber": False}, {"anyNumber": FLOAT}),
        ({"switch": 1}, {"switch": "value can't be converted to Bool"}),
        ({"switch": None}, {"switch": "value can't be converted to Bool"}),
        ({"items": {}}, {"items": "value is not a list"}),
        ({"items": None}, {"items": "value is not a list"}),
        ({"items": []}, {"items": "list length is less than 1"}),
        ({"items": [1, 2, 3]}, {"items": "list length is greater than 2"}),
        ({"items": [1, "x"]}, {"items": {"1": INT}}),
        ({"part": []}, {"part": "value is not a dict"}),
        ({"part": None}, {"part": "value is not a dict"}),
        ({"part": {}}, {"part": {"number": "is required"}}),
        ({"part": {"number": 2}}, {"part": {"number": "value is greater than 1"}}),
        ({"parts": [{"number": 0}, 5]}, {"parts": {"1": "value is not a dict"}}),
        (
            {"parts": [{"x": 1, "number": 1}]},
            {"parts": {"0": {"x": "x is not allowed key"}}},
        ),
        ({"mapping": 5}, {"mapping": "value is not a dict"}),
    ],
)
def test_wrong_values_are_refused_in_documented_words(given, errors):
    with pytest.raises(InvalidFields) as caught:
        load(Outer(), given)
    assert caught.value.errors == errors
    assert str(caught.value) == "Invalid field data"


def test_everything_that_is_wrong_is_told_up_to_a_point():
    with pytest.raises(InvalidFields) as caught:
        load(Outer(), {"text": 1, "whole": "x"})
    assert list(caught.value.errors) == ["text", "whole"]
    with pytest.raises(InvalidFields) as caught:
        load(Outer(), {f"{place}{'x' * 200}": 1 for place in range(1000)})
    assert len(caught.value.errors) == 50
    assert max(map(len, caught.value.errors)) == 100


def test_pages_are_of_twenty():
    assert load(PageFields(), {}) == {"limit": 20, "offset": 0}
