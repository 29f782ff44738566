"""Formats: which backend serves which model file."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from backends.base import Backend, ModelFileRejected
from backends.model import Model

FORMATS = {
    "lightgbm": "backends.lightgbm:LightGBMBackend",
    "onnx": "backends.onnx:OnnxBackend",
}

# Other packages add formats under this group of entry points.
ENTRY_POINTS = "foretell.backends"


def load(folder: Path, model: Model) -> Backend:
    """Load the model of a bundle with the backend of its format.

    Raises ModelFileRejected.
    """
    return backend_class(model.format)(folder, model)


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
    module, _, name = place.partition(":")
    try:
        member: type[Backend] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ModelFileRejected(
            f"{format} models need the package {error.name!r}: install it"
        ) from error
    return member
