"""Makes the tree engine's arrays of a model, and proves that they answer alike.

It happens once, when a model is deployed, in a child process, for a model file is read
and held against its library on many rows. What comes of it is a compiled folder, whose
verdict says which engine serves the model; see `backends.compiled`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow.parquet as pq

from app.config import Config
from app.equality import AnswersDiffer, prove_equal
from app.errors import AppError
from app.explained_alike import prove_explained_alike
from app.golden import Golden
from app.probes import probe_rows
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.validation import ways
from backends import bundle, compiled, load, sandbox
from backends.base import Backend, ModelFileRejected
from backends.bundle import BundleRejected
from backends.by_distance import member
from backends.compiled import Reason, Verdict
from backends.explanations.materials import Materials
from backends.features import Columns, DataError, Decoder
from backends.model import Model
from backends.trees.backend import TreesBackend
from backends.trees.engine import Engine
from backends.trees.ensemble import Ensemble, NotCovered
from backends.trees.explainer import Explainer

Unwritten = Literal["not written"]
_NOT_WRITTEN: Unwritten = "not written"

# Files of one model share the time of so many: few take a tenth of their own.
_MOST_SHARES = 10

log = logging.getLogger(__name__)


def compile_deployed(
    folder: Path, model: Model, kept: CompiledModels, config: Config
) -> Verdict:
    """Compile a model that is being deployed, unless it was and is as it should be.

    folder: the bundle in the state folder.
    What stood in the engine's way before is tried again. Raises OSError.
    """

    def unless(target: Path) -> bool:
        return compiled.examine(target, model.format).engine == compiled.TREES

    return _compile(folder, model, kept, config, unless)


def compile_missing(
    model_ids: Iterable[str], bundles: Bundles, kept: CompiledModels, config: Config
) -> None:
    """Compile models that another release deployed, or that come from a backup.

    The log gets a line for each. One that cannot be compiled is left to its library.
    """

    def unless(target: Path) -> bool:
        return not compiled.is_missing(target)

    for model_id in model_ids:
        try:
            folder = bundles.path(model_id)
            verdict = _compile(folder, bundle.read(folder), kept, config, unless)
        except (AppError, BundleRejected, OSError) as error:
            log.warning("model %s is not compiled: %s", model_id, error)
        else:
            detail = f": {verdict.detail}" if verdict.detail else ""
            log.info("model %s is compiled for %s%s", model_id, verdict.engine, detail)


def _compile(
    folder: Path,
    model: Model,
    kept: CompiledModels,
    config: Config,
    unless: Callable[[Path], bool],
) -> Verdict:
    def fill(incoming: Path) -> None:
        fill_with = _fill_each if model.files else _fill_one
        if model.task in ("tensors", "unstructured"):
            fill_with = _fill_none
        try:
            verdict = fill_with(folder, model, incoming, config)
        except ModelFileRejected as error:
            _clear(incoming)
            verdict = Verdict(compiled.library(model.format), "failed", str(error))
        compiled.write(incoming, model.id, verdict)

    kept.put(model.id, fill, unless=unless)
    return compiled.read(kept.path(model.id), model.format)


def _fill_none(folder: Path, model: Model, incoming: Path, config: Config) -> Verdict:
    """A graph of named tensors has no trees, which is nothing to tell of."""
    return Verdict(compiled.library(model.format), "not covered")


def _fill_one(folder: Path, model: Model, incoming: Path, config: Config) -> Verdict:
    """Compile a model of one file. Raises ModelFileRejected and OSError."""
    answer = _in_child("build", folder, incoming, config, config.model_seconds)
    return _settled(answer, incoming, model)


def _fill_each(folder: Path, model: Model, incoming: Path, config: Config) -> Verdict:
    """Compile a model with a file for each forecast distance, each into its folder.

    Raises ModelFileRejected and OSError.
    """
    # One child for all: starting it takes longer than compiling most models.
    seconds = config.model_seconds * min(len(model.files), _MOST_SHARES)
    answers = _in_child("build_each", folder, incoming, config, seconds)
    verdicts = {}
    for distance, answer in zip(model.files, answers, strict=True):
        place = incoming / str(distance)
        verdicts[distance] = _settled(answer, place, model)
        compiled.write(place, member(model, distance).id, verdicts[distance])
    return compiled.of_all(verdicts)


def _settled(answer: Sequence[str], place: Path, model: Model) -> Verdict:
    """The verdict that an answer of `build` comes to; without arrays if need be.

    Raises OSError.
    """
    reason, detail = answer
    if reason == _NOT_WRITTEN:
        # It says nothing of the model: there must be no verdict.
        raise OSError(f"{place.parent}: {detail}")
    if not reason:
        return Verdict(compiled.TREES, detail=detail)
    _clear(place)
    return Verdict(compiled.library(model.format), cast(Reason, reason), detail)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _in_child(
    name: str, folder: Path, incoming: Path, config: Config, seconds: float
) -> Any:
    """What a function below answers, built and proved in a child process."""
    return sandbox.run(
        f"app.compilation:{name}",
        str(folder.absolute()),
        str(incoming.absolute()),
        seconds=seconds,
        memory=config.model_memory,
        # Arrays were in memory before they are in a file.
        file_bytes=config.model_memory,
        prepare=("backends.trees.kernel_cache:prepare", str(config.kernels)),
    )


# ---- In the child


def build(folder: str, target: str) -> tuple[Reason | Unwritten, str]:
    """Write a bundle's model as arrays, and hold their answers against the library's.

    folder: the bundle. target: an empty folder.
    Returns the reason why the engine cannot serve the model, empty if it can, and the
    same in words, or why it cannot explain it; or that the arrays could not be written.
    Raises ModelFileRejected, BundleRejected and other ValueErrors.
    """
    path = Path(folder)
    return _build(path, bundle.read(path), Path(target))


def build_each(folder: str, target: str) -> list[tuple[Reason | Unwritten, str]]:
    """The same for each model of a bundle that has one for each forecast distance.

    Each has a folder of its own in the target, named by the distance. Returns what
    `build` does of each, in the card's order.
    """
    path = Path(folder)
    model = bundle.read(path)
    found = []
    for distance in model.files:
        place = Path(target) / str(distance)
        place.mkdir(mode=0o700)
        found.append(_build(path, member(model, distance), place))
    return found


def _build(path: Path, model: Model, target: Path) -> tuple[Reason | Unwritten, str]:
    try:
        ensemble = read_ensemble(path, model)
        engine = Engine(ensemble)
    except NotCovered as error:
        return "not covered", f"the tree engine does not cover it: {error}"
    library = load(path, model)
    try:
        engine.write(target)
        # As a worker will: what is proved is what lies in the files.
        trees = TreesBackend(target, model)
        for what, columns in _rows(path, model, ensemble):
            prove_equal(trees, library, columns, what)
        # Of the last, which are all of them.
        return "", _explain(path, target, ensemble, library, columns)
    except AnswersDiffer as error:
        return "differs", str(error)
    except OSError as error:
        return _NOT_WRITTEN, f"the engine's arrays cannot be written: {error}"


def _explain(
    path: Path, target: Path, ensemble: Ensemble, library: Backend, columns: Columns
) -> str:
    """Write the arrays for explanations as well, if they tell the truth.

    Returns why there are none, and what explains the model then. Raises OSError.
    """
    model, materials = library.model, Materials(path, library.model)
    try:
        Explainer(ensemble).write(target)
        trees = TreesBackend(target, model)
        prove_explained_alike(trees, library, columns, materials)
    except (NotCovered, AnswersDiffer) as error:
        reason = str(error)
    except MemoryError:
        reason = "the engine's arrays for it would take too much memory"
    else:
        return ""
    Explainer.remove(target)
    return f"it is not explained by the tree engine: {reason}"


def read_ensemble(folder: Path, model: Model) -> Ensemble:
    """The ensemble in a bundle; raises NotCovered and ModelFileRejected."""
    if model.format not in _READERS:
        raise NotCovered(f"{model.format} models")
    return _READERS[model.format](folder, model)


def _rows(
    path: Path, model: Model, ensemble: Ensemble
) -> Iterator[tuple[str, Columns]]:
    """Rows for the proof, and what they are."""
    usual = []
    for way, columns in ways(model, Golden.read(path)):
        usual.append(columns.matrix)
        yield f"the golden rows as {way}", columns
    reference = path / bundle.REFERENCE
    if reference.exists():
        rows = _decoded(reference, model)
        if rows is not None:
            usual.append(rows.matrix)
    probes = probe_rows(ensemble, model.features, np.concatenate(usual))
    # All together: the engine has other code for many rows than for few.
    yield "usual and odd rows", Columns(np.concatenate([*usual, probes]))


def _decoded(reference: Path, model: Model) -> Columns | None:
    table = pq.read_table(reference)
    try:
        return Decoder.of(model).from_table(table) if len(table) else None
    except DataError:
        # Rows that the model is never asked.
        return None


def _from_lightgbm(path: Path, model: Model) -> Ensemble:
    from backends.trees.from_lightgbm import read

    return read((path / model.file).read_bytes())


def _from_onnx(path: Path, model: Model) -> Ensemble:
    from backends.trees.from_onnx import read

    return read(path / model.file, model)


_READERS: Mapping[str, Callable[[Path, Model], Ensemble]] = {
    "lightgbm": _from_lightgbm,
    "onnx": _from_onnx,
}
