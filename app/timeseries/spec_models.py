"""The model files that belong to a spec, by distance where there are several."""

from __future__ import annotations

from pathlib import Path

from backends.timeseries.spec import Spec


def model_paths(spec: Spec, path: Path) -> dict[int | None, Path]:
    """Each distance's model file; under None that of a spec with one for all.

    path: the file; with one for each distance the folder that they lie in, or one of
        them.
    """
    if not spec.models:
        return {None: path}
    folder = path if path.is_dir() else path.parent
    return {distance: folder / name for distance, name in sorted(spec.models.items())}
