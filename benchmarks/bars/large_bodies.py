"""P4: 50 MB of CSV in, JSON or CSV out, and what small requests feel of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from app.bulk import BulkPool
from app.config import Config
from benchmarks import in_process, processes
from benchmarks.bodies import body_of
from benchmarks.http import Connection, post
from benchmarks.load import Load, for_seconds, in_background, paced
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server
from benchmarks.specimens.base import Specimen
from benchmarks.timing import interleave, paired_ratio, percentile
from benchmarks.workspace import Workspace, WrongAnswer, check_engine

OF_IN_PROCESS = 0.6
OF_HANDWRITTEN = 5.0
MEMORY = 6.0
SMALL_MS = 20.0

_BODY = 50_000_000
# The pandas server gets a tenth: its rows a second do not depend on the size (see
# docs/benchmarks.md), and it would take minutes. So do the steps on one thread.
_SMALL_BODY = _BODY // 10
_ACCEPTS = {"JSON": "application/json", "CSV": "text/csv"}
_COUNTED = {"application/json": b'"rowId"', "text/csv": b"\n"}
# A client that asks now and then, over connections to every worker.
_PROBES_A_SECOND = 50.0
_PROBE_CONNECTIONS = 8
_QUIET_SECONDS = 2.0


@dataclass(slots=True)
class _Case:
    """One model and one kind of answer; `small`: what probes saw meanwhile."""

    specimen: Specimen
    accept: str
    small: list[Load] = field(default_factory=list)


@dataclass(slots=True)
class _Sides:
    """What the cases are sent to, and the bodies, specimen name to (bytes, rows)."""

    workspace: Workspace
    foretell: Server
    handwritten: Server
    pool: BulkPool
    large: dict[str, tuple[bytes, int]]
    small: dict[str, tuple[bytes, int]]


def measure(workspace: Workspace) -> Outcome:
    """Send the large body in turn with the in-process steps and the pandas server."""
    pool = BulkPool(Config().scoring_threads)
    cases = [
        _Case(workspace.specimens[name], accept)
        for name in workspace.names("P4")
        for accept in _ACCEPTS.values()
    ]
    with workspace.foretell() as foretell, workspace.handwritten() as handwritten:
        sides = _Sides(
            workspace,
            foretell,
            handwritten,
            pool,
            _bodies(workspace, _BODY),
            _bodies(workspace, _SMALL_BODY),
        )
        quiet = _quiet(sides)
        before = {pid: processes.resident(pid) for pid in foretell.workers}
        parts: list[Part] = []
        notes: list[str] = []
        for case in cases:
            figures = _figures(sides, case)
            parts += _speed(case, figures)
            notes.append(_note(case, figures))
        parts.append(_memory(before))
        small = [_small(cases, name, quiet) for name in workspace.names("P4")]
        notes += [_small_note(part) for part in small]
    return Outcome(
        "50 MB of CSV: rows a second, memory, small requests meanwhile",
        f"OMP_NUM_THREADS=1 on every side; {Config().scoring_threads} scoring threads "
        "a worker and in process; pandas server 1 thread a request",
        workspace.engine,
        [*parts, *small],
        {"notes": notes},
    )


def _bodies(workspace: Workspace, size: int) -> dict[str, tuple[bytes, int]]:
    return {
        name: body_of(workspace.specimens[name], size, seed=21)
        for name in workspace.names("P4")
    }


def _figures(sides: _Sides, case: _Case) -> dict[str, list[dict[str, float]]]:
    """Side to what each round found; `rows_a_second` on every side."""
    name = case.specimen.name
    workspace = sides.workspace
    served = in_process.load(
        workspace.home, workspace.kernels, workspace.model_ids[name]
    )
    check_engine(f"model {name} in process", served.backend.engine)

    def in_this_process() -> dict[str, float]:
        body, rows = sides.large[name]
        seconds = in_process.together(served, sides.pool, body, case.accept)
        few, fewer_rows = sides.small[name]
        single = in_process.stages(served, few, case.accept)
        return {
            "rows_a_second": rows / seconds,
            "rows_a_second_one_thread": fewer_rows / sum(single.values()),
            **{
                f"{stage}_us_a_row": 1e6 * each / fewer_rows
                for stage, each in single.items()
            },
        }

    def over_http(server: Server, bodies: dict[str, tuple[bytes, int]]) -> float:
        body, rows = bodies[name]
        return rows / _send(sides.workspace, server, case, body, rows)

    def foretell() -> dict[str, float]:
        with in_background(_probe(sides, name)) as background:
            rate = over_http(sides.foretell, sides.large)
            case.small.append(background.stop())
        return {"rows_a_second": rate}

    def handwritten() -> dict[str, float]:
        return {"rows_a_second": over_http(sides.handwritten, sides.small)}

    return interleave(
        {
            "foretell": foretell,
            "in process": in_this_process,
            "handwritten": handwritten,
        }
    )


def _send(
    workspace: Workspace, server: Server, case: _Case, body: bytes, rows: int
) -> float:
    """Seconds from the first byte sent to the last received. Raises WrongAnswer."""
    headers = workspace.headers("text/csv") | {"Accept": case.accept}
    request = post(workspace.path(server, case.specimen.name), body, headers)
    connection = Connection(server.address)
    begun = time.monotonic()
    connection.send(request)
    answer = connection.receive_large()
    seconds = time.monotonic() - begun
    connection.close()
    found = answer.body.count(_COUNTED[case.accept]) - (case.accept == "text/csv")
    if answer.status != 200 or found != rows:
        text = answer.body[:300]
        raise WrongAnswer(f"{server.name}: {answer.status}, {found} rows, {text!r}")
    return seconds


def _probe(sides: _Sides, name: str) -> partial[Load]:
    return partial(
        paced,
        sides.foretell.address,
        sides.workspace.requests(sides.foretell, name),
        connections=_PROBE_CONNECTIONS,
        rate=_PROBES_A_SECOND,
    )


def _quiet(sides: _Sides) -> dict[str, float]:
    """Specimen name to the probes' p99 in ms while nothing else is asked."""
    loads = {
        name: _probe(sides, name)(until=for_seconds(_QUIET_SECONDS))
        for name in sides.workspace.names("P4")
    }
    return {
        name: percentile(load.latencies, 0.99) * 1e3 for name, load in loads.items()
    }


