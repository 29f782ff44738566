"""What the store refuses, told by the field of the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.store.errors import InvalidName, InvalidSetting
from schemas.management import InvalidFields


@contextmanager
def told_by_field(fields: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """Tell InvalidSetting and InvalidName as InvalidFields.

    fields: setting to where it stands in the request: keys from the outside in.
    """
    try:
        yield
    except InvalidSetting as error:
        name, _, problem = str(error).partition(": ")
        raise InvalidFields(nested(fields.get(name, (name,)), problem)) from None
    except InvalidName as error:
        name = "description" if "description" in str(error) else "label"
        raise InvalidFields({name: str(error)}) from None


def nested(keys: tuple[str, ...], problem: str) -> dict[str, object]:
    """`("a", "b")` → `{"a": {"b": problem}}`."""
    first, *rest = keys
    return {first: nested(tuple(rest), problem) if rest else problem}
