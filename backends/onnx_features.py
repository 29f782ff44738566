"""Which column of a table goes into which input of an ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.model import DType, Feature, Missing, Model
from backends.onnx import Input, InputDType
from backends.onnx_graph import Graph

# A float32 holds whole numbers exactly up to here.
_FLOAT32_WHOLE = 2**24

_FEATURE_DTYPES: dict[InputDType, tuple[DType, Missing]] = {
    "float32": ("float32", "nan"),
    "float64": ("float64", "nan"),
    "int64": ("int64", "error"),
    "int32": ("int64", "error"),
    "bool": ("int64", "error"),
    "string": ("string", "empty"),
}


def features_for(
    graph: Graph, column_names: Sequence[str], *, in_order: bool = False
) -> tuple[Feature, ...]:
    """Say which column goes where, in the graph's order.

    column_names: the training data's columns without the target. An input of one
        column takes the column of its name, as it is or as converters write it
        ("n of rooms" is "n_of_rooms"). One wide input takes the other columns in the
        data's order.
    in_order: the names were given by hand for the graph's columns one after another,
        which several wide inputs or an input of open width need.

    Raises ModelFileRejected naming what does not fit.
    """
    named = _by_name(_named_inputs(graph.inputs, column_names), column_names)
    rest = [name for name in column_names if name not in named.values()]
    wide = [each for each in graph.inputs if each.name not in named]
    _check_widths(wide, rest, bool(named), in_order)
    features: list[Feature] = []
    for each in graph.inputs:
        if each.name in named:
            features.append(_feature(named[each.name], each.dtype))
            continue
        width = len(rest) if each.width is None else each.width
        features += [_feature(name, each.dtype) for name in rest[:width]]
        rest = rest[width:]
    return tuple(features)


def precision_warnings(model: Model, matrix: NDArray[np.float64]) -> list[str]:
    """Name the columns whose numbers a float32 input cannot tell apart.

    matrix: float64 (n_rows, n_features), as in Columns.
    """
    warnings = []
    for position, feature in enumerate(model.features):
        values = np.abs(matrix[:, position])
        values = values[np.isfinite(values)]
        largest = values.max(initial=0.0)
        if feature.dtype == "float32" and largest > _FLOAT32_WHOLE:
            warnings.append(
                f"column {feature.name!r} reaches {largest:g}, but the graph takes "
                f"float32, which is exact up to {_FLOAT32_WHOLE} only: predictions may "
                "differ from the training library's; export with double inputs"
            )
    return warnings


def _named_inputs(inputs: Sequence[Input], column_names: Sequence[str]) -> list[str]:
    """Inputs that are called after the one column they take.

    A single input need not be: a matrix of one column may be called anything.
    """
    names = [each.name for each in inputs if each.width == 1]
    if len(inputs) == 1:
        known = set(column_names).union(*map(_rewritten, column_names))
        return [name for name in names if name in known]
    return names


def _by_name(inputs: Sequence[str], column_names: Sequence[str]) -> dict[str, str]:
    """Input name to column name, exact names before rewritten ones."""
    found = {name: name for name in inputs if name in column_names}
    free = [name for name in column_names if name not in found]
    for name in inputs:
        alike = [column for column in free if name in _rewritten(column)]
        if name not in found and len(alike) == 1:
            found[name] = alike[0]
        elif name not in found and alike:
            raise ModelFileRejected(
                f"input {name!r} could be any of the columns {_listed(alike)}: "
                "rename the columns, or the graph's input"
            )
    if missing := [name for name in inputs if name not in found]:
        raise ModelFileRejected(
            f"the graph takes columns that the data does not have: "
            f"{_listed(missing)}; the data has {_listed(column_names)}: "
            "rename the data's columns"
        )
    return found


def _rewritten(column: str) -> set[str]:
    """A column's name as skl2onnx and onnxmltools write it into a graph."""
    names = {
        re.sub(r"[^\w+]", "_", column),
        re.sub(r"\W", "_", column),
        re.sub(r"[^0-9a-zA-Z]", "_", column),
    }
    return {f"_{name}" if name[:1].isdigit() else name for name in names}


def _check_widths(
    wide: Sequence[Input], columns: Sequence[str], some_named: bool, in_order: bool
) -> None:
    if not wide:
        return
    widths = [each.width for each in wide]
    if not in_order and (len(wide) > 1 or None in widths):
        shown = ", ".join(f"{each.name}: {each.width or 'any'}" for each in wide)
        raise ModelFileRejected(
            "the graph does not say which columns it takes, only "
            f"how many ({shown}): name the columns in the graph's order with --features"
        )
    taken = sum(width or 0 for width in widths)
    if None not in widths and taken != len(columns):
        raise ModelFileRejected(
            f"the graph takes {taken} {'more ' if some_named else ''}columns, the data "
            f"has {len(columns)}: {_listed(columns)}; "
            "name those that the model was trained on with --features"
        )


def _feature(name: str, dtype: InputDType) -> Feature:
    kind, missing = _FEATURE_DTYPES[dtype]
    return Feature(
        name=name,
        kind="text" if dtype == "string" else "numeric",
        dtype=kind,
        missing=missing,
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
