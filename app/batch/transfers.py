"""How many uploads and downloads a worker has under way."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.errors import Overloaded


def most_transfers(max_in_flight: int) -> int:
    """Of each worker, which has as many threads beyond those of other requests."""
    return max(2, max_in_flight // 4)


class Transfers:
    """Places for uploads and downloads, which may take hours.

    They are none of the requests in flight: those are answered within a time.
    """

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    def take(self) -> Callable[[], None]:
        """Take a place; what is returned gives it back, however often it is called.

        Raises Overloaded if there is none.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded
        held = [self._places]

        def give_back() -> None:
            if held:
                held.pop().release()

        return give_back
