"""Formats: which backend serves which model file."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from backends import compiled
from backends.base import Backend, ModelFileRejected
from backends.model import Model

FORMATS = {
    "lightgbm": "backends.lightgbm:LightGBMBackend",
    "onnx": "backends.onnx:OnnxBackend",
}

# Other packages add formats under this group of entry points.
ENTRY_POINTS = "foretell.backends"


# The engine that models are compiled for, and what has one file for each distance.
_TREES = "backends.trees.backend:TreesBackend"
_BY_DISTANCE = "backends.by_distance:DistanceBackend"

log = logging.getLogger(__name__)


def load(folder: Path, model: Model, compiled_folder: Path | None = None) -> Backend:
    """Load the model of a bundle with the engine that its deployment chose.

    compiled_folder: what deployment made of the model. Where it is missing or damaged
        the library of the model's format serves, and the log says so; None for a
        bundle that is not deployed, which the library serves as well.

    Raises ModelFileRejected.
    """
    if compiled_folder is not None:
        # The engine checks its arrays itself, as it maps them.
        verdict = compiled.read(compiled_folder, model.format)
        if verdict.has_trees:
            try:
                compiled.check_model(compiled_folder, model.id)
                return _load_compiled(folder, model, compiled_folder)
            except (ImportError, OSError, ValueError) as error:
                verdict = compiled.damaged(compiled_folder, model.format, error)
        if verdict.reason in ("missing", "damaged"):
            message = "model %s is served by %s: %s"
            log.warning(message, model.id, verdict.engine, verdict.detail)
    if model.files:
        return _class_at(_BY_DISTANCE)(folder, model)
    return backend_class(model.format)(folder, model)


def _load_compiled(folder: Path, model: Model, compiled_folder: Path) -> Backend:
    """Raises ImportError, OSError and ValueError where the arrays cannot be used."""
    if not model.files:
        return _class_at(_TREES)(compiled_folder, model)
    from backends.by_distance import DistanceBackend

    return DistanceBackend(folder, model, compiled_folder)


def backend_class(format: str) -> type[Backend]:
    """The class that serves a format; its library is imported now.

    Raises ModelFileRejected for a format that nothing installed here serves.
    """
    places = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    place = (places | FORMATS).get(format)
    if place is None:
        raise ModelFileRejected(
            f"No backend here serves {format!r}; there are {', '.join(sorted(FORMATS))}"
        )
    try:
        return _class_at(place)
    except ModuleNotFoundError as error:
        raise ModelFileRejected(
            f"{format} models need the package {error.name!r}: install it"
        ) from error


def _class_at(place: str) -> type[Backend]:
    module, _, name = place.partition(":")
    member: type[Backend] = getattr(import_module(module), name)
    return member
