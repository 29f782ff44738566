"""What Linux knows of a running process: its CPU time, its memory, its children."""

from __future__ import annotations

import time
from pathlib import Path

_MEGABYTE = 1_000_000


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads, ended ones too, to the nanosecond.

    /proc/PID/stat counts the same in ticks of 10 ms, /proc/PID/schedstat the first
    thread alone.
    """
    # The clock's number as clock_getcpuclockid(3) makes it; 2 is CPUCLOCK_SCHED.
    return time.clock_gettime((~pid << 3) | 2)


def children(pid: int) -> list[int]:
    """Processes that this one started and that still run."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def pss(pid: int) -> float:
    """Proportional set size: pages shared by n processes count 1/n. In MB."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def resident(pid: int) -> float:
    """Resident memory, in MB."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak(pid: int) -> float:
    """Largest resident memory since the start or `reset_peak`, in MB."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def reset_peak(pid: int) -> None:
    """Let `peak` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def mapped(pid: int) -> set[str]:
    """Paths of the files that a process has mapped into its memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}


def connections(pid: int) -> int:
    """Open sockets of a process."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(_target(link).startswith("socket:") for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def _kilobytes(path: str, key: str) -> float:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    raise LookupError(f"{path} has no {key}")
