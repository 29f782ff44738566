"""A hook that does what it is told, much of which no hook should do."""

import itertools
import os
import resource
import socket
import subprocess
import sys
import time

CALLS = itertools.count(1)


class Odd(Exception):
    """Whose text cannot be had."""

    def __str__(self):
        raise ValueError("no text")


def hang():
    while True:
        pass


def rubbish():
    for number in range(64):
        try:
            os.write(number, b"rubbish" * 100)
        except OSError:
            pass
    return "done"


def printing():
    print("from the hook\x1b[31m", flush=True)
    os.write(1, b"from its first file\n")
    os.write(2, b"from its second file\n")
    return "printed"


def forking():
    # Both go on, and come back from here.
    os.fork()
    return str(os.getpid())


def connecting():
    with socket.socket() as tried:
        tried.settimeout(5)
        return str(tried.connect_ex(("127.0.0.1", 9)))


def writing():
    with open("large", "wb") as file:
        file.seek(2**40)
        file.write(b"x")
    return "written"


def opening():
    return str(len([open(os.devnull) for _ in range(1000)]))


def told():
    names = sorted({*os.environ} - {"LC_CTYPE"})
    core = resource.getrlimit(resource.RLIMIT_CORE)[0]
    return f"{os.listdir()} {names} {core} {sys.flags.isolated}"


WAYS = {
    "hang": hang,
    "sleep": lambda: time.sleep(60),
    "allocate": lambda: b"x" * (10 * 2**30),
    "exit": lambda: os._exit(3),
    "abort": os.abort,
    "leave": lambda: sys.exit("left"),
    "raise": lambda: [][1],
    "raise oddly": lambda: (_ for _ in ()).throw(Odd()),
    "raise at length": lambda: (_ for _ in ()).throw(ValueError("x" * 100_000)),
    "rubbish": rubbish,
    "print": printing,
    "print much": lambda: [print("x" * 5000) for _ in range(5000)] and "ok",
    "fork": forking,
    "fork and exit": lambda: os.fork() and os._exit(4) or time.sleep(60),
    "connect": connecting,
    "write": writing,
    "open": opening,
    "told": told,
    "child": lambda: subprocess.check_output(["cat", "/proc/self/status"]),
    "count": lambda: str(next(CALLS)),
    "process": lambda: str(os.getpid()),
    "nothing": lambda: None,
    "number": lambda: 5,
    "three": lambda: ("a", {}, 1),
    "odd type": lambda: ("a", {"mimetype": "text/plain\r\nX: y"}),
    "odd charset": lambda: ("ä", {"charset": "nonsense\r\nX: y"}),
    "latin": lambda: ("ä", {"mimetype": "text/plain", "charset": "latin-1"}),
    "picture": lambda: (b"\x89PNG", {"mimetype": "image/png"}),
    "large": lambda: bytes(2**20 + 1),
}


def score_unstructured(model, data, query, **kwargs):
    if kwargs["mimetype"] == "application/x-way":
        return WAYS[data.decode()]()
    if kwargs["mimetype"] == "application/x-about":
        return repr((model, type(data).__name__, query, kwargs))
    return data
