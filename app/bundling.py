"""Fills a bundle's folder with what rows and their predictions tell of a model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app import golden, reference
from app.errors import AppError
from app.reference import Scored
from app.training_data import TrainingDataRejected, encode_labels, spread, take_columns
from backends import bundle
from backends.base import Backend
from backends.explanations import choosing
from backends.features import Columns, Decoder
from backends.model import Feature, Label, Model, Task

Floats = NDArray[np.float64]

_NOT_INITIALIZED = (
    "No holdout row has a target: there is no feature impact, and Prediction"
    " Explanations by XEMP are not initialized for the model"
)


class PackagingRefused(AppError):
    """An option cannot be, or the bundle cannot be written where it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What every bundle is made by.

    data: CSV or Parquet file of training data.
    positive_class: binary; None for the second label.
    holdout: file of rows that the model was not trained on; None takes a share of
        `data`.
    output: ONNX: the output that holds probabilities or values.
    reference_rows: how many rows that the model was trained on the bundle keeps.
    """

    data: Path
    out: Path
    positive_class: str | None = None
    holdout: Path | None = None
    holdout_fraction: float = 0.2
    threshold: float = 0.5
    name: str | None = None
    output: str | None = None
    reference_rows: int = 1000
    tar: Path | None = None


@dataclass(frozen=True, slots=True)
class PackageReport:
    """What was made.

    metrics: of the predictions on the holdout rows whose target is known.
    golden_rows, reference_rows: how many the bundle holds.
    """

    model: Model
    folder: Path
    tar: Path | None
    training_rows: int
    holdout_rows: int
    golden_rows: int
    reference_rows: int
    metrics: Mapping[str, float | None]
    warnings: tuple[str, ...]


def check(options: BundleOptions) -> None:
    """Raise PackagingRefused for an option that cannot be."""
    wrong = {
        "--holdout-fraction is between 0 and 1": not 0 < options.holdout_fraction < 1,
        "--threshold is from 0 to 1": not 0 <= options.threshold <= 1,
        "--reference-rows is not negative": options.reference_rows < 0,
    }
    for rule, is_broken in wrong.items():
        if is_broken:
            raise PackagingRefused(rule)
    check_place(options.out)


def check_place(out: Path) -> None:
    """Raise PackagingRefused where a bundle would take something's place."""
    if out.exists() and not _is_empty_folder(out):
        raise PackagingRefused(f"{out} is there already, and is not empty")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all went well."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        # Renaming takes the place of an empty folder, but of nothing else.
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def positive_label(
    wanted: str | None, task: Task, labels: tuple[Label, ...]
) -> Label | None:
    """The class whose probability is predicted; None unless binary.

    wanted: as the user wrote it; None for the second. Raises PackagingRefused.
    """
    if task != "binary":
        if wanted is not None:
            raise PackagingRefused(f"--positive-class is for binary models, not {task}")
        return None
    if wanted is None:
        return labels[1]
    decoder = Decoder((Feature("label", "categorical", categories=labels),))
    code = decoder.from_records([{"label": wanted}]).matrix[0, 0]
    if np.isnan(code):
        raise PackagingRefused(
            f"--positive-class {wanted!r} is none of the classes {listed(labels)}"
        )
    return labels[int(code)]