def _speed(case: _Case, figures: dict[str, list[dict[str, float]]]) -> list[Part]:
    rates = {
        side: [each["rows_a_second"] for each in rounds]
        for side, rounds in figures.items()
    }
    middle = _medians(figures)
    bars = {"in process": OF_IN_PROCESS, "handwritten": OF_HANDWRITTEN}
    return [
        Part(
            f"model {case.specimen.name}, {_name(case)} out, rows/s against {side}",
            paired_ratio(rates["foretell"], rates[side]),
            ">=",
            bar,
            details={"foretell": middle["foretell"], side: middle[side]},
        )
        for side, bar in bars.items()
    ]


def _medians(
    figures: dict[str, list[dict[str, float]]],
) -> dict[str, dict[str, float]]:
    return {
        side: {key: median(each[key] for each in rounds) for key in rounds[0]}
        for side, rounds in figures.items()
    }


def _memory(before: dict[int, float]) -> Part:
    """Of the worker that grew most, over all of the large requests."""
    growth = {pid: processes.peak(pid) - base for pid, base in before.items()}
    worst = max(growth, key=lambda pid: growth[pid])
    return Part(
        "peak memory of a worker above its memory at rest ÷ body",
        growth[worst] / (_BODY / 1e6),
        "<=",
        MEMORY,
        details={
            "at_rest_mb": before[worst],
            "peak_mb": processes.peak(worst),
            "whole_peak_over_body": processes.peak(worst) / (_BODY / 1e6),
        },
    )


def _small(cases: Sequence[_Case], name: str, quiet: dict[str, float]) -> Part:
    loads = [
        load for case in cases if case.specimen.name == name for load in case.small
    ]
    latencies = [each * 1e3 for load in loads for each in load.latencies]
    details: dict[str, Any] = {
        "samples": len(latencies),
        "p50_ms": percentile(latencies, 0.5),
        "worst_ms": max(latencies),
        "errors": sum(load.errors for load in loads),
        "p99_ms_without_the_large_request": quiet[name],
    }
    return Part(
        f"model {name}, p99 of one-row requests meanwhile",
        percentile(latencies, 0.99),
        "<=",
        SMALL_MS,
        "ms",
        details,
    )


def _small_note(part: Part) -> str:
    found = part.details
    return (
        f"{part.name}: p50 {found['p50_ms']:.1f} ms, worst {found['worst_ms']:.0f} ms, "
        f"{found['errors']} errors in {found['samples']}; p99 without "
        f"the large request {found['p99_ms_without_the_large_request']:.1f} ms"
    )


def _note(case: _Case, figures: dict[str, list[dict[str, float]]]) -> str:
    middle = _medians(figures)
    alone = middle["in process"]
    steps = ", ".join(
        f"{stage} {alone[f'{stage}_us_a_row']:.2f}"
        for stage in ("parse", "predict", "encode")
    )
    return (
        f"model {case.specimen.name}, {_name(case)}: "
        + "; ".join(
            f"{side} {each['rows_a_second']:.0f} rows/s"
            for side, each in middle.items()
        )
        + f"; one thread {alone['rows_a_second_one_thread']:.0f} (µs a row: {steps})"
    )


def _name(case: _Case) -> str:
    return next(name for name, accept in _ACCEPTS.items() if accept == case.accept)
