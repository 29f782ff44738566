"""How hard the tests of the tree engine try: TEST_EFFORT times as hard as usual."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EFFORT = float(os.environ.get("TEST_EFFORT", "1"))


def times_effort(count: int) -> int:
    return max(1, int(count * _EFFORT))


def effort(examples: int) -> settings:
    """So many examples: `TEST_EFFORT=20 pytest tests/backends/trees` tries more.

    No deadline: an example may hold a tree of a thousand leaves.
    """
    return settings(
        max_examples=times_effort(examples),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
