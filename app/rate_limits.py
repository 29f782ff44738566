"""How often each deployment may be asked, over all workers of the server."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
import weakref

from app.errors import TooManyRequests

# A minute of whole seconds, each with its own count.
_SECONDS = 60
# Bytes of a deployment's id, of the time of its last request and of a count.
_ID, _TIME, _COUNT = 12, 8, 4
_PLACES = 4096


class RateLimits:
    """Counts of the requests to deployments, in each of the last sixty seconds.

    They are those of all workers: kept in memory that these share, made before they
    are forked. While one counts the others wait, by a lock of the kernel's that is free
    again when its process ends, however it ends. Each step of a count leaves behind
    what the next one goes on from, so that nothing has to be mended after a kill.

    There is a place for each of some deployments. If more of them have limits, the one
    whose last request is the longest ago makes room: it may then be asked more often
    than its limit, and none is ever refused for another's requests.
    """

    def __init__(self, places: int = _PLACES) -> None:
        """places: of how many deployments counts are kept at a time."""
        times, counts = _TIME * places, _TIME * places + _COUNT * _SECONDS * places
        memory = memoryview(mmap.mmap(-1, counts + _ID * places))
        # Counted from `_SECONDS` on, so that a place of 0 was not asked for a minute.
        self._last = memory[:times].cast("Q")
        self._counts = memory[times:counts].cast("I")
        self._ids = memory[counts:]
        # Locks of this kind belong to a process: threads need another one among them.
        self._descriptor = os.memfd_create("foretell-rate-limits")
        weakref.finalize(self, os.close, self._descriptor)
        self._threads = threading.Lock()
        # Where this process found deployments last.
        self._known: dict[str, int] = {}

    def check(self, deployment_id: str, most: int, now: float | None = None) -> None:
        """Count a request, if there were fewer than `most` in the last minute.

        deployment_id: 24 hexadecimal digits. most: from 1 to 2^32 - 1.
        now: seconds, never fewer than before; None: the machine's monotonic clock.
        Raises TooManyRequests. A request that is refused does not count; after the
        seconds that it is told to wait there is room for one, and not before.
        """
        with self._threads:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                # Read where nobody else is: so nobody is behind what was counted.
                moment = time.monotonic() if now is None else now
                wait = self._count(deployment_id, most, int(moment) + _SECONDS)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        if wait:
            raise TooManyRequests(most, wait)

    def _count(self, deployment_id: str, most: int, second: int) -> int:
        """How many seconds to wait; 0 if the request was counted."""
        place = self._place(deployment_id)
        self._forget_before(place, second)
        start = place * _SECONDS
        counts = self._counts[start : start + _SECONDS]
        asked = sum(counts)
        if asked < most:
            counts[second % _SECONDS] += 1
            return 0
        for wait in range(1, _SECONDS):
            asked -= counts[(second + wait) % _SECONDS]
            if asked < most:
                return wait
        return _SECONDS

    def _forget_before(self, place: int, second: int) -> None:
        """Begin the seconds since the last request anew."""
        last = self._last[place]
        if last >= second:
            return
        for each in range(max(last, second - _SECONDS) + 1, second + 1):
            self._counts[place * _SECONDS + each % _SECONDS] = 0
        # Now, and not before: a worker that is killed on the way is followed by one
        # that begins them anew again.
        self._last[place] = second

    def _place(self, deployment_id: str) -> int:
        wanted = bytes.fromhex(deployment_id)
        known = self._known.get(deployment_id)
        if known is not None and self._id(known) == wanted:
            return known
        if len(self._known) >= len(self._last):
            self._known.clear()
        place = self._found(wanted)
        self._known[deployment_id] = place
        return place

    def _found(self, wanted: bytes) -> int:
        """Its place, or else that of the deployment that was asked the longest ago."""
        ids = bytes(self._ids)
        found = ids.find(wanted)
        # Not where one id ends and the next one begins.
        while found % _ID and found > 0:
            found = ids.find(wanted, found + 1)
        if found >= 0:
            return found // _ID
        times = self._last.tolist()
        place = times.index(min(times))
        # First, so that no other deployment takes up these counts.
        self._last[place] = 0
        self._ids[place * _ID : (place + 1) * _ID] = wanted
        return place

    def _id(self, place: int) -> bytes:
        return bytes(self._ids[place * _ID : (place + 1) * _ID])
