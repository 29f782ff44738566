"""How the processes run. `gunicorn` alone in this folder starts the server."""

import ctypes
import gc
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

# Numerical libraries read these when they load, in the workers. More than one thread
# for a small request makes it slower, and threads started before a fork hang after it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# onnxruntime reports model names to its maker unless told otherwise before its import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# glibc gives threads arenas of their own, up to eight for each core, and each keeps
# what its largest request took: two do for a few cores, and hold the memory together.
_M_ARENA_MAX = -8
with suppress(AttributeError):
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)

# Messages of the application look like gunicorn's own.
logging.basicConfig(
    level=logging.INFO,
    format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
)

from app.batch.transfers import most_transfers  # noqa: E402
from app.config import Config  # noqa: E402  (the variables above come first)
from backends.trees.kernel_cache import prepare  # noqa: E402

foretell = Config.from_environment()

wsgi_app = "wsgi:application"
bind = foretell.bind
workers = foretell.workers

# Threads cover slow clients; scoring leaves the interpreter's lock. The few beyond
# what the server takes on answer health checks and refuse the surplus at once.
worker_class = "gthread"
# Uploads and downloads of batch jobs have threads of their own.
threads = foretell.max_in_flight + 4 + most_transfers(foretell.max_in_flight)
worker_connections = 1000 + threads

# The code is loaded once, before the fork, and shared; model libraries are not: OpenMP
# and onnxruntime do not survive a fork. Replaced models need no restart.
preload_app = True

# A worker's heartbeat comes from its own loop, so this is no limit on a request: that
# is FORETELL_REQUEST_SECONDS. It ends a worker that hangs as a whole.
timeout = 60
graceful_timeout = foretell.graceful_seconds
keepalive = foretell.keep_alive

# The longest line that gunicorn allows; the documents promise 8,192 bytes.
limit_request_line = 8190

# The heartbeat's file must not wait for a disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None

# The control socket would be made in the home folder, which a hardened service lacks.
control_socket_disable = True

# The application writes its own line for each request.
accesslog = None
errorlog = "-"


def on_starting(server: Any) -> None:
    """Bring the state folder up to date, once, before there are workers.

    The database gets the newest schema; models that another release deployed, or a
    backup brought, are compiled. The kernels' code is loaded here for all workers.
    """
    services = server.app.wsgi().extensions["foretell"]
    services.store.migrate()
    prepare(foretell.kernels)
    services.compile_missing()
    services.close()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker its count; keep the pages shared so far from being copied."""
    services = server.app.wsgi().extensions["foretell"]
    worker.cell = services.admission.take_cell()
    # The collector would touch each object, and so copy the page that it lies on.
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Begin to load models and to follow the store, after the fork."""
    services = worker.wsgi.extensions["foretell"]
    services.start(is_stopping=lambda: not worker.alive, cell=worker.cell)


def worker_exit(server: Any, worker: Any) -> None:
    """Have the worker keep what it counted, after its last request."""
    # The master calls this too, for a worker that it finds gone.
    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        wsgi.extensions["foretell"].finish()


def child_exit(server: Any, worker: Any) -> None:
    """What a worker had in flight when it was killed is so no more."""
    services = server.app.wsgi().extensions["foretell"]
    services.admission.free_cell(worker.cell)
