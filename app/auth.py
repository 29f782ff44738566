"""Who is asking: the Authorization header and the datarobot-key."""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import datetime

from app.errors import DatarobotKeyMissing, InvalidToken, NoCredentials
from app.store.records import Snapshot, User


def authenticate(header: str | None, snapshot: Snapshot, now: datetime) -> User:
    """The user that an Authorization header names.

    Bearer and Token carry the token; Basic carries the user's name and the token.
    Schemes are compared without regard to case.
    Raises InvalidToken or NoCredentials.

    Source: "Prediction API", the table of errors.
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
    user = snapshot.authenticate(credentials, now)
    if user is None or (name is not None and not _same(name, user.name)):
        raise InvalidToken
    return user


def _basic(credentials: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidToken from None
    name, _, token = text.partition(":")
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
