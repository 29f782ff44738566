"""Moments as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.management.times import moment


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (datetime(2021, 10, 4, 18, 17, 51, 954000, UTC), "2021-10-04T18:17:51.954000Z"),
        (datetime(2022, 4, 9, tzinfo=UTC), "2022-04-09T00:00:00.000000Z"),
        (
            datetime(2022, 4, 9, 1, tzinfo=timezone(timedelta(hours=2))),
            "2022-04-08T23:00:00.000000Z",
        ),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_moments_are_utc_to_the_microsecond(time, told):
    assert moment(time) == told
