"""Makes a bundle of a graph of named tensors and the io.json that describes it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app import bundling
from app.config import Config
from app.validation import validate
from backends import bundle, sandbox
from backends.base import ModelFileRejected
from backends.bundle import NAMES
from backends.model import Model
from backends.tensors import io_json
from backends.tensors.graph import Graph
from backends.tensors.spec import TensorSpec

_FILE = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorOptions:
    """What a bundle is made of.

    io: the file that names inputs and outputs.
    samples: a file of rows that become golden rows; None: they are made up.
    name: None for the model file's.
    """

    model: Path
    io: Path
    out: Path
    name: str | None = None
    samples: Path | None = None
    tar: Path | None = None


@dataclass(frozen=True, slots=True)
class TensorReport:
    """What was made."""

    model: Model
    spec: TensorSpec
    folder: Path
    tar: Path | None
    golden_rows: int


def package(options: TensorOptions, config: Config) -> TensorReport:
    """Make a bundle, check it as deployment will, and put it in its place.

    Raises PackagingRefused, SpecError, ModelFileRejected, DataError, BundleRejected and
    OSError, each with the reason; nothing is left behind then.
    """
    bundling.check_place(options.out)
    graph = read_graph(options.model, config)
    spec = io_json.read(options.io, graph)
    with bundling.new_folder(options.out) as folder:
        write_model(folder, options.model.resolve(), graph, config)
        card = _card(options.name or options.model.stem, spec)
        # The card says what golden rows have to hold, and sums them up in the end.
        bundle.write(folder, card)
        rows = _make_golden(folder, options.samples, config)
        model = bundle.write(folder, card)
        validate(folder, config)
    if options.tar is not None:
        bundle.pack(options.out, options.tar)
    return TensorReport(model, spec, options.out, options.tar, rows)


def read_graph(path: Path, config: Config) -> Graph:
    """What a graph says of itself, read in a sandbox.

    Raises ModelFileRejected with the reason and the remedy, OSError.
    """
    with path.open("rb") as file:
        is_text_model = file.read(4) == b"tree"
    if is_text_model or path.suffix.lower() != ".onnx":
        raise ModelFileRejected(
            f"{path.name} is no ONNX file (.onnx): only a graph has named tensors"
        )
    facts = sandbox.run(
        "app.rows.packaging:inspect_graph",
        str(path.resolve()),
        seconds=config.model_seconds,
        memory=config.model_memory,
    )
    return Graph.from_json(facts)


def _card(name: str, spec: TensorSpec) -> Model:
    return Model(
        id="",
        name=name,
        format="onnx",
        file=_FILE,
        task="tensors",
        target="",
        features=(),
        versions={each: version(each) for each in ("foretell", "onnxruntime")},
        io=io_json.to_json(spec),
    )


def write_model(folder: Path, source: Path, graph: Graph, config: Config) -> None:
    """Put what is served into the bundle's folder. Raises ModelFileRejected."""
    if graph.has_zip_map:
        sandbox.run(
            "app.rows.packaging:write_graph",
            str(source),
            str(folder / _FILE),
            seconds=config.model_seconds,
            memory=config.model_memory,
            file_bytes=config.model_memory,
        )
    else:
        shutil.copyfile(source, folder / _FILE)
    for weights in graph.external_data:
        if weights in NAMES or (folder / weights).exists():
            raise ModelFileRejected(
                f"The external data file {weights!r} has a name of the bundle's own:"
                " save the weights under another one"
            )
        shutil.copyfile(source.with_name(weights), folder / weights)


def _make_golden(folder: Path, samples: Path | None, config: Config) -> int:
    """Write golden rows; returns how many."""
    rows: int = sandbox.run(
        "app.rows.golden:make",
        str(folder),
        None if samples is None else str(samples.resolve()),
        seconds=config.model_seconds,
        memory=config.model_memory,
        file_bytes=config.model_memory,
    )
    return rows


# ---- In the child process


def inspect_graph(path: str) -> dict[str, Any]:
    """Read an ONNX file."""
    from backends.tensors.from_graph import inspect

    return inspect(Path(path)).to_json()


def write_graph(source: str, target: str) -> None:
    """Write a graph with the tensors that its ZipMaps take."""
    from backends.onnx_graph import write_without_zip_maps

    write_without_zip_maps(Path(source), Path(target))
