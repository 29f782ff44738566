"""Makes a bundle of a model file and the data it was trained on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app import golden, reference
from app.config import Config
from app.errors import AppError
from app.model_file import ModelFile, open_model_file
from app.reference import Scored
from app.training_data import (
    TrainingDataRejected,
    distinct_labels,
    encode_labels,
    read_table,
    spread,
    take_columns,
    typed_labels,
)
from app.validation import validate
from backends import bundle, load
from backends.base import Backend, ModelFileRejected
from backends.explanations import choosing
from backends.features import Columns, Decoder
from backends.model import Feature, Label, Link, Model, Task

Floats = NDArray[np.float64]

_NOT_INITIALIZED = (
    "No holdout row has a target: there is no feature impact, and Prediction"
    " Explanations by XEMP are not initialized for the model"
)


class PackagingRefused(AppError):
    """An option cannot be, or the bundle cannot be written where it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOptions:
    """What a bundle is made of.

    data: CSV or Parquet file with the target and the features.
    task: None for what the model file says.
    positive_class: binary; None for the second label.
    holdout: file of rows that the model was not trained on; None takes a share of
        `data`.
    labels: class names in the model's order; None for the file's own, else the sorted
        distinct target values.
    categorical: LightGBM: columns of category dtype in the training frame's order.
    features: the columns that the model takes, in its order.
    output: ONNX: the output that holds probabilities or values.
    reference_rows: how many rows of `data` the bundle keeps.
    offset, exposure: LightGBM: the columns of what was given as `init_score` when
        training, as it was and before its logarithm was taken.
    """

    model: Path
    data: Path
    target: str
    out: Path
    task: Task | None = None
    positive_class: str | None = None
    holdout: Path | None = None
    holdout_fraction: float = 0.2
    threshold: float = 0.5
    name: str | None = None
    labels: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    output: str | None = None
    reference_rows: int = 1000
    tar: Path | None = None
    offset: str | None = None
    exposure: str | None = None


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


def package(options: PackageOptions, config: Config) -> PackageReport:
    """Make a bundle, check it as deployment will, and put it in its place.

    Raises PackagingRefused, TrainingDataRejected, DataError, ModelFileRejected and
    BundleRejected, each with the reason; nothing is left behind then.
    """
    _check(options)
    file = open_model_file(options.model, output=options.output, config=config)
    table = read_table(options.data)
    what = options.data.name
    column = take_columns(table, [options.target], what=what)[options.target]
    model, notes = _card(options, file, table, column)
    rows = _Rows.of(table, model, what)
    with _new_folder(options.out) as folder:
        file.write(folder)
        backend = load(folder, model)
        holdout = _holdout(options, backend, rows)
        if model.task == "regression":
            bounds = reference.prediction_bounds(holdout.values)
            model = backend.model = replace(model, prediction_bounds=bounds)
        warnings = (
            notes
            + file.warnings(model, rows.columns.matrix)
            + _warnings(model, rows.columns, holdout)
        )
        impact = reference.feature_impact(backend, holdout)
        _write_statistics(folder, model, rows, holdout, impact)
        if impact:
            choosing.write(folder, model.features, holdout.columns, impact["raw"])
        else:
            warnings.append(_NOT_INITIALIZED)
        kept = _write_reference(folder, rows.table, options.reference_rows)
        checked = golden.make(folder, backend, rows.table, rows.columns)
        checked.write(folder)
        model = bundle.write(folder, model)
        validate(folder, config)
    if options.tar is not None:
        bundle.pack(options.out, options.tar)
    return PackageReport(
        model=model,
        folder=options.out,
        tar=options.tar,
        training_rows=len(rows.columns),
        holdout_rows=len(holdout.values),
        golden_rows=len(checked.rows),
        reference_rows=kept,
        metrics=reference.metrics(model, holdout),
        warnings=tuple(warnings),
    )


def _check(options: PackageOptions) -> None:
    wrong = {
        "--holdout-fraction is between 0 and 1": not 0 < options.holdout_fraction < 1,
        "--threshold is from 0 to 1": not 0 <= options.threshold <= 1,
        "--reference-rows is not negative": options.reference_rows < 0,
    }
    for rule, is_broken in wrong.items():
        if is_broken:
            raise PackagingRefused(rule)
    if options.out.exists() and not _is_empty_folder(options.out):
        raise PackagingRefused(f"{options.out} is there already, and is not empty")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
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


# ---- The card


def _card(
    options: PackageOptions,
    file: ModelFile,
    table: pa.Table,
    column: pa.ChunkedArray,
) -> tuple[Model, list[str]]:
    """What model.json will say, without the bounds, and what the user should know.

    column: the target.
    """
    task = file.task(options.task)
    features = file.features(
        table.drop_columns(options.target),
        names=options.features,
        categorical=options.categorical,
    )
    labels, notes = _labels(options, file, task, column)
    link = _link(options, file, table, features)
    names = ("foretell", file.library)
    model = Model(
        id="",
        name=options.name or options.model.stem,
        format=file.format,
        file=file.file,
        task=task,
        target=options.target,
        features=features,
        labels=labels,
        positive_label=_positive(options, task, labels),
        threshold=options.threshold,
        output=file.output,
        input_names=file.input_names,
        versions={name: version(name) for name in names},
        offset=options.offset,
        exposure=options.exposure,
        link=link,
    )
    return model, notes


