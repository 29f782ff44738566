"""Makes a bundle of a time series model, its spec and the data it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app import bundling, reference
from app.bundling import PackageReport, Rows
from app.config import Config
from app.model_cache import ServedModel
from app.reference import Scored
from app.timeseries.card import TimeSeriesOptions, card_of, open_model_files
from app.timeseries.sample_writing import copy_given, write_sample
from app.training_data import TrainingDataRejected, read_table
from app.validation import validate
from backends import bundle, load
from backends.base import Backend
from backends.explanations.materials import Materials
from backends.features import Columns, DataError, Decoder, read_text
from backends.model import Feature, Model
from backends.timeseries import known_series
from backends.timeseries.backend import TargetBackend
from backends.timeseries.levels import scale
from backends.timeseries.panel import Panel
from backends.timeseries.refusals import ForecastRefused
from backends.timeseries.spec import Log1p, Spec
from backends.timeseries.training import (
    TrainingRows,
    panel_of_table,
    training_rows,
)

Floats = NDArray[np.float64]


def package(options: TimeSeriesOptions, config: Config) -> PackageReport:
    """Make a bundle, check it as deployment will, and put it in its place.

    Raises PackagingRefused, TrainingDataRejected, ModelFileRejected, DataError,
    BundleRejected and OSError, each with the reason; nothing is left behind then.
    """
    bundling.check(options)
    given = open_model_files(options, config)
    spec = given.spec
    model = card_of(options, given)
    derived = _Derived.of(options.data, spec, model)
    with bundling.new_folder(options.out) as folder:
        for name, file in given.files.items():
            file.write(folder, name)
        files = load(folder, model)
        backend = TargetBackend(files, spec)
        holdout = _holdout(options, backend, spec, derived)
        filled = bundling.fill(
            *(folder, backend, files, derived.rows, holdout),
            reference_rows=options.reference_rows,
        )
        warnings = given.first.warnings(model, derived.rows.columns.matrix)
        warnings += filled.warnings
        if spec.series_id_column is not None:
            known_series.write(folder, derived.panel.labels)
        served = ServedModel(
            model, backend, Decoder.of(model), Materials(folder, model)
        )
        doubt = write_sample(
            folder, served, derived.table, derived.panel, derived.training
        )
        warnings += [doubt] if doubt else []
        copy_given(folder, spec, options.spec.parent)
        model = bundle.write(folder, filled.model)
        validate(folder, config)
    if options.tar is not None:
        bundle.pack(options.out, options.tar)
    return PackageReport(
        model=model,
        folder=options.out,
        tar=options.tar,
        training_rows=len(derived.rows.columns),
        holdout_rows=len(holdout.values),
        golden_rows=filled.golden_rows,
        reference_rows=filled.reference_rows,
        metrics=reference.metrics(model, holdout),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True)
class _Derived:
    """Training data, and what is derived from it.

    table: the data as its file has it.
    rows: the derived ones, with what was to be predicted in the target's units.
    """

    table: pa.Table
    panel: Panel
    training: TrainingRows
    rows: Rows

    @classmethod
    def of(cls, path: Path, spec: Spec, model: Model) -> _Derived:
        """Read a file. Raises TrainingDataRejected and OSError."""
        table = read_table(path)
        try:
            panel = panel_of_table(table, spec)
            training = training_rows(panel)
        except (ForecastRefused, DataError) as error:
            # The documents' texts may have several lines.
            said = " ".join(str(error).split())
            raise TrainingDataRejected(f"{path.name}: {said}") from error
        actual = panel.target[training.pairs.rows]
        offset = None
        if any(not isinstance(each, Log1p) for each in spec.transforms):
            offset = scale(actual, spec) - training.y
        rows = Rows(
            _table(model, training.matrix, actual),
            Columns(training.matrix, offset=offset),
            actual,
        )
        return cls(table, panel, training, rows)


def _table(model: Model, matrix: Floats, actual: Floats) -> pa.Table:
    """Derived rows and their target as a file would have them: levels, no codes."""
    columns = {
        feature.name: _cells(feature, matrix[:, position])
        for position, feature in enumerate(model.features)
    }
    target = Feature(model.target, "numeric")
    if model.labels:
        target = Feature(model.target, "categorical", categories=model.labels)
    # A feature may have the target's name, and is wanted more.
    return pa.table({model.target: _cells(target, actual)} | columns)


def _cells(feature: Feature, values: Floats) -> pa.Array:
    levels: Sequence[object] | None = feature.categories
    if levels is None:
        return pa.array(values)
    if not all(isinstance(level, int | float) for level in levels):
        levels = [read_text(level) for level in levels]
    codes = np.where(np.isnan(values), 0, values).astype(np.int64)
    return pa.array(levels).take(pa.array(codes, mask=np.isnan(values)))


def _holdout(
    options: TimeSeriesOptions, backend: Backend, spec: Spec, derived: _Derived
) -> Scored:
    """The forecasts that bounds, metrics and impact are computed on, scored.

    Without a file of their own those of the newest timestamps.
    """
    if options.holdout is not None:
        held = _Derived.of(options.holdout, spec, backend.model)
        return held.rows.scored(backend, np.arange(len(held.rows.columns)))
    times = derived.panel.times[derived.training.pairs.rows]
    distinct = np.unique(times)
    newest = max(round(len(distinct) * options.holdout_fraction), 1)
    return derived.rows.scored(backend, np.flatnonzero(times >= distinct[-newest]))
