"""The card of a time series model: what a spec and model files say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.bundling import BundleOptions, PackagingRefused, listed, positive_label
from app.config import Config
from app.model_file import ModelFile, open_model_file
from app.timeseries.spec_models import model_paths
from backends.base import ModelFileRejected
from backends.model import Feature, Label, Model
from backends.timeseries.spec import (
    Derived,
    Diff,
    Historic,
    Known,
    Rolling,
    SeriesCode,
    Spec,
    SpecError,
)
from backends.timeseries.spec_json import load_spec

_DISTANCE = ("Forecast Distance", "Forecast Distance (model)")
# What is one of the values that it looks at, of a categorical column a category.
_PICKING = ("first", "last", "most_frequent")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeriesOptions(BundleOptions):
    """What the bundle of a time series model is made of.

    spec: file of JSON. data: rows of all series, with their timestamps.
    models: one file for all forecast distances, or one for each in their order; none:
        those that the spec names, beside it.
    target: None, or what the spec says as well.
    """

    spec: Path
    models: tuple[Path, ...] = ()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model, by the names that they have in the bundle, first one first.

    spec: with these names, where there is a file for each forecast distance.
    """

    spec: Spec
    files: Mapping[str, ModelFile]

    @property
    def first(self) -> ModelFile:
        """The file of the first forecast distance, or the only one."""
        return next(iter(self.files.values()))


def open_model_files(options: TimeSeriesOptions, config: Config) -> ModelFiles:
    """Read the spec, and the model files in a sandbox.

    Raises PackagingRefused, ModelFileRejected and OSError.
    """
    spec = _read_spec(options.spec)
    if options.target not in (None, spec.target):
        raise PackagingRefused(
            f"--target is {options.target!r}, the spec's target is {spec.target!r}:"
            " leave it out"
        )
    paths = _paths(options, spec)
    opened = [
        open_model_file(path, output=options.output, config=config) for path in paths
    ]
    first = opened[0]
    if len(opened) == 1 and not spec.models:
        return ModelFiles(spec, {first.file: first})
    stem, _, suffix = first.file.rpartition(".")
    window = spec.forecast_window
    names = {
        distance: f"{stem}-{distance}.{suffix}"
        for distance in range(window.start, window.end + 1)
    }
    spec = _read_spec(options.spec, models=names)
    return ModelFiles(spec, dict(zip(names.values(), opened, strict=True)))


def _read_spec(path: Path, models: Mapping[int, str] | None = None) -> Spec:
    """models: what the spec is to say instead of its own."""
    try:
        spec = load_spec(path)
        if models is None:
            return spec
        named = {str(distance): name for distance, name in models.items()}
        return load_spec({**spec.raw, "models": named})
    except SpecError as error:
        raise PackagingRefused(f"{path.name}: {error}") from error


def _paths(options: TimeSeriesOptions, spec: Spec) -> list[Path]:
    """The model files, in the order of the distances if there are several."""
    window = spec.forecast_window
    distances = window.end - window.start + 1
    if options.models:
        wanted = {distances: f"one for each of the {distances} forecast distances"}
        if not spec.models:
            wanted[1] = "one for all of them"
        if len(options.models) not in wanted:
            raise PackagingRefused(
                f"{len(options.models)} model files are given:"
                f" {', or '.join(wanted.values())}, is expected"
            )
        return list(options.models)
    folder = options.spec.parent
    if spec.models:
        return list(model_paths(spec, folder).values())
    named: Any = spec.raw.get("model") or {}
    if "file" not in named:
        raise PackagingRefused(
            "Name the MODEL, or in the spec its file as model.file, or as models one"
            " for each forecast distance"
        )
    return [folder / named["file"]]


def card_of(options: TimeSeriesOptions, given: ModelFiles) -> Model:
    """What model.json will say, without the bounds.

    Raises ModelFileRejected where a file is not what the spec says, PackagingRefused.
    """
    spec, first = given.spec, given.first
    taken = {name: _features(file, spec) for name, file in given.files.items()}
    features = taken[next(iter(taken))]
    for name, file in given.files.items():
        if file.format != first.format:
            raise ModelFileRejected("The model files are of different formats")
        if (taken[name], file.output, file.input_names) != (
            features,
            first.output,
            first.input_names,
        ):
            raise ModelFileRejected(
                "The graphs differ in their inputs or in the names of their outputs:"
                " export them alike"
            )
    names = ("foretell", first.library)
    return Model(
        id="",
        name=options.name or (options.models or (options.spec,))[0].stem,
        format=first.format,
        file=next(iter(given.files)),
        task=spec.task,
        target=spec.target,
        features=(*features, *_distance(spec)),
        labels=spec.classes,
        positive_label=positive_label(options.positive_class, spec.task, spec.classes),
        threshold=options.threshold,
        output=first.output,
        input_names=first.input_names,
        versions={name: version(name) for name in names},
        time_series=dict(spec.raw),
        files=dict(sorted(spec.models.items())),
    )


def _features(file: ModelFile, spec: Spec) -> tuple[Feature, ...]:
    """What a file takes. Raises ModelFileRejected if it is not what the spec says."""
    task = file.task(spec.task)
    count = file.classes(task)
    if spec.classes and count is not None and count != len(spec.classes):
        raise ModelFileRejected(
            f"The model tells {count} classes apart, the spec has {len(spec.classes)}:"
            f" {listed(spec.classes)}"
        )
    if spec.classes and not _are_alike(file.labels, spec.classes):
        raise ModelFileRejected(
            f"The model's classes are {listed(file.labels)}, those of the spec"
            f" {listed(spec.classes)}: name them in the model's order"
        )
    return file.derived(derived_features(spec))


def _are_alike(labels: Sequence[Label], classes: Sequence[Label]) -> bool:
    """Whether a file's labels, if it has any, are these classes or their positions."""
    return list(labels) in ([], list(range(len(classes)))) or list(
        map(str, labels)
    ) == list(map(str, classes))


def derived_features(spec: Spec) -> tuple[Feature, ...]:
    """What each feature of a spec is in the derived rows.

    A category is its position among those of its column.
    """
    return tuple(
        Feature(each.name, "numeric")
        if (categories := _categories(each, spec)) is None
        else Feature(each.name, "categorical", categories=categories)
        for each in spec.features
    )


def _categories(feature: Derived, spec: Spec) -> tuple[Label, ...] | None:
    if isinstance(feature, SeriesCode):
        return feature.categories
    if isinstance(feature, Diff):
        return None
    if isinstance(feature, Rolling) and feature.stat not in _PICKING:
        return None
    if isinstance(feature, Historic | Known):
        return spec.columns[feature.column].categories
    return None


def _distance(spec: Spec) -> tuple[Feature, ...]:
    """What tells the files apart, if there are several."""
    if not spec.models:
        return ()
    name = next(each for each in _DISTANCE if each not in spec.names)
    return (Feature(name, "numeric", dtype="int64", missing="error"),)
