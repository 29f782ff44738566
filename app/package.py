"""Makes a bundle of a model file and the data it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from app import bundling, reference
from app.bundling import (
    BundleOptions,
    PackageReport,
    PackagingRefused,
    Rows,
    listed,
    positive_label,
)
from app.config import Config
from app.model_file import ModelFile, open_model_file
from app.reference import Scored
from app.training_data import (
    distinct_labels,
    read_table,
    take_columns,
    typed_labels,
)
from app.validation import validate
from backends import bundle, load
from backends.base import Backend, ModelFileRejected
from backends.model import Feature, Label, Link, Model, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOptions(BundleOptions):
    """What a bundle is made of.

    data: with the target and the features.
    task: None for what the model file says.
    labels: class names in the model's order; None for the file's own, else the sorted
        distinct target values.
    categorical: LightGBM: columns of category dtype in the training frame's order.
    features: the columns that the model takes, in its order.
    offset, exposure: LightGBM: the columns of what was given as `init_score` when
        training, as it was and before its logarithm was taken.
    """

    model: Path
    target: str
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    offset: str | None = None
    exposure: str | None = None


def package(options: PackageOptions, config: Config) -> PackageReport:
    """Make a bundle, check it as deployment will, and put it in its place.

    Raises PackagingRefused, TrainingDataRejected, DataError, ModelFileRejected and
    BundleRejected, each with the reason; nothing is left behind then.
    """
    bundling.check(options)
    file = open_model_file(options.model, output=options.output, config=config)
    table = read_table(options.data)
    what = options.data.name
    column = take_columns(table, [options.target], what=what)[options.target]
    model, notes = _card(options, file, table, column)
    rows = Rows.of(table, model, what)
    with bundling.new_folder(options.out) as folder:
        file.write(folder, file.file)
        backend = load(folder, model)
        holdout = _holdout(options, backend, rows)
        filled = bundling.fill(
            *(folder, backend, backend, rows, holdout),
            reference_rows=options.reference_rows,
        )
        model = bundle.write(folder, filled.model)
        validate(folder, config)
    if options.tar is not None:
        bundle.pack(options.out, options.tar)
    warnings = notes + file.warnings(model, rows.columns.matrix) + filled.warnings
    return PackageReport(
        model=model,
        folder=options.out,
        tar=options.tar,
        training_rows=len(rows.columns),
        holdout_rows=len(holdout.values),
        golden_rows=filled.golden_rows,
        reference_rows=filled.reference_rows,
        metrics=reference.metrics(model, holdout),
        warnings=tuple(warnings),
    )


def _holdout(options: PackageOptions, backend: Backend, rows: Rows) -> Scored:
    """The rows that bounds, metrics and impact are computed on, scored."""
    if options.holdout is None:
        return rows.scored(backend, rows.share(options.holdout_fraction))
    table = read_table(options.holdout)
    held = Rows.of(table, backend.model, options.holdout.name)
    return Scored(held.columns, backend.predict(held.columns), held.actual)


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
        positive_label=positive_label(options.positive_class, task, labels),
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
                f" {listed(labels)}, the sorted values of the target"
            )
    count = file.classes(task)
    if len(labels) != count if count is not None else len(labels) < 2:
        raise ModelFileRejected(
            f"The model tells {count or 'several'} classes apart, but {origin}"
            f" {len(labels)}: {listed(labels)}; name the classes in the model's order"
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
