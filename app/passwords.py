"""Passwords: how they are kept, and whether one is right."""

from __future__ import annotations

from functools import cache

from werkzeug.security import check_password_hash, generate_password_hash

from app.errors import AppError

# Longer ones are no passwords, and would take long to hash.
_LEAST, _MOST = 8, 1024


class PasswordRefused(AppError):
    """A password is too short or too long."""


def hash_password(password: str) -> str:
    """What is kept of a password: salted, by scrypt. Raises PasswordRefused."""
    if not _LEAST <= len(password) <= _MOST:
        raise PasswordRefused(f"A password has {_LEAST} to {_MOST} characters")
    return generate_password_hash(password, method="scrypt")


def is_right(password: str, kept: str | None) -> bool:
    """Whether a password is the kept one; it takes as long where there is none."""
    if len(password) > _MOST:
        return False
    matches = check_password_hash(kept or _nobodys(), password)
    return matches and kept is not None


@cache
def _nobodys() -> str:
    return generate_password_hash("", method="scrypt")
