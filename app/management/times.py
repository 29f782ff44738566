"""Moments as the management API tells them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(time: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond: `2021-10-04T18:17:51.954000Z`."""
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
