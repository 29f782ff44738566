"""ONNX graphs through onnxruntime."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend, ModelFileRejected
from backends.features import Columns, DataError
from backends.model import Model

# onnxruntime's wheels report model names and hashes to their maker from the moment
# they are imported, unless the environment says no before that.
if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    raise RuntimeError(
        "onnxruntime was imported with its telemetry on: "
        "set ORT_DISABLE_TELEMETRY=1 before the process starts"
    )
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # noqa: E402 (the variable must be set first)
from onnxruntime.capi import onnxruntime_pybind11_state as errors  # noqa: E402

InputDType = Literal["float32", "float64", "int64", "int32", "bool", "string"]

DTYPES: dict[str, InputDType] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
FLOAT_TYPES = ("tensor(float)", "tensor(double)", "tensor(float16)")

# A float64 holds whole numbers exactly up to here.
_WHOLE = {"int64": 2**53, "int32": 2**31 - 1}

# What else lies in a bundle.
_NO_WEIGHTS = (".json", ".parquet", ".csv", ".onnx")

# Rows sent to the graph at once: the tensors between its nodes stay small whatever
# the size of the request.
_CHUNK_ROWS = 4096

_LOAD_ERRORS = (
    errors.EPFail,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoModel,
    errors.NoSuchFile,
    errors.NotFound,
    errors.NotImplemented,
    errors.RuntimeException,
)
_RUN_ERRORS = (errors.Fail, errors.InvalidArgument, errors.RuntimeException)
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?"
    r"|/onnxruntime_src/\S+ (?:.*\[with [^]]*\] |\S+ \S+\(\) )?"
)


@dataclass(frozen=True, slots=True)
class Input:
    """One tensor that a graph takes.

    shape: (rows,) or (rows, width) as declared; None where the graph leaves it open.
    """

    name: str
    dtype: InputDType
    shape: tuple[int | None, ...]

    @property
    def width(self) -> int | None:
        """How many columns it takes; None where the graph leaves it open."""
        return self.shape[1] if len(self.shape) == 2 else 1


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a graph on one thread of the CPU.

    Raises ModelFileRejected with what onnxruntime says. Not to be called before a
    fork: the child's session would have lost its threads.
    """
    options = onnxruntime.SessionOptions()
    # Explicit thread counts also keep onnxruntime from pinning threads to cores that
    # a container may not use.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena would keep the memory of the largest request for ever.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    # Whatever the file is called: onnxruntime's own format is checked less.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except _LOAD_ERRORS as error:
        raise ModelFileRejected(
            f"onnxruntime {onnxruntime.__version__} cannot load {path.name}: "
            f"{_said(error)}; export it again with operators and an opset that this "
            "onnxruntime knows"
        ) from error


def read_inputs(session: onnxruntime.InferenceSession) -> tuple[Input, ...]:
    """List what a graph takes, in its order.

    Raises ModelFileRejected for an input that no table of rows can fill.
    """
    inputs = tuple(map(_input, session.get_inputs()))
    if not inputs:
        raise ModelFileRejected("the graph takes no input: there is nothing to score")
    if len(inputs) > 1 and any(each.width is None for each in inputs):
        raise ModelFileRejected(
            "several inputs, one of them without a width: "
            "export the graph with a fixed number of columns for each input"
        )
    if len({each.shape[0] for each in inputs}) > 1:
        raise ModelFileRejected(
            "the inputs differ in their number of rows: "
            "export the graph with an open first dimension"
        )
    return inputs


def _input(declared: Any) -> Input:
    name, shape = declared.name, _dimensions(declared.shape)
    if declared.type not in DTYPES:
        raise ModelFileRejected(
            f"input {name!r} is a {declared.type}; inputs may be tensors of float, "
            "double, int64, int32, bool or string: put a Cast in front of it"
        )
    if len(shape) not in (1, 2) or 0 in shape or (len(shape) == 1 and shape[0]):
        raise ModelFileRejected(
            f"input {name!r} has the shape {_shown(declared.shape)}; an input takes "
            "rows of columns: (rows, width), (rows, 1) or (rows,) with open rows"
        )
    return Input(name, DTYPES[declared.type], shape)


