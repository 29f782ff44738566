"""Lists, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

Item = TypeVar("Item")


def cut(items: Sequence[Item], limit: int, offset: int) -> Sequence[Item]:
    """The items of one page."""
    return items[offset : offset + limit]


def page(
    data: Sequence[Mapping[str, Any]],
    total: int,
    *,
    limit: int,
    offset: int,
    address: str,
    query: str,
) -> dict[str, Any]:
    """The envelope of a page.

    data: what is on it. total: how many there are on all pages.
    address: URL of the list, absolute: clients go to `next` as it stands.
    query: of the request, which other pages have as well.
    """

    def link(start: int) -> str:
        kept = [
            (name, value)
            for name, value in parse_qsl(query, keep_blank_values=True)
            if name not in ("limit", "offset")
        ]
        return f"{address}?{urlencode([*kept, ('limit', limit), ('offset', start)])}"

    behind = offset + limit
    return {
        "count": len(data),
        "data": list(data),
        "next": link(behind) if behind < total else None,
        "previous": link(max(0, offset - limit)) if offset > 0 else None,
        "totalCount": total,
    }


def absolute(base_url: str, path: str) -> str:
    """The URL of a path with characters as they are."""
    return base_url + quote(path, safe="/:@!$&'()*+,;=~-._")
