"""What bodies and queries of the management API say, read or refused field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError

from schemas import errors

# A body may be wrong in as many places as it has bytes.
_MOST_ERRORS: Final = 50
_MOST_NAME: Final = 100


class InvalidFields(ValueError):
    """Fields of a body or a query are refused.

    errors: what is wrong by field, as texts; of objects and lists by field again.
    """

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("Invalid field data")
        self.errors = dict(errors)


class Fields(Schema):
    """What a body or a query of the management API may say.

    A key that is no field is refused; a field without `load_default` and not required
    is left out of what is read where it is not given.
    """

    error_messages = {"unknown": errors.NOT_ALLOWED, "type": errors.NOT_DICT}

    class Meta:
        unknown = RAISE


def load(schema: Fields, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the data say, by the names of the schema's attributes.

    Raises InvalidFields with all that is wrong.
    """
    try:
        read: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise InvalidFields(_told(error.messages)) from None
    return read


def _told(messages: Any) -> dict[str, Any]:
    """Marshmallow's lists of messages as one text each."""
    found: dict[str, Any] = {}
    for key, wrong in list(messages.items())[:_MOST_ERRORS]:
        name = str(key)[:_MOST_NAME]
        if isinstance(wrong, dict):
            found[name] = _told(wrong)
        elif wrong[0] == errors.NOT_ALLOWED:
            found[name] = f"{name} {errors.NOT_ALLOWED}"
        else:
            found[name] = wrong[0]
    return found