def _link(
    options: PackageOptions,
    file: ModelFile,
    table: pa.Table,
    features: Sequence[Feature],
) -> Link | None:
    """The link that offset and exposure are put around; None without them."""
    given = {
        option: name
        for option, name in (
            ("--offset", options.offset),
            ("--exposure", options.exposure),
        )
        if name is not None
    }
    if not given:
        return None
    link = file.link()
    taken = {feature.name: "a feature of the model" for feature in features}
    taken[options.target] = "the target"
    for option, name in given.items():
        if name in taken:
            raise PackagingRefused(f"{option} {name!r} is {taken[name]}")
        taken[name] = f"the column of {option} already"
    take_columns(table, given.values(), what=options.data.name)
    if options.exposure is not None and link != "log":
        raise PackagingRefused(
            f"--exposure is for objectives with a log link; this model's is {link}"
        )
    return link


def _labels(
    options: PackageOptions, file: ModelFile, task: Task, column: pa.ChunkedArray
) -> tuple[tuple[Label, ...], list[str]]:
    """The class labels in the model's order, and where they come from if guessed."""
    if task == "regression":
        if options.labels is not None:
            raise PackagingRefused("--labels is for classes; this model is regression")
        return (), []
    found = distinct_labels(column)
    notes = []
    if options.labels is not None:
        labels, origin = typed_labels(options.labels), "--labels names"
    elif file.labels and not _are_numbers_for(file.labels, found):
        labels, origin = file.labels, "the file names"
    else:
        labels, origin = found, f"the target {options.target!r} holds"
        if file.labels:
            notes.append(
                f"The file only numbers its classes; they were taken for"
                f" {_listed(labels)}, the sorted values of the target"
            )
    count = file.classes(task)
    if len(labels) != count if count is not None else len(labels) < 2:
        raise ModelFileRejected(
            f"The model tells {count or 'several'} classes apart, but {origin}"
            f" {len(labels)}: {_listed(labels)}; name the classes in the model's order"
            " with --labels"
        )
    return labels, notes


def _are_numbers_for(labels: tuple[Label, ...], found: tuple[Label, ...]) -> bool:
    """Whether a file's labels are but the positions of as many other values."""
    return (
        labels == tuple(range(len(labels)))
        and len(found) == len(labels)
        and any(isinstance(value, str) for value in found)
    )


def _positive(
    options: PackageOptions, task: Task, labels: tuple[Label, ...]
) -> Label | None:
    wanted = options.positive_class
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
            f"--positive-class {wanted!r} is none of the classes {_listed(labels)}"
        )
    return labels[int(code)]


def _listed(labels: tuple[Label, ...]) -> str:
    shown = ", ".join(map(repr, labels[:10]))
    return shown if len(labels) <= 10 else f"{shown} and {len(labels) - 10} more"


# ---- Rows


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows with their target.

    table: the features' columns and the target, as their file has them.
    actual: float64 (n_rows,): the target, or the position of its label; NaN missing.
    """

    table: pa.Table
    columns: Columns
    actual: Floats

    @classmethod
    def of(cls, table: pa.Table, model: Model, what: str) -> _Rows:
        """what: the file, for messages. Raises TrainingDataRejected and DataError."""
        table = take_columns(table, [*model.columns, model.target], what=what)
        columns = Decoder.of(model).from_table(table)
        actual = _target(table[model.target], model)
        if np.isnan(actual).all():
            raise TrainingDataRejected(
                f"The target {model.target!r} has no value in {what}"
            )
        return cls(table, columns, actual)


def _target(column: pa.ChunkedArray, model: Model) -> Floats:
    if model.task != "regression":
        return encode_labels(column, model.target, model.labels)
    feature = Feature(model.target, "numeric")
    table = pa.table({model.target: column})
    values = Decoder((feature,)).from_table(table).matrix[:, 0]
    return np.where(np.isinf(values), np.nan, values)


def _holdout(options: PackageOptions, backend: Backend, rows: _Rows) -> Scored:
    """The rows that bounds, metrics and impact are computed on, scored."""
    if options.holdout is not None:
        table = read_table(options.holdout)
        held = _Rows.of(table, backend.model, options.holdout.name)
        return Scored(held.columns, backend.predict(held.columns), held.actual)
    total = len(rows.columns)
    size = max(round(total * options.holdout_fraction), 1)
    chosen = np.sort(spread(total)[:size])
    columns = rows.columns.take(chosen)
    return Scored(columns, backend.predict(columns), rows.actual[chosen])


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
        warnings.append(
            f"The holdout AUC is {auc:.3f}, worse than chance: check the order of the"
            f" classes, {_listed(model.labels)}, and name them with --labels if need be"
        )
    return warnings


# ---- Files


def _write_statistics(
    folder: Path,
    model: Model,
    rows: _Rows,
    holdout: Scored,
    impact: Mapping[str, Any],
) -> None:
    content = reference.statistics(model, rows.columns, rows.actual, holdout)
    content["impact"] = impact
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    (folder / bundle.STATISTICS).write_text(text + "\n", encoding="utf-8")


def _write_reference(folder: Path, table: pa.Table, rows: int) -> int:
    """Keep a sample of the rows; returns how many."""
    if not rows:
        return 0
    sample = reference.sample(table, rows)
    pq.write_table(sample, folder / bundle.REFERENCE, compression="zstd")
    return int(sample.num_rows)
