"""Who is asking: the Authorization header and the datarobot-key."""

from __future__ import annotations

import base64
import hmac
from datetime import datetime

from app.errors import DatarobotKeyMissing, InvalidToken, NoCredentials
from app.store.records import Caller, Snapshot


def authenticate(header: str | None, snapshot: Snapshot, now: datetime) -> Caller:
    """Whose request an Authorization header makes it, and what the token opens.

    Bearer and Token carry the token; Basic carries the user's name and the token, or
    the token in the place of the name and an empty password. Schemes are compared
    without regard to case.
    Raises InvalidToken or NoCredentials.

    Source: "Prediction API", the table of errors; for the empty password "Using the
    API with cURL" of the Deployment API.
    """
    scheme, _, credentials = (header or "").strip().partition(" ")
    credentials = credentials.strip()
    kind = scheme.lower()
    if kind not in ("bearer", "token", "basic"):
        raise InvalidToken
    if not credentials:
        raise NoCredentials
    name = None
    if kind == "basic":
        name, credentials = _basic(credentials)
    caller = snapshot.authenticate(credentials, now)
    if caller is None or (name is not None and not _same(name, caller.user.name)):
        raise InvalidToken
    return caller


def _basic(credentials: str) -> tuple[str | None, str]:
    """The user's name, if there is one, and the token."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        # No base64, no UTF-8, or characters that are none of ASCII's.
        raise InvalidToken from None
    name, colon, token = text.partition(":")
    if colon and not token:
        return None, name
    return name, token


def check_datarobot_key(given: str | None, key: str) -> None:
    """Hold the datarobot-key header against the server's, if it has one.

    Raises DatarobotKeyMissing for an absent, an empty and a wrong key alike.
    """
    if key and not _same(given or "", key):
        raise DatarobotKeyMissing


def _same(given: str, expected: str) -> bool:
    given_bytes = given.encode("utf-8", "surrogatepass")
    return hmac.compare_digest(given_bytes, expected.encode())
