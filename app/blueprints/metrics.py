"""What monitoring scrapes."""

from __future__ import annotations

from ipaddress import ip_address

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from app.context import current_services
from app.monitoring import exposition

metrics = Blueprint("metrics", __name__)

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@metrics.get("/metrics", strict_slashes=False)
def scrape() -> Response:
    """Deployments and their engines, for this machine only.

    There is no token in it: whoever comes over the network, or through nginx, is told
    that there is no such page.
    """
    if "X-Forwarded-For" in request.headers or not _is_local(request.remote_addr):
        raise NotFound
    return Response(exposition(current_services()), content_type=_TEXT)


def _is_local(peer: str | None) -> bool:
    # A unix socket's peer has no address.
    if not peer:
        return True
    address = ip_address(peer)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
