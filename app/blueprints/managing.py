"""What the views of the management API begin and end with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flask import Response, request

from app.blueprints.addresses import base_url
from app.context import current_record, current_services
from app.management.pages import absolute, cut, page
from app.management.requests import Asked, asked


@contextmanager
def asking(*, scoped: bool = False) -> Iterator[Asked]:
    """The request being answered, which takes a place among those in flight.

    scoped: whether tokens of one deployment are let in. Raises what `asked` does.
    """
    services, record = current_services(), current_record()
    with services.admission:
        yield asked(services, record, request.environ, base_url(request), scoped=scoped)


def told(value: Mapping[str, Any] | Sequence[Any], status: int = 200) -> Response:
    """A JSON answer, its keys in their own order."""
    return Response(json.dumps(value), status, content_type="application/json")


def told_page(
    its: Asked, data: Sequence[Mapping[str, Any]], total: int, limit: int, offset: int
) -> Response:
    """A page of a list: `data` are the items on it, `total` how many there are."""
    address = absolute(its.base_url, its.path)
    query = request.query_string.decode("latin-1")
    return told(
        page(data, total, limit=limit, offset=offset, address=address, query=query)
    )


def told_list(
    its: Asked, found: Sequence[Mapping[str, Any]], query: Mapping[str, Any]
) -> Response:
    """The page of a whole list that a query with `PageFields` asks for."""
    limit, offset = query["limit"], query["offset"]
    return told_page(its, cut(found, limit, offset), len(found), limit, offset)


def done() -> Response:
    """204: it is done, and there is nothing to tell."""
    response = Response(status=204)
    # What is not there has no type.
    del response.headers["Content-Type"]
    return response


def accepted(its: Asked, operation_id: str) -> Response:
    """202, and where it is told how the operation goes on."""
    response = told({}, 202)
    response.headers["Location"] = f"{its.base_url}/api/v2/status/{operation_id}/"
    return response
