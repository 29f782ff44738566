"""How often humility rules triggered: counted in a worker, kept in the store."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from app.store.humility_totals import HumilityCount, HumilityTotals
from backends.humility import Humbled, Rule

# Rules times hours that are held while the database is away: some megabytes.
_MOST = 10_000

_Key = tuple[str, str, datetime]


class HumilityCounts:
    """What one worker counted and did not keep yet. Safe to use from many threads."""

    def __init__(self, most: int = _MOST) -> None:
        """most: rules times hours that are held; what comes beyond is not counted."""
        self._most = most
        self._counting = threading.Lock()
        self._keeping = threading.Lock()
        self._counts: dict[_Key, tuple[int, int]] = {}

    def count(
        self, deployment_id: str, rules: Sequence[Rule], humbled: Humbled
    ) -> None:
        """Count rows that were held against the rules of a deployment."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        looked_at = humbled.triggered.shape[1]
        triggered = humbled.triggered.sum(axis=1).tolist()
        self._add(
            ((deployment_id, rule.id, hour), (number, looked_at))
            for rule, number in zip(rules, triggered, strict=True)
        )

    def keep(self, totals: HumilityTotals) -> None:
        """Add what was counted to the totals.

        Raises what the store raises; the counts are then held for the next time.
        """
        # A worker that stops waits for what its thread is about to keep.
        with self._keeping:
            with self._counting:
                taken, self._counts = self._counts, {}
            if not taken:
                return
            counts = [HumilityCount(*key, *each) for key, each in taken.items()]
            try:
                totals.add(counts)
            except BaseException:
                self._add(taken.items())
                raise

    def _add(self, counts: Iterable[tuple[_Key, tuple[int, int]]]) -> None:
        with self._counting:
            for key, (triggered, looked_at) in counts:
                before = self._counts.get(key)
                if before is None and len(self._counts) >= self._most:
                    continue
                one, all = before or (0, 0)
                self._counts[key] = (one + triggered, all + looked_at)
