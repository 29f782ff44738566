"""How many uploads and downloads a worker has under way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from app.errors import Overloaded


def most_transfers(max_in_flight: int) -> int:
    """Of each worker, which has as many threads beyond those of other requests.

    At least four: one user downloads while they upload, and so does another.
    """
    return max(4, max_in_flight // 4)


class Transfers:
    """Places for uploads and downloads, which may take hours.

    They are none of the requests in flight: those are answered within a time. Half of
    them are open to one user, so that nobody can shut out all the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, user_id: str) -> Callable[[], None]:
        """Take a place; what is returned gives it back, however often it is called.

        Raises Overloaded if there is none for this user.
        """
        with self._lock:
            is_full = self._taken.total() >= self._most
            if is_full or self._taken[user_id] >= self._most_of_one:
                raise Overloaded
            self._taken[user_id] += 1
        held = [user_id]

        def give_back() -> None:
            with self._lock:
                if held:
                    self._taken[held.pop()] -= 1
                    # Users that are gone are not kept.
                    self._taken += Counter()

        return give_back
