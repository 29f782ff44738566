"""The wording of refused arguments: the documents' dialects side by side."""

from __future__ import annotations

from typing import Final

# The vocabulary of the documented messages.
NOT_ALLOWED: Final = "is not allowed key"
REQUIRED: Final = "is required"
BLANK: Final = "blank value is not allowed"
NOT_INT: Final = "value can't be converted to int"
NOT_FLOAT: Final = "value can't be converted to float"
NOT_BOOL: Final = "value can't be converted to Bool"
NO_VARIANT: Final = "value doesn't match any variant"
NOT_TEXT: Final = "value is not a string"
NOT_LIST: Final = "value is not a list"
NOT_DICT: Final = "value is not a dict"
REPEATED: Final = "value is given more than once"


def not_exactly(only: str) -> str:
    """`value is not exactly 'all'`."""
    return f"value is not exactly '{only}'"


def less_than(limit: int) -> str:
    """`value is less than 0`."""
    return f"value is less than {limit}"


def greater_than(limit: int) -> str:
    """`value is greater than 10`."""
    return f"value is greater than {limit}"


def longer_than(limit: int) -> str:
    """`String is longer than 256 characters`."""
    return f"String is longer than {limit} characters"


def shorter_list_than(limit: int) -> str:
    """`list length is less than 1`."""
    return f"list length is less than {limit}"


def longer_list_than(limit: int) -> str:
    """`list length is greater than 10`."""
    return f"list length is greater than {limit}"


def plain(name: str, problem: str) -> str:
    """`'wd': wd is not allowed key`: the query string's own dialect."""
    return f"'{name}': {problem}"


def data_error(name: str, problem: str) -> str:
    """`{'max_codes': DataError(…)}`: the explanation parameters' dialect."""
    return f"{{'{name}': DataError({problem})}}"


def keyed(name: str, problem: str) -> dict[str, str]:
    """`{"forecastPoint": …}`: the time series parameters' dialect, an object."""
    return {name: problem}
