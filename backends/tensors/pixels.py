"""How many pixels the pictures of a request may have."""

from __future__ import annotations

import threading

from backends.features import DataError


class Pixels:
    """A budget that the pictures of a request share; safe to use from many threads.

    A file of a few bytes may hold a picture that takes a second to decode.
    """

    def __init__(self, each: int, total: int) -> None:
        """each: of one picture. total: of all of them."""
        self.each = each
        self._total = total
        self._left = total
        self._lock = threading.Lock()

    def spend(self, pixels: int) -> None:
        """Take the pixels of one picture. Raises DataError when none are left."""
        with self._lock:
            self._left -= pixels
            is_spent = self._left < 0
        if is_spent:
            raise DataError(
                f"the request's pictures have more than {self._total:,} pixels: send"
                " fewer at once"
            )
