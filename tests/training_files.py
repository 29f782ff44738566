"""What a data scientist has of a time series model: model files, spec and data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.forecasts import Forecaster, as_csv


def write_training_files(
    folder: Path, made: Forecaster, **changes: Any
) -> dict[str, Any]:
    """Write the files to a folder; returns what packaging is told of them.

    changes: of the spec's keys.
    """
    folder.mkdir(exist_ok=True)
    for name in {made.model.file, *made.model.files.values()}:
        shutil.copy(made.folder / name, folder / name)
    raw = {key: each for key, each in made.spec.raw.items() if key != "models"}
    (folder / "spec.json").write_text(json.dumps({**raw, **changes}))
    (folder / "data.csv").write_bytes(as_csv(made.rows))
    files = list(made.model.files.values()) or [made.model.file]
    return {
        "models": tuple(folder / name for name in files),
        "spec": folder / "spec.json",
        "data": folder / "data.csv",
        "out": folder / "bundle",
    }
