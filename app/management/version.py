"""Which version of the API this server is."""

from __future__ import annotations

from typing import Any, Final

_MAJOR, _MINOR = 2, 50

# Clients refuse another major version, and warn of an older minor one.
VERSION: Final[dict[str, Any]] = {
    "major": _MAJOR,
    "minor": _MINOR,
    "versionString": f"{_MAJOR}.{_MINOR}.0",
    "releasedVersion": f"{_MAJOR}.{_MINOR}.0",
}
