"""What the process of a hook takes on itself before it runs the hook's code.

Nothing of this makes hostile code harmless: it still runs as the service's user and
reads what that user may read. It bounds what code does by mistake.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_NEW_NET, _NEW_PID, _NEW_IPC, _NEW_USER = (
    *(0x40000000, 0x20000000, 0x08000000),
    0x10000000,
)
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_CAPABILITIES_3: Final = 0x20080522

_OPEN_FILES: Final = 256
_PROCESSES: Final = 256

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> bool:
    """Leave the network, and the other processes, behind; returns whether it is so.

    Where the kernel lets it, this process becomes the keeper of a child in namespaces
    of its own, whose child alone returns; when that one ends, all that it started do,
    and so does the keeper, with its status.
    """
    user, group = os.getuid(), os.getgid()
    others = _NEW_NET | _NEW_PID | _NEW_IPC
    if _libc.unshare(_NEW_USER | others) == 0:
        _map(user, group)
        _cap(resource.RLIMIT_NPROC, _PROCESSES)
    elif _libc.unshare(others) != 0:
        return False
    # The first of the new processes is spared signals that end others, its own
    # `abort` among them: it waits, and the second one returns.
    for _ in range(2):
        child = os.fork()
        if child:
            _keep(child)
    return True


def can_isolate() -> bool:
    """Whether `isolate` would; tried in a process of its own."""
    child = os.fork()
    if child == 0:
        others = _NEW_NET | _NEW_PID | _NEW_IPC
        done = _libc.unshare(_NEW_USER | others) == 0 or _libc.unshare(others) == 0
        os._exit(0 if done else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _map(user: int, group: int) -> None:
    # Without a name for itself the process is nobody, which does no harm.
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _keep(child: int) -> None:
    """Wait for the child and end as it did. Does not return."""
    die_with_parent()
    # The channel is the child's alone: its end has to be seen.
    os.closerange(0, 2)
    os.closerange(3, _OPEN_FILES)
    ended = -1
    while ended != child:
        # Orphans come to the first process of their namespace.
        ended, code = os.wait()
    status = os.waitstatus_to_exitcode(code)
    os._exit(status if status >= 0 else 128 - status)


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def confine(memory: int, file_bytes: int) -> None:
    """Take on what stays: no way to more rights, caps on memory and files.

    memory: bytes of address space beyond what the process has now.
    file_bytes: size of the largest file that it may write.
    """
    die_with_parent()
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities()
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_FSIZE, file_bytes)
    _cap(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _cap(resource.RLIMIT_AS, _address_space() + memory)


def allow_time(seconds: float) -> None:
    """Let the next piece of work take so long on every core, and be killed after."""
    most = time.process_time() + seconds * (os.cpu_count() or 1) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(most) + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())


def _cap(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(limit, (value, value))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
