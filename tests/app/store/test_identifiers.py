"""What is an identifier, and what is none."""

import pytest

from app.store.errors import InvalidId
from app.store.identifiers import check_id, new_id


@pytest.mark.parametrize("text", ["", "a" * 23, "a" * 25, "A" * 24, "g" * 24, "../x"])
def test_other_forms_are_no_identifiers(text):
    with pytest.raises(InvalidId, match="24 lower-case hexadecimal digits"):
        check_id(text)


def test_identifier_ends_where_it_ends():
    with pytest.raises(InvalidId):
        check_id("a" * 24 + "\n")


def test_new_identifiers_are_valid_and_differ():
    assert check_id(new_id()) != check_id(new_id())
