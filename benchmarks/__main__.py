"""`python -m benchmarks [--only P1,P2] [--data FOLDER]`: measure, print a table.

The model on real data takes part where the data lie in the folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

# Numerical libraries read this when they load; every side of a ratio has it so.
os.environ["OMP_NUM_THREADS"] = "1"

# ruff: noqa: E402  (the variable comes first)
from benchmarks import Unmeasured
from benchmarks.bars import BARS

FOLDER = Path("build/bench")
DATA = Path("../shared/data")
JSON = Path("build/bench.json")


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 measured, whatever came out; 1 a server or a command failed;
    2 asked for what is not there.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="P1,P2", default=",".join(BARS), help="bars to measure"
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        default=DATA,
        help="where adult_train.csv and adult_test.csv lie",
    )
    options = parser.parse_args(arguments)
    names = options.only.upper().split(",")
    if refusal := _refusal(names):
        print(refusal, file=sys.stderr)
        return 2
    try:
        _measure([name for name in BARS if name in names], options.data.absolute())
    except Unmeasured as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _refusal(names: list[str]) -> str:
    known = ", ".join(sorted(BARS))
    unknown = [name for name in names if name not in BARS]
    return "; ".join(f"{name!r} is no bar; there are {known}" for name in unknown)


def _measure(names: list[str], data: Path) -> None:
    # Imported here: the load generator's processes import this module and need neither.
    import orjson

    from benchmarks import report
    from benchmarks.bars import measure
    from benchmarks.specimens import adult
    from benchmarks.workspace import prepare

    begun = time.monotonic()
    machine = report.machine()
    print(report.heading(machine), flush=True)
    if not adult.is_in(data):
        print(f"{data} has no {' and '.join(adult.FILES)}: no model adult.\n")
    _say("making ready (minutes the first time)")
    workspace = prepare(FOLDER.absolute(), data, names)
    outcomes = {}
    for name in names:
        _say(f"{name}, {time.monotonic() - begun:.0f} s after the start")
        outcomes[name] = measure(name)(workspace)
    print(report.table(outcomes))
    print(f"\n{time.monotonic() - begun:.0f} s; details in {JSON}")
    results = {name: each.to_json(machine) for name, each in outcomes.items()}
    JSON.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
