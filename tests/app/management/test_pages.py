"""Lists, a page at a time."""

from __future__ import annotations

import pytest

from app.management.pages import absolute, cut, page


def paged(total, limit, offset, query=""):
    return page(
        [{}] * len(cut(range(total), limit, offset)),
        total,
        limit=limit,
        offset=offset,
        address="http://here/list/",
        query=query,
    )


@pytest.mark.parametrize(
    ("total", "limit", "offset", "count", "next", "previous"),
    [
        (0, 20, 0, 0, None, None),
        (20, 20, 0, 20, None, None),
        (21, 20, 0, 20, 20, None),
        (21, 20, 20, 1, None, 0),
        (21, 20, 5, 16, None, 0),
        (50, 10, 25, 10, 35, 15),
        (5, 10, 100, 0, None, 90),
    ],
)
def test_pages_lead_to_their_neighbours(total, limit, offset, count, next, previous):
    def link(start):
        base = "http://here/list/?limit={}&offset={}"
        return None if start is None else base.format(limit, start)

    told = paged(total, limit, offset)
    assert (told["count"], told["totalCount"]) == (count, total)
    assert (told["next"], told["previous"]) == (link(next), link(previous))


def test_links_keep_the_query_but_for_the_place():
    told = paged(9, 2, 2, "search=a%26b+%C3%A9&limit=2&offset=2&x=")
    search = "search=a%26b+%C3%A9&x="
    assert told["next"] == f"http://here/list/?{search}&limit=2&offset=4"
    assert told["previous"] == f"http://here/list/?{search}&limit=2&offset=0"


def test_paths_are_quoted_in_urls():
    assert absolute("http://here", "/a b/é") == "http://here/a%20b/%C3%A9"
