"""The lowest speed of files on their way, which may take any time in all."""

from __future__ import annotations

from typing import Final

# So many bytes, in so many seconds.
STEP: Final = 262_144
STEP_SECONDS: Final = 60.0
