"""P9: how soon the right model answers, after a start and after a replacement."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from app.config import Config
from app.store.store import Store
from benchmarks.commands import foretell
from benchmarks.load import Load, closed_loop, in_background
from benchmarks.report import Outcome, Part
from benchmarks.servers import Server, running
from benchmarks.timing import ROUNDS, interleave
from benchmarks.workspace import Workspace

START = 2.5
TAKE_OVER = 0.2
# One replacement takes seconds, most of them to validate the bundle.
_REPLACED = "a"
_CONCURRENCY = 4
_BEFORE, _AFTER = 0.5, 1.0


@dataclass(frozen=True, slots=True)
class _Replacement:
    """Seconds from the commit to the new model's first and the old one's last answer.

    gap: longest time without any answer; errors: requests that failed.
    """

    first_new: float
    last_old: float
    gap: float
    usual_gap: float
    answers: int
    errors: int


def measure(workspace: Workspace) -> Outcome:
    """Start the server again and again, then replace a model again and again."""
    names = workspace.names("P9")
    _start(workspace, names[0])  # warms the disk's cache and Python's
    starts = interleave({name: partial(_start, workspace, name) for name in names})
    replacements = _replacements(workspace)
    return Outcome(
        "seconds to the first right answer, after a start and a replacement",
        "OMP_NUM_THREADS=1",
        workspace.engine,
        _parts(starts, replacements),
        {"notes": _notes(replacements)},
    )


def _parts(
    starts: dict[str, list[float]], replacements: list[_Replacement]
) -> list[Part]:
    def middle(name: str) -> float:
        return float(median(getattr(each, name) for each in replacements))

    return [
        *(
            Part(
                f"start, model {name}",
                median(each),
                "<=",
                START,
                "s",
                {"starts_s": each},
            )
            for name, each in starts.items()
        ),
        Part(
            f"replacement of model {_REPLACED} committed, first answer of the new",
            middle("first_new"),
            "<=",
            TAKE_OVER,
            "s",
            {"all_s": [each.first_new for each in replacements]},
        ),
        Part(
            "longest time without an answer while a model is replaced",
            middle("gap"),
            "<=",
            TAKE_OVER,
            "s",
            {"usual_gap_s": middle("usual_gap"), "last_old_s": middle("last_old")},
        ),
        Part(
            "failed requests",
            float(sum(each.errors for each in replacements)),
            "<=",
            0.0,
            "requests",
            {"answers": sum(each.answers for each in replacements)},
        ),
    ]


def _notes(replacements: list[_Replacement]) -> list[str]:
    poll = Config().refresh_seconds
    last_old = median(each.last_old for each in replacements)
    usual = median(each.usual_gap for each in replacements)
    return [
        f"The store is looked at every {poll:g} s; the old model's last answer comes "
        f"{last_old:.2f} s after the commit (drained, both workers)",
        f"Without a replacement the longest time without an answer is {usual:.3f} s",
    ]


def _start(workspace: Workspace, name: str) -> float:
    with running("foretell", [], workspace.folder, **workspace.settings) as server:
        answer = server.first(workspace.requests(server, name)[0])
        seconds = time.monotonic() - server.executed
        workspace.check(name, 0, answer.body)
        workspace.check_workers(server, f"model {name}", workspace.model_ids[name])
    return seconds


def _replacements(workspace: Workspace) -> list[_Replacement]:
    store = Store(Config(home=workspace.home).database_url, workspace.home)
    bundles = [workspace.bundle(_REPLACED, "next"), workspace.bundle(_REPLACED)]
    with workspace.foretell() as server:
        # An even number leaves the deployment with the model that it began with.
        replaced = [
            _replace(workspace, server, store, bundles[number % 2])
            for number in range(ROUNDS + ROUNDS % 2)
        ]
    store.dispose()
    return replaced


def _replace(
    workspace: Workspace, server: Server, store: Store, bundle: Path
) -> _Replacement:
    load = partial(
        closed_loop,
        server.address,
        workspace.requests(server, _REPLACED),
        concurrency=_CONCURRENCY,
        watch=b"x-datarobot-model-id",
    )
    deployment_id = workspace.deployments[_REPLACED]
    with in_background(load) as background:
        time.sleep(_BEFORE)
        begun = time.monotonic()
        foretell(["replace-model", deployment_id, str(bundle)], workspace.state)
        time.sleep(_AFTER)
        seen = background.stop()
    deployment = store.deployment(deployment_id)
    assert deployment.model_id is not None
    workspace.check_workers(server, "the new model", deployment.model_id)
    # The moment that the transaction wrote down, on this machine's steady clock: a few
    # milliseconds before its commit, which is to our disadvantage.
    wall = time.time() - time.monotonic()
    committed = deployment.updated_at.timestamp() - wall
    return _summary(seen, begun, committed, deployment.model_id.encode())


def _summary(seen: Load, begun: float, committed: float, new: bytes) -> _Replacement:
    ended = sorted(zip(seen.ended, seen.watched, strict=True))
    times = [end for end, _ in ended]
    gaps = [(later, later - end) for end, later in zip(times, times[1:], strict=False)]
    return _Replacement(
        first_new=min(end for end, model in ended if model == new) - committed,
        last_old=max(end for end, model in ended if model != new) - committed,
        gap=max(gap for later, gap in gaps if later >= begun),
        usual_gap=max(gap for later, gap in gaps if later < begun),
        answers=len(times),
        errors=seen.errors,
    )