def listed(labels: tuple[Label, ...]) -> str:
    """The first labels, for a message."""
    shown = ", ".join(map(repr, labels[:10]))
    return shown if len(labels) <= 10 else f"{shown} and {len(labels) - 10} more"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of training data with their target.

    table: the features' columns and the target, as their file has them.
    actual: float64 (n_rows,): the target, or the position of its label; NaN missing.
    """

    table: pa.Table
    columns: Columns
    actual: Floats

    @classmethod
    def of(cls, table: pa.Table, model: Model, what: str) -> Rows:
        """what: the file, for messages. Raises TrainingDataRejected and DataError."""
        table = take_columns(table, [*model.columns, model.target], what=what)
        columns = Decoder.of(model).from_table(table)
        actual = _target(table[model.target], model)
        if np.isnan(actual).all():
            raise TrainingDataRejected(
                f"The target {model.target!r} has no value in {what}"
            )
        return cls(table, columns, actual)

    def share(self, fraction: float) -> NDArray[np.intp]:
        """Some of the rows, from everywhere; always the same ones, at least one."""
        total = len(self.columns)
        size = max(round(total * fraction), 1)
        return np.sort(spread(total)[:size])

    def scored(self, backend: Backend, chosen: NDArray[np.intp]) -> Scored:
        """Some of the rows with what a backend says of them."""
        columns = self.columns.take(chosen)
        return Scored(columns, backend.predict(columns), self.actual[chosen])


def _target(column: pa.ChunkedArray, model: Model) -> Floats:
    if model.task != "regression":
        return encode_labels(column, model.target, model.labels)
    feature = Feature(model.target, "numeric")
    table = pa.table({model.target: column})
    values = Decoder((feature,)).from_table(table).matrix[:, 0]
    return np.where(np.isinf(values), np.nan, values)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a folder was filled with.

    model: the card, its prediction bounds known.
    """

    model: Model
    golden_rows: int
    reference_rows: int
    warnings: list[str]


def fill(
    folder: Path,
    backend: Backend,
    files: Backend,
    rows: Rows,
    holdout: Scored,
    *,
    reference_rows: int,
) -> Filled:
    """Write statistics, exemplars, reference rows and golden rows.

    folder: with the model's files.
    backend: predicts in the target's units. files: answers what the files do, which is
        the same unless something is done to it.
    holdout: the rows that bounds, metrics and impact are computed on.

    Raises DataError.
    """
    model = backend.model
    if model.task == "regression":
        bounds = reference.prediction_bounds(holdout.values)
        model = replace(model, prediction_bounds=bounds)
    warnings = _warnings(model, rows.columns, holdout)
    impact = reference.feature_impact(backend, holdout)
    _write_statistics(folder, model, rows, holdout, impact)
    if impact:
        raw = impact["raw"]
        if model.files:
            # Another distance is another model, and nothing that is explained.
            raw = [*raw[:-1], 0.0]
        choosing.write(folder, model.features, holdout.columns, raw)
    else:
        warnings.append(_NOT_INITIALIZED)
    kept = _write_reference(folder, rows.table, reference_rows)
    checked = golden.make(folder, files, rows.table, rows.columns)
    checked.write(folder)
    return Filled(model, len(checked.rows), kept, warnings)


def _warnings(model: Model, columns: Columns, holdout: Scored) -> list[str]:
    warnings = []
    if columns.unknown_categories:
        warnings.append(
            f"{columns.unknown_categories} cells of the training data hold levels that"
            " the model does not know; it scores them as missing"
        )
    infinite = int((~np.isfinite(holdout.values)).any(axis=1).sum())
    if infinite:
        warnings.append(
            f"The predictions for {infinite} holdout rows are not finite; a request"
            " with such rows is refused"
        )
    auc = reference.metrics(model, holdout).get("auc")
    if auc is not None and auc < 0.5:
        remedy = "name them with --labels if need be"
        if model.time_series is not None:
            remedy = "the spec has to name them in the order of their codes"
        warnings.append(
            f"The holdout AUC is {auc:.3f}, worse than chance: check the order of the"
            f" classes, {listed(model.labels)}, and {remedy}"
        )
    return warnings


def _write_statistics(
    folder: Path,
    model: Model,
    rows: Rows,
    holdout: Scored,
    impact: Mapping[str, Any],
) -> None:
    content = reference.statistics(model, rows.columns, rows.actual, holdout)
    content["impact"] = impact
    bundle.write_json(folder / bundle.STATISTICS, content)


def _write_reference(folder: Path, table: pa.Table, rows: int) -> int:
    """Keep a sample of the rows; returns how many."""
    if not rows:
        return 0
    sample = reference.sample(table, rows)
    pq.write_table(sample, folder / bundle.REFERENCE, compression="zstd")
    return int(sample.num_rows)
