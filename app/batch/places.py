"""Where batch jobs may read and write: folders and URLs that a setting names."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from app.config import Config
from app.errors import AppError

Format = Literal["csv", "parquet"]

# What a URL is written with; anything else in one is a percent sign and two digits.
_URL: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_PARQUET: Final = (".parquet", ".pq")
# The limit of Linux.
_MOST_NAME: Final = 255
_PORTS: Final = {"http": 80, "https": 443}


class LocationRefused(AppError):
    """A job may not, or cannot, read or write there.

    field: which member of the settings says so.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(problem)


def check(settings: Mapping[str, Any], config: Config) -> None:
    """Raise LocationRefused unless the settings name a place that jobs may use.

    settings: of an intake or an output, as the job's spec has them.
    """
    kind = settings.get("type")
    if kind == "localFile":
        return
    if "credentialId" in settings:
        raise LocationRefused(
            "credentialId",
            "is not supported: credentials come from the server's environment",
        )
    if not config.batch_locations.split():
        raise LocationRefused(
            "type",
            f"{kind} is not allowed on this server: FORETELL_BATCH_LOCATIONS names no"
            " place that batch jobs may use",
        )
    if kind == "filesystem":
        path_of(settings, config)
    elif kind in ("s3", "http"):
        url_of(settings, config)
    else:
        raise LocationRefused("type", f"{kind} is not supported by this server")
    format_of(settings)


def format_of(settings: Mapping[str, Any]) -> Format:
    """The format that is said, or that the name ends with. Raises LocationRefused."""
    said = settings.get("format")
    if said in ("csv", "parquet"):
        return said  # type: ignore[no-any-return]
    if said is not None:
        raise LocationRefused("format", "is csv or parquet")
    name = str(settings.get("path") or urlsplit(str(settings.get("url"))).path)
    return "parquet" if name.lower().endswith(_PARQUET) else "csv"


def path_of(settings: Mapping[str, Any], config: Config) -> Path:
    """A file in an allowed folder, its folder without links. Raises LocationRefused."""
    text = str(settings.get("path", ""))
    if not text.startswith("/") or "\0" in text or text.endswith("/"):
        raise LocationRefused("path", "is to be the absolute path of a file")
    if len(os.fsencode(os.path.basename(text))) > _MOST_NAME:
        raise LocationRefused("path", f"has a name of more than {_MOST_NAME} bytes")
    path = Path(os.path.realpath(os.path.dirname(text))) / os.path.basename(text)
    if path.name in ("", ".", ".."):
        raise LocationRefused("path", "is to be the absolute path of a file")
    check_inside(path.parent, config)
    try:
        is_link = path.is_symlink()
    except OSError:
        raise LocationRefused("path", "The server may not use this file") from None
    if is_link:
        raise LocationRefused("path", "is a link: name the file itself")
    return path


def check_inside(folder: Path, config: Config) -> None:
    """Raise LocationRefused for a folder, without links, that is not allowed."""
    allowed = [
        Path(os.path.realpath(place))
        for place in config.batch_locations.split()
        if place.startswith("/")
    ]
    own = Path(os.path.realpath(config.home))
    if not any(folder.is_relative_to(place) for place in allowed):
        raise LocationRefused(
            "path", "is in no folder that FORETELL_BATCH_LOCATIONS names"
        )
    if folder.is_relative_to(own):
        raise LocationRefused("path", "is in the server's state folder")


def open_folder(path: Path, config: Config) -> int:
    """A descriptor of the file's folder, which is allowed where it really is.

    Links may have been put on the way since the path was looked at.
    Raises LocationRefused and OSError.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        check_inside(Path(os.readlink(f"/proc/self/fd/{descriptor}")), config)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_file(path: Path, config: Config) -> int:
    """A descriptor to read a plain file from. Raises LocationRefused and OSError."""
    folder = open_folder(path, config)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LocationRefused("path", "is not a file")
    return descriptor


def part_name(job_id: str) -> str:
    """Under what name a job's output is written until it is complete."""
    return f"{_part_prefix(job_id)}{secrets.token_hex(8)}.part"


def _part_prefix(job_id: str) -> str:
    return f".foretell-{job_id}-"


def remove_left(folder: int, job_id: str) -> None:
    """Remove what deliveries of a job that were cut off left in a folder.

    folder: its descriptor. Raises OSError.
    """
    for name in os.listdir(folder):
        if name.startswith(_part_prefix(job_id)) and name.endswith(".part"):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def forget(settings: Mapping[str, Any], job_id: str, config: Config) -> None:
    """Remove the same of a job that has ended; what cannot be is left.

    settings: of the output.
    """
    if settings["type"] != "filesystem":
        return
    with suppress(LocationRefused, OSError):
        folder = open_folder(path_of(settings, config), config)
        try:
            remove_left(folder, job_id)
        finally:
            os.close(folder)


def url_of(settings: Mapping[str, Any], config: Config) -> str:
    """A URL that begins as an allowed one does. Raises LocationRefused."""
    url, kind = str(settings.get("url", "")), settings.get("type")
    parts = _parsed(url)
    if (parts.scheme == "s3") != (kind == "s3"):
        wanted = "s3://BUCKET/KEY" if kind == "s3" else "http://… or https://…"
        raise LocationRefused("url", f"is to be {wanted}")
    if not parts.path.strip("/") or parts.path.endswith("/"):
        raise LocationRefused("url", "names no file")
    for place in config.batch_locations.split():
        if not place.startswith("/") and _begins(parts, place):
            return url
    raise LocationRefused(
        "url", "begins with no URL that FORETELL_BATCH_LOCATIONS names"
    )


def _parsed(url: str) -> SplitResult:
    """Raises LocationRefused for what could be read as another place than it seems."""
    if not _URL.fullmatch(url):
        raise LocationRefused("url", "has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise LocationRefused("url", "is no URL") from None
    if parts.scheme not in ("s3", "http", "https") or not parts.hostname:
        raise LocationRefused("url", "is to begin with s3://, http:// or https://")
    if "@" in parts.netloc or parts.fragment or "\\" in url:
        raise LocationRefused("url", "may hold no user, password or fragment")
    if parts.scheme == "s3" and (port or parts.query or "%" in url):
        raise LocationRefused("url", "is to be s3://BUCKET/KEY")
    # Whoever serves it may take the percent signs off more than once.
    path, before = parts.path, ""
    while path != before:
        path, before = unquote(path), path
    if {".", ".."} & set(re.split(r"[/\\]", path)):
        raise LocationRefused("url", "may not hold . or .. between slashes")
    return parts


def _begins(parts: SplitResult, place: str) -> bool:
    try:
        allowed = urlsplit(place)
        is_same = _origin(parts) == _origin(allowed)
    except ValueError:
        # The setting has no such place.
        return False
    if not is_same:
        return False
    beginning = allowed.path.rstrip("/")
    return parts.path == beginning or parts.path.startswith(f"{beginning}/")


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    if parts.scheme == "s3":
        # Names of buckets are told apart by case where the store does.
        return "s3", parts.netloc, None
    port = parts.port or _PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port
