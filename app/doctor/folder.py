"""The state folder, and the folder of the socket: rights, disk and file system."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from app.config import Config
from app.doctor.findings import Finding, Problem

# Less than this is used up by one bundle, or by one large upload on its way.
_LEAST_DISK = 2**30

# File systems of other machines: SQLite's WAL needs memory shared by its users.
_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3"}
)


def folder(config: Config) -> Finding:
    """Of one that is not there yet, the folder that it will be made in."""
    home = config.home
    facts: dict[str, Any] = {"path": str(home), "exists": home.exists()}
    # A new installation has no folder yet: where it will be made is what counts.
    place = next(each for each in (home, *home.parents) if each.exists())
    status = place.stat()
    free = shutil.disk_usage(place).free
    facts |= {
        "mode": stat.filemode(status.st_mode),
        "free_bytes": free,
        "file_system": _file_system(place),
    }
    problems = []
    if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        text = f"{place} is no folder that this user may read and write"
        problems.append(Problem(text, "run as its owner, or set FORETELL_HOME"))
    if home.exists() and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"others than the owner may write to {home}"
        problems.append(Problem(text, f"chmod go-w {home}"))
    if free < _LEAST_DISK:
        text = f"only {free / 2**20:.0f} MiB of disk are free at {place}"
        problems.append(Problem(text, "make room: 1 GiB and more is wanted"))
    if facts["file_system"] in _REMOTE and config.database_url.startswith("sqlite"):
        text = f"{home} is on {facts['file_system']}, where SQLite may lose changes"
        remedy = "set FORETELL_HOME to a local disk, or use PostgreSQL"
        problems.append(Problem(text, remedy))
    if place_of_socket := _missing_socket_folder(config.bind):
        text = f"the folder of FORETELL_BIND, {place_of_socket}, is not there"
        problems.append(Problem(text, f"mkdir -p {place_of_socket}"))
    return Finding("folder", facts, problems)


def _file_system(place: Path) -> str | None:
    """The type of the file system that a folder is on, as the kernel names it."""
    found = None
    longest = 0
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        # Later mounts lie over earlier ones.
        if place.is_relative_to(point) and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def _missing_socket_folder(bind: str) -> Path | None:
    if not bind.startswith("unix:"):
        return None
    folder = Path(bind.removeprefix("unix:")).absolute().parent
    return None if folder.is_dir() else folder
