"""P1: CPU time that the server spends on a request of one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.load import Load, closed_loop, for_requests, whole
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server
from benchmarks.timing import interleave, paired_ratio, percentile
from benchmarks.workspace import Workspace

BAR = 1.6
_REQUESTS = 2000
_WARM_UP = 300


@dataclass(frozen=True, slots=True)
class _Run:
    """cpu: server seconds a request."""

    cpu: float
    load: Load


def measure(workspace: Workspace) -> Outcome:
    """Send rows one after another over one connection, and ask Linux for the bill."""
    with workspace.foretell() as foretell, workspace.bare() as bare:
        parts = [
            _part(workspace, name, foretell, bare) for name in workspace.names("P1")
        ]
    return Outcome(
        "server CPU time of one JSON row ÷ that of a bare Flask view",
        "OMP_NUM_THREADS=1 on both sides",
        workspace.engine,
        parts,
        {"notes": [str(part.details["summary"]) for part in parts]},
    )


def _part(workspace: Workspace, name: str, foretell: Server, bare: Server) -> Part:
    sides = {
        server.name: partial(_run, server, workspace.requests(server, name))
        for server in (foretell, bare)
    }
    for server in (foretell, bare):
        _load(server, workspace.requests(server, name), _WARM_UP)
    runs = interleave(sides)
    cpu = {side: [run.cpu for run in each] for side, each in runs.items()}
    details: dict[str, Any] = {
        side: {
            "cpu_us_a_request": median(cpu[side]) * 1e6,
            "latency_ms_p50": _latency(each, 0.5),
            "latency_ms_p99": _latency(each, 0.99),
            "client_cpu": median(run.load.cpu for run in each),
        }
        for side, each in runs.items()
    }
    summary = f"model {name}: " + "; ".join(
        f"{side} {each['cpu_us_a_request']:.0f} µs of CPU, latency "
        f"{each['latency_ms_p50']:.2f} ms (p99 {each['latency_ms_p99']:.2f})"
        for side, each in details.items()
    )
    ratio = paired_ratio(cpu["foretell"], cpu["bare"])
    return Part(
        f"model {name}", ratio, "<=", BAR, details=details | {"summary": summary}
    )


def _run(server: Server, requests: list[bytes]) -> _Run:
    before = server.cpu_seconds()
    load = _load(server, requests, _REQUESTS)
    return _Run((server.cpu_seconds() - before) / _REQUESTS, load)


def _load(server: Server, requests: list[bytes], count: int) -> Load:
    until = for_requests(count)
    return whole(closed_loop(server.address, requests, concurrency=1, until=until))


def _latency(runs: Sequence[_Run], share: float) -> float:
    return median(percentile(run.load.latencies, share) for run in runs) * 1e3
