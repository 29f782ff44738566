"""P2: requests of one row a second, from 8 and from 32 clients at once."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from benchmarks.load import Load, closed_loop, for_seconds, whole
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server
from benchmarks.specimens import SPECIMENS
from benchmarks.timing import interleave, paired_ratio, percentile
from benchmarks.workspace import Workspace

OF_BARE = 0.7
OF_HANDWRITTEN = {"a": 15.0, "b": 3.5}
CONCURRENCY = (8, 32)
_SECONDS = 1.0
_WARM_UP = 0.3


def measure(workspace: Workspace) -> Outcome:
    """Load three servers in turn."""
    parts: list[Part] = []
    notes: list[str] = []
    with (
        workspace.foretell() as foretell,
        workspace.bare() as bare,
        workspace.handwritten() as handwritten,
    ):
        servers = (foretell, bare, handwritten)
        for name in SPECIMENS:
            for server in servers:
                _load(server, workspace.requests(server, name), 8, _WARM_UP)
            for concurrency in CONCURRENCY:
                sides = {
                    server.name: partial(
                        _load,
                        server,
                        workspace.requests(server, name),
                        concurrency,
                        _SECONDS,
                    )
                    for server in servers
                }
                runs = interleave(sides)
                parts += _parts(name, concurrency, runs)
                notes.append(_note(name, concurrency, runs))
    return Outcome(
        "one-row requests a second ÷ those of the bare and of the pandas server",
        "OMP_NUM_THREADS=1 on every side; 2 workers each",
        parts,
        {"notes": notes},
    )


def _load(
    server: Server, requests: list[bytes], concurrency: int, seconds: float
) -> Load:
    until = for_seconds(seconds)
    return whole(
        closed_loop(server.address, requests, concurrency=concurrency, until=until)
    )


def _parts(name: str, concurrency: int, runs: dict[str, list[Load]]) -> list[Part]:
    rates = {side: [load.rate for load in each] for side, each in runs.items()}
    bars = {"bare": OF_BARE, "handwritten": OF_HANDWRITTEN[name]}
    return [
        Part(
            f"model {name}, concurrency {concurrency}, against {side}",
            paired_ratio(rates["foretell"], rates[side]),
            ">=",
            bar,
            details=_details(runs, side),
        )
        for side, bar in bars.items()
    ]


def _details(runs: dict[str, list[Load]], against: str) -> dict[str, Any]:
    return {
        side: {
            "requests_a_second": median(load.rate for load in runs[side]),
            "latency_ms_p50": _latency(runs[side], 0.5),
            "latency_ms_p99": _latency(runs[side], 0.99),
            "client_cpu": median(load.cpu for load in runs[side]),
        }
        for side in ("foretell", against)
    }


def _note(name: str, concurrency: int, runs: dict[str, list[Load]]) -> str:
    sides = "; ".join(
        f"{side} {median(load.rate for load in each):.0f}/s, "
        f"p99 {_latency(each, 0.99):.1f} ms"
        for side, each in runs.items()
    )
    client = median(load.cpu for load in runs["foretell"])
    return f"model {name}, {concurrency}: {sides}; client {client:.0%} of a core"


def _latency(loads: list[Load], share: float) -> float:
    return median(percentile(load.latencies, share) for load in loads) * 1e3
