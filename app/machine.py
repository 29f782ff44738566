"""The cores and the memory that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a cgroup of version 1 answers when it sets no limit is a number near 2**63.
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class Cores:
    """machine: of the machine. affinity: of the cpuset.

    quota: processor seconds a second that a container may use; None: no quota.
    """

    machine: int
    affinity: int
    quota: float | None

    @property
    def usable(self) -> int:
        """How many threads can run at once; at least 1."""
        if self.quota is None:
            return self.affinity
        return max(1, min(self.affinity, math.ceil(self.quota)))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. machine: of the machine. limit: of the container; None: no limit."""

    machine: int
    limit: int | None

    @property
    def usable(self) -> int:
        """What all processes of the server together can have."""
        return self.machine if self.limit is None else min(self.machine, self.limit)


def cores(root: Path = Path("/")) -> Cores:
    """root: where proc and sys are."""
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return Cores(
        machine=os.cpu_count() or 1,
        affinity=len(os.sched_getaffinity(0)),
        quota=min(quotas, default=None),
    )


def memory(root: Path = Path("/")) -> Memory:
    """root: where proc and sys are."""
    limits = [
        int(text)
        for folder, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
        for group in _groups(root, folder)
        if (text := _read(group / name)).isdigit()
    ]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = min((each for each in limits if each < _NO_LIMIT), default=None)
    return Memory(machine=pages, limit=limit)


def _quotas_v2(root: Path) -> Iterator[float]:
    for group in _groups(root, ""):
        # "200000 100000" or "max 100000": microseconds in a period.
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            yield int(quota) / int(period)


def _quotas_v1(root: Path) -> Iterator[float]:
    for group in _groups(root, "cpu"):
        quota = _read(group / "cpu.cfs_quota_us")
        period = _read(group / "cpu.cfs_period_us")
        # -1 is no quota.
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it.

    controller: of version 1; empty for version 2. A limit above counts as well; in a
    container the group's own folder is often mounted as the topmost.
    """
    top = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller not in names.split(","):
            continue
        mounted = top / names if names else top
        inner = mounted / path.lstrip("/")
        yield inner
        yield from (each for each in inner.parents if each.is_relative_to(mounted))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
