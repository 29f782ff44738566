"""P2: requests of one row a second, from 8 and from 32 clients at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.load import Load, closed_loop, for_seconds, whole
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server
from benchmarks.timing import interleave, paired_ratio, percentile
from benchmarks.workspace import Workspace

OF_BARE = 0.7
OF_HANDWRITTEN = 3.5
# A DataFrame of many categorical columns costs the pandas server most of its time.
OF_HANDWRITTEN_BY_NAME = {"a": 15.0}
CONCURRENCY = (8, 32)
# Short windows and more of them: a burst of other work spoils a round, not the median.
_ROUNDS = 7
_SETTLE = 0.15
_SECONDS = 0.8
_WARM_UP = 0.5


@dataclass(frozen=True, slots=True)
class _Run:
    """cpu: seconds of all the server's workers for each request."""

    load: Load
    cpu: float


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
        for name in workspace.names("P2"):
            for server in servers:
                _run(server, workspace.requests(server, name), 8, _WARM_UP)
            for concurrency in CONCURRENCY:
                sides = {
                    server.name: partial(
                        _run,
                        server,
                        workspace.requests(server, name),
                        concurrency,
                        _SECONDS,
                    )
                    for server in servers
                }
                runs = interleave(sides, _ROUNDS)
                parts += _parts(name, concurrency, runs)
                notes.append(_note(name, concurrency, runs))
    return Outcome(
        "one-row requests a second ÷ those of the bare and of the pandas server",
        "OMP_NUM_THREADS=1 on every side; 2 workers each",
        workspace.engine,
        parts,
        {"notes": notes},
    )


def _run(
    server: Server, requests: list[bytes], concurrency: int, seconds: float
) -> _Run:
    before, until = server.cpu_seconds(), for_seconds(seconds)
    load = closed_loop(
        server.address,
        requests,
        concurrency=concurrency,
        until=until,
        settle=_SETTLE,
    )
    used = server.cpu_seconds() - before
    # What was answered while it settled, and after the end, took its time as well.
    answered = len(load.ended) + load.uncounted + concurrency
    return _Run(whole(load), used / answered)


def _parts(name: str, concurrency: int, runs: dict[str, list[_Run]]) -> list[Part]:
    rates = {side: [run.load.rate for run in each] for side, each in runs.items()}
    of_handwritten = OF_HANDWRITTEN_BY_NAME.get(name, OF_HANDWRITTEN)
    bars = {"bare": OF_BARE, "handwritten": of_handwritten}
    figures = {side: _figures(each) for side, each in runs.items()}
    return [
        Part(
            f"model {name}, concurrency {concurrency}, against {side}",
            paired_ratio(rates["foretell"], rates[side]),
            ">=",
            bar,
            details={"foretell": figures["foretell"], side: figures[side]},
        )
        for side, bar in bars.items()
    ]


def _figures(runs: list[_Run]) -> dict[str, Any]:
    return {
        "requests_a_second": median(run.load.rate for run in runs),
        "cpu_us_a_request": median(run.cpu for run in runs) * 1e6,
        "latency_ms_p50": _latency(runs, 0.5),
        "latency_ms_p99": _latency(runs, 0.99),
        "client_cpu": median(run.load.cpu for run in runs),
    }


def _note(name: str, concurrency: int, runs: dict[str, list[_Run]]) -> str:
    figures = {side: _figures(each) for side, each in runs.items()}
    sides = "; ".join(
        f"{side} {each['requests_a_second']:.0f}/s, "
        f"{each['cpu_us_a_request']:.0f} µs of CPU, p99 {each['latency_ms_p99']:.1f} ms"
        for side, each in figures.items()
    )
    client = figures["foretell"]["client_cpu"]
    return f"model {name}, {concurrency}: {sides}; client {client:.0%} of a core"


def _latency(runs: list[_Run], share: float) -> float:
    return median(percentile(run.load.latencies, share) for run in runs) * 1e3
