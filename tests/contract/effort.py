"""How hard the property tests try."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def effort(examples: int) -> settings:
    """So many examples, times TEST_EFFORT: `TEST_EFFORT=50 pytest tests/contract`.

    The deadline is for requests that hang; a busy machine must not come near it.
    """
    wanted = examples * float(os.environ.get("TEST_EFFORT", "1"))
    return settings(
        max_examples=max(1, int(wanted)),
        deadline=60_000,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )
