"""What rows of named values are refused with, told apart as the documents do."""

from __future__ import annotations

from backends.features import DataError


class FeatureMissing(DataError):
    """A row lacks an input of the model."""


class DataUrlInvalid(DataError):
    """A text is no data URL, or none of the type that the input takes."""


class TypeMismatch(DataError):
    """A value is of a JSON type that the input does not take."""


def at(row: int, name: str) -> str:
    """`row 3, input 'image'`: how the messages of refused values begin."""
    return f"row {row}, input {name!r}"
