"""Intervals and files of a spec, read from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from backends.strict_json import Value
from backends.timeseries.spec import Strategy, TargetType, Window

# Above what a bundle holds.
_MOST_FILES = 1_000

_Members: TypeAlias = Mapping[str, Value]


def read_intervals(
    members: _Members, target_type: TargetType, window: Window
) -> dict[int, dict[int, tuple[float, float]]]:
    """Read size to distance to low and high; regression only."""
    value = members.get("predictionIntervals")
    if value is None:
        return {}
    if target_type != "Regression":
        value.refuse("only a target of Regression has intervals")
    value.need("space").choice(("model",))
    table = value.table()
    del table["space"]
    sizes = {str(size): size for size in range(1, 101)}
    intervals = {}
    for key, each in table.items():
        if key not in sizes:
            each.refuse("sizes are whole numbers from 1 to 100")
        distances = each.members(tuple(_distances(window)))
        intervals[sizes[key]] = {
            int(distance): _bounds(bounds) for distance, bounds in distances.items()
        }
    return intervals


def _distances(window: Window) -> dict[str, int]:
    """Each distance of the forecast window by its key."""
    return {str(each): each for each in range(window.start, window.end + 1)}


def _bounds(value: Value) -> tuple[float, float]:
    ends = value.items()
    if len(ends) != 2:
        value.refuse(f"low and high are expected, not {len(ends)} numbers")
    low, high = (each.number() for each in ends)
    if low > high:
        value.refuse(f"low {low} is above high {high}")
    return low, high


def read_models(
    members: _Members, strategy: Strategy, window: Window
) -> dict[int, str]:
    """Read distance to file, of each distance of the forecast window; direct only."""
    value = members.get("models")
    if value is None:
        return {}
    if strategy == "recursive":
        value.refuse("the recursive strategy has one model for all distances")
    if (count := window.end - window.start + 1) > _MOST_FILES:
        value.refuse(
            f"at most {_MOST_FILES:,} files are allowed, and the forecast window has"
            f" {count:,} distances"
        )
    files = value.members(_distances(window))
    return {int(distance): file.file_name() for distance, file in files.items()}


def check_files(members: _Members, features: int) -> None:
    """What only says where the model and its samples are, or counts them."""
    if "model" in members:
        model = members["model"].members((), ("file", "numFeatures"))
        if "file" in model:
            model["file"].file_name()
        if "numFeatures" in model and model["numFeatures"].whole(1, 10**9) != features:
            model["numFeatures"].refuse(f"the spec has {features} features")
    for key, files in _OTHER_FILES.items():
        if key in members:
            for file in members[key].members((), files).values():
                file.file_name()


_OTHER_FILES = {"explanations": ("reference",), "goldenSample": ("request", "expected")}
