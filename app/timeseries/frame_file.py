"""Derived training rows as a file, for training without Python or elsewhere."""

from __future__ import annotations

from pathlib import Path

from app.errors import AppError
from app.offline import written
from app.training_data import read_table
from backends.timeseries.frames import training_frame
from backends.timeseries.spec_json import load_spec

_TARGET = "y"


class FrameNotWritten(AppError):
    """The derived rows do not fit into one table."""


def write_frame(spec_file: Path, data: Path, out: Path) -> tuple[int, list[str]]:
    """Derive training rows into a .csv or .parquet file; see `training_frame`.

    Returns how many there are, and the names of their features.

    Raises SpecError, TrainingDataRejected, ForecastRefused, DataError, FrameNotWritten,
    OutputRefused and OSError.
    """
    spec = load_spec(spec_file)
    features, y, meta = training_frame(read_table(data).to_pandas(), spec)
    for name in (*meta.columns, _TARGET):
        if name in features.columns:
            raise FrameNotWritten(
                f"The feature {name!r} has the name of a column that is written beside"
                " the features: call it something else"
            )
    rows = meta.join(features).assign(**{_TARGET: y})
    with written(data, out) as file:
        if out.suffix == ".parquet":
            rows.to_parquet(file, index=False)
        else:
            rows.to_csv(file, index=False)
    return len(rows), spec.names
