"""Where the server is, as its clients are told."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote

from flask import Request

# Names may have underscores, as those of containers do.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?"
)
_MOST_PORT: Final = 65_535


def base_url(request: Request) -> str:
    """The server's address as the client used it, without a slash at its end.

    Where the request names no host, or none that can stand in a URL, it is the path
    alone: that below which the server is mounted, mostly "".
    """
    # Not the request's own properties: they refuse names with underscores, and fail
    # to decode some international ones.
    host = request.headers.get("Host", "")
    root = quote(request.root_path.strip("/"))
    path = f"/{root}" if root else ""
    return f"{request.scheme}://{host}{path}" if _is_usable(host) else path


def _is_usable(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    address, port = found.groups()
    if port is not None and not 0 < int(port) <= _MOST_PORT:
        return False
    return address is None or _is_ipv6(address)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