def _dimensions(shape: Sequence[object]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _shown(shape: Sequence[object]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


class OnnxBackend(Backend):
    """A graph that takes one matrix, or columns one by one, and answers one tensor.

    A graph exported for a fixed number of rows is run with that many at a time.
    """

    engine = "onnxruntime"

    def __init__(self, folder: Path, model: Model) -> None:
        self.model = model
        self.nbytes = memory(folder, model.file)
        self._session = open_session(folder / model.file)
        self._inputs = read_inputs(self._session)
        self._fixed_rows = self._inputs[0].shape[0]
        self._spans = _spans(self._inputs, model)
        _check_output(self._session, model)
        # What a run fails with is raised; onnxruntime would also print it.
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = 4

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Score rows; see Backend.

        A single score of a binary model is the second label's probability.
        Raises DataError where the graph refuses the rows, ModelFileRejected where it
        answers another number of columns than the card says.
        """
        raw = self.raw_scores(columns)
        model = self.model
        width = raw.shape[1]
        fitting = {"regression": (1,), "binary": (1, 2)}
        if width not in fitting.get(model.task, (len(model.labels),)):
            raise ModelFileRejected(
                f"output {model.output!r} has {width} columns, which is not what a "
                f"{model.task} model with {len(model.labels)} labels answers: "
                "name another output or other labels"
            )
        if model.task != "binary":
            return raw
        position = model.labels.index(cast(Any, model.positive_label))
        if width == 2:
            return raw[:, position : position + 1]
        return raw if position == 1 else 1.0 - raw

    def raw_scores(self, columns: Columns) -> NDArray[np.float64]:
        """What the graph answers, as float64 (n_rows, k).

        Raises DataError where the graph refuses the rows, ModelFileRejected where it
        does not answer row by row.
        """
        step = self._fixed_rows or _CHUNK_ROWS
        if len(columns) <= step:
            return self._run(columns, slice(0, len(columns)))
        return np.concatenate(
            [
                self._run(columns, slice(start, start + step))
                for start in range(0, len(columns), step)
            ]
        )

    def _run(self, columns: Columns, rows: slice) -> NDArray[np.float64]:
        """Score a slice of rows at once: float64 (rows in the slice, k)."""
        count = len(columns.matrix[rows])
        feed = {
            each.name: _padded(self._tensor(each, span, columns, rows), each.shape[0])
            for each, span in zip(self._inputs, self._spans, strict=True)
        }
        try:
            (answer,) = self._session.run([self.model.output], feed, self._options)
        except _RUN_ERRORS as error:
            raise DataError(
                f"the model cannot score these rows: {_said(error)}"
            ) from error
        if answer.ndim not in (1, 2) or len(answer) != (self._fixed_rows or count):
            raise ModelFileRejected(
                f"output {self.model.output!r} has the shape {answer.shape} for "
                f"{self._fixed_rows or count} rows: the graph must answer a row "
                "(rows,) or (rows, columns) for each row it takes"
            )
        values = answer[:count].astype(np.float64, copy=False)
        return cast(
            NDArray[np.float64], values if values.ndim == 2 else values[:, None]
        )

    def _tensor(
        self, target: Input, span: slice, columns: Columns, rows: slice
    ) -> NDArray[Any]:
        """One input's columns in the dtype and rank that the graph declares."""
        if target.dtype == "string":
            positions = range(span.start, span.stop)
            block = np.stack([columns.texts[i][rows] for i in positions], axis=1)
        else:
            names = [feature.name for feature in self.model.features[span]]
            block = _numbers(columns.matrix[rows, span], target.dtype, names)
        return block.reshape(-1) if len(target.shape) == 1 else block


def _spans(inputs: Sequence[Input], model: Model) -> tuple[slice, ...]:
    """Which of the model's features go into each input, in the graph's order."""
    spans, start = [], 0
    for each in inputs:
        width = len(model.features) if each.width is None else each.width
        spans.append(slice(start, start + width))
        start += width
    if start != len(model.features):
        raise ModelFileRejected(
            f"the graph takes {start} columns, the card has {len(model.features)}: "
            "package the model again"
        )
    for each, span in zip(inputs, spans, strict=True):
        for feature in model.features[span]:
            if (feature.kind == "text") != (each.dtype == "string"):
                raise ModelFileRejected(
                    f"feature {feature.name!r} is {feature.kind}, input {each.name!r} "
                    f"takes {each.dtype}: package the model again"
                )
    return tuple(spans)


def _check_output(session: onnxruntime.InferenceSession, model: Model) -> None:
    types = {each.name: each.type for each in session.get_outputs()}
    if types.get(model.output) not in FLOAT_TYPES:
        raise ModelFileRejected(
            f"the graph has no output {model.output!r} of floating-point numbers: "
            "package the model again"
        )


def _numbers(
    block: NDArray[np.float64], dtype: InputDType, names: Sequence[str]
) -> NDArray[Any]:
    """Cast, in C order; raises DataError naming a column that the dtype cannot hold."""
    if dtype in ("int64", "int32", "bool"):
        _check_whole(block, dtype, names)
    # A number beyond float32 becomes an infinity, as in the training library.
    with np.errstate(over="ignore"):
        return block.astype(dtype, order="C")


def _check_whole(
    block: NDArray[np.float64], dtype: InputDType, names: Sequence[str]
) -> None:
    low, high = (0, 1) if dtype == "bool" else (-_WHOLE[dtype], _WHOLE[dtype])
    fits = (block >= low) & (block <= high) & (block == np.trunc(block))
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise DataError(
            f"column {names[column]!r}: {block[row, column]:g} is not "
            + ("true or false" if dtype == "bool" else f"an {dtype}")
        )


def _padded(tensor: NDArray[Any], fixed_rows: int | None) -> NDArray[Any]:
    """Repeat the last row up to the number of rows that the graph insists on."""
    if fixed_rows is None or len(tensor) == fixed_rows:
        return tensor
    rows = np.minimum(np.arange(fixed_rows), len(tensor) - 1)
    return tensor[rows]


def memory(folder: Path, file: str) -> int:
    """Bytes that the loaded graph takes, guessed from its files.

    Trees take six times their size in the file, weights less than twice (measured).
    External data lies beside the graph; the rest of a bundle is JSON, Parquet and CSV,
    and other graphs, of other forecast distances.
    """
    sizes = {path: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    data = [path for path in sizes if path.suffix not in _NO_WEIGHTS]
    own = folder / file
    return sizes[own] * 6 + sum(sizes[path] for path in data if path != own)


def run(
    session: onnxruntime.InferenceSession,
    feed: Mapping[str, NDArray[Any]],
    names: Sequence[str],
) -> dict[str, NDArray[Any]]:
    """What a graph answers, by name. Raises DataError where it refuses the feed.

    names: of the outputs that are wanted.
    """
    options = onnxruntime.RunOptions()
    # What a run fails with is raised; onnxruntime would also print it.
    options.log_severity_level = 4
    try:
        return dict(zip(names, session.run(names, feed, options), strict=True))
    except _RUN_ERRORS as error:
        raise DataError(f"the model cannot score this row: {_said(error)}") from error


def _said(error: Exception) -> str:
    """onnxruntime's reason, without codes and places in its source."""
    text = str(error).rpartition("Status Message: ")[2].strip()
    return _NOISE.sub("", text).partition("\n")[0][:300]
