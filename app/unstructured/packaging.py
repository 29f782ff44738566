"""Makes a bundle that takes bytes: of a graph, or of a Python hook."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app import bundling
from app.config import Config
from app.rows.packaging import read_graph, write_model
from app.validation import validate
from backends import bundle, sandbox
from backends.base import ModelFileRejected
from backends.bundle import NAMES
from backends.model import PYTHON, Model
from backends.tensors import io_json

_GRAPH = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnstructuredOptions:
    """What a bundle is made of.

    model: an .onnx file or the .py file of a hook. beside: files that the hook reads.
    io: of a graph: the file that names inputs and outputs; None: as the graph does.
    samples: of a graph: a file of rows that become golden requests; None: made up.
    name: None for the model file's.
    """

    model: Path
    out: Path
    beside: Sequence[Path] = ()
    io: Path | None = None
    samples: Path | None = None
    name: str | None = None
    tar: Path | None = None


@dataclass(frozen=True, slots=True)
class UnstructuredReport:
    """What was made. golden_requests: none of a hook, whose code is not run."""

    model: Model
    folder: Path
    tar: Path | None
    golden_requests: int


def package(options: UnstructuredOptions, config: Config) -> UnstructuredReport:
    """Make a bundle, check it as deployment will, and put it in its place.

    Raises PackagingRefused, SpecError, ModelFileRejected, DataError, BundleRejected and
    OSError, each with the reason; nothing is left behind then.
    """
    bundling.check_place(options.out)
    fill = _fill_hook if options.model.suffix == ".py" else _fill_graph
    with bundling.new_folder(options.out) as folder:
        count, model = fill(folder, options, config)
        validate(folder, config)
    if options.tar is not None:
        bundle.pack(options.out, options.tar)
    return UnstructuredReport(model, options.out, options.tar, count)


def _fill_graph(
    folder: Path, options: UnstructuredOptions, config: Config
) -> tuple[int, Model]:
    if options.beside:
        raise bundling.PackagingRefused("--with goes with a Python hook")
    graph = read_graph(options.model, config)
    if options.io is None:
        spec = io_json.defaults(graph)
    else:
        spec = io_json.read(options.io, graph)
    write_model(folder, options.model.resolve(), graph, config)
    versions = {each: version(each) for each in ("foretell", "onnxruntime")}
    card = _card(options, "onnx", _GRAPH, versions, io_json.to_json(spec))
    bundle.write(folder, card)
    count: int = sandbox.run(
        "app.unstructured.golden:make",
        str(folder),
        None if options.samples is None else str(options.samples.resolve()),
        seconds=config.model_seconds,
        memory=config.model_memory,
        file_bytes=config.model_memory,
    )
    return count, bundle.write(folder, card)


def _fill_hook(
    folder: Path, options: UnstructuredOptions, config: Config
) -> tuple[int, Model]:
    for name in ("io", "samples"):
        if getattr(options, name) is not None:
            raise bundling.PackagingRefused(f"--{name} goes with an ONNX graph")
    for source in (options.model, *options.beside):
        if source.name in NAMES or (folder / source.name).exists():
            raise ModelFileRejected(
                f"{source.name!r} is a name of the bundle's own, or is there twice"
            )
        shutil.copyfile(source, folder / source.name)
    versions = {"foretell": version("foretell")}
    card = _card(options, PYTHON, options.model.name, versions)
    return 0, bundle.write(folder, card)


def _card(
    options: UnstructuredOptions,
    format: str,
    file: str,
    versions: Mapping[str, str],
    io: Mapping[str, Any] | None = None,
) -> Model:
    return Model(
        id="",
        name=options.name or options.model.stem,
        format=format,
        file=file,
        task="unstructured",
        target="",
        features=(),
        versions=versions,
        io=io,
    )
