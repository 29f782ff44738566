"""P8: what each further worker adds to the memory."""

from __future__ import annotations

from functools import partial
from statistics import median

from benchmarks import processes
from benchmarks.load import closed_loop, for_requests, whole
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server
from benchmarks.timing import interleave
from benchmarks.workspace import Workspace

BAR = 60.0
_FEW, _MANY = 1, 3
_REQUESTS = 300
_CONNECTIONS = 32


def measure(workspace: Workspace) -> Outcome:
    """Start with one and with three workers, in turn, and divide the difference.

    No other server runs meanwhile: it would share libraries, and so hide their pages.
    """
    sides = {str(count): partial(_pss, workspace, count) for count in (_FEW, _MANY)}
    runs = interleave(sides)
    more = [
        (many - few) / (_MANY - _FEW)
        for few, many in zip(runs[str(_FEW)], runs[str(_MANY)], strict=True)
    ]
    details = {
        f"pss_mb_of_{count}_workers_and_master": median(each)
        for count, each in runs.items()
    }
    note = "; ".join(
        f"{count} worker(s) and master {median(each):.0f} MB"
        for count, each in runs.items()
    )
    models = ", ".join(workspace.names("P8"))
    part = Part(f"models {models} loaded", median(more), "<=", BAR, "MB", details)
    return Outcome(
        "memory (PSS) of each further worker",
        "OMP_NUM_THREADS=1",
        workspace.engine,
        [part],
        {"notes": [note]},
    )


def _pss(workspace: Workspace, workers: int) -> float:
    with workspace.foretell(FORETELL_WORKERS=str(workers)) as server:
        for name in workspace.names("P8"):
            _ask_every_worker(workspace, server, name)
        return server.pss()


def _ask_every_worker(workspace: Workspace, server: Server, name: str) -> None:
    requests = workspace.requests(server, name)
    before = {worker: processes.cpu_seconds(worker) for worker in server.workers}
    while before:
        load = closed_loop(
            server.address,
            requests,
            concurrency=_CONNECTIONS,
            until=for_requests(_REQUESTS),
        )
        whole(load)
        # A worker that only looked at the store has used far less.
        before = {
            worker: cpu
            for worker, cpu in before.items()
            if processes.cpu_seconds(worker) - cpu < 0.02
        }
