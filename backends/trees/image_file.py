"""An image of tables in a file, which many processes map."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.trees.tables import checked


def open(path: Path) -> NDArray[np.int32]:
    """Map an image. Raises ValueError if it is damaged or not there."""
    try:
        # Without a header, which could be damaged in its own ways.
        mapped = np.memmap(path, np.int32, mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path.name!r} in {path.parent} cannot be read: {error}"
        ) from (error)
    try:
        return checked(np.asarray(mapped))
    except ValueError as error:
        raise ValueError(f"{path.name!r} in {path.parent}: {error}") from error


def write(image: NDArray[np.int32], path: Path) -> None:
    """Write an image to a new file, down to the disk."""
    with path.open("xb") as file:
        image.tofile(file)
        file.flush()
        os.fsync(file.fileno())
