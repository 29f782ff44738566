"""Tokens for those who say their name and password."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Final

from app.auth import authenticate
from app.errors import InvalidToken, TooManyLogins, TooManyRequests
from app.passwords import is_right
from app.rate_limits import RateLimits
from app.services import Services
from app.store.records import Actor, Caller, User

_GOOD_FOR: Final = timedelta(days=7)
# A minute: of one user, and of all, for each takes a tenth of a second.
_MOST_OF_ONE: Final = 5
_MOST_OF_ALL: Final = 60
_ALL: Final = "0" * 24


def token_for(services: Services, header: str | None, now: datetime) -> str:
    """A token by an Authorization header of the scheme Basic.

    A user's name and password get a new token; name and token get that token.
    Raises InvalidToken, and TooManyLogins for passwords that are not even looked at.
    """
    name, secret = _basic(header)
    caller = _known(services, header, now)
    if caller is not None:
        # Deployment tokens and those sent without a name among them.
        return secret or name
    user = _user(services, name)
    _count(services.logins, name)
    if not is_right(secret, user.password if user else None):
        raise InvalidToken
    assert user is not None
    store = services.store.acting(Actor(user.name, "api"))
    _, token = store.create_token(user.name, _GOOD_FOR)
    services.refresh()
    return token


def _known(services: Services, header: str | None, now: datetime) -> Caller | None:
    try:
        return authenticate(header, services.snapshot, now)
    except InvalidToken:
        return None


def _basic(header: str | None) -> tuple[str, str]:
    scheme, _, credentials = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        raise InvalidToken
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:
        # No base64, no UTF-8, or characters that are none of ASCII's.
        raise InvalidToken from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise InvalidToken
    return name, secret


def _user(services: Services, name: str) -> User | None:
    # A password that was set a moment ago counts.
    services.catch_up()
    users = services.snapshot.users.values()
    return next((each for each in users if each.name == name), None)


def _count(logins: RateLimits, name: str) -> None:
    """Count an attempt, right or wrong; raises TooManyLogins.

    All together are counted last: who only guesses at one name locks nobody else out.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    for key, most in ((digest[:24], _MOST_OF_ONE), (_ALL, _MOST_OF_ALL)):
        try:
            logins.check(key, most)
        except TooManyRequests as error:
            raise TooManyLogins(error.retry_after) from None
