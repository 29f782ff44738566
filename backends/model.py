"""The card beside every model file: what the model takes, what it answers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

# "tensors": named inputs and outputs of any rank, which `io` describes.
# "unstructured": bytes to bytes, by a graph that `io` describes or a Python hook.
Task = Literal["binary", "regression", "multiclass", "tensors", "unstructured"]
Kind = Literal["numeric", "categorical", "text"]
DType = Literal["float64", "float32", "int64", "string"]
Missing = Literal["nan", "error", "empty"]
Link = Literal["identity", "log", "logit"]
Label = str | int | float | bool

# The format of a hook: a module of Python code.
PYTHON = "python"
# The key of `Model.files` in the card.
_FILES = "models"
# As JSON has it, in the one way that it can be written.
_DISTANCE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class InvalidModelCard(ValueError):
    """model.json does not describe a model; the message names the key."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column that the model takes.

    name: as in the data that users send.
    kind: numeric; categorical (sent to the model as the position of the value in
        `categories`); text (sent to the model as a string).
    dtype: what the model file declares for this input.
    categories: the levels in the order of their codes; None unless categorical.
    missing: "nan" scores a missing value as NaN; "error" refuses it, because the
        dtype has no missing value; "empty" sends the empty string.
    """

    name: str
    kind: Kind
    dtype: DType = "float64"
    categories: tuple[Label, ...] | None = None
    missing: Missing = "nan"


@dataclass(frozen=True, slots=True)
class Model:
    """What model.json says.

    id: 24 hex digits, from the content of the bundle.
    file: name of the model file inside the bundle.
    labels: class labels in the model's order; empty for regression.
    positive_label: binary only, one of `labels`.
    features: in the model's order; none of task "tensors" or "unstructured".
    threshold: what a deployment starts with; binary only.
    prediction_bounds: low and high of the holdout predictions (0.5 and 99.5 %
        quantiles) in target units; regression only.
    output: ONNX: name of the output that holds probabilities or values.
    input_names: ONNX: name of the graph's inputs; one, or one for each feature.
    versions: library name to version at packaging.
    offset: column whose number is added to the margin before the link.
    exposure: column whose number the link's answer is multiplied by; log link only.
    link: what makes the margin of the prediction; only if there is one of the two.
    time_series: the spec that the features are derived by, as JSON; None: rows bring
        the features themselves.
    files: forecast distance to model file, ascending; empty: `file` scores all rows.
        Else it is the first of them, and the last feature, which the models themselves
        do not take, says which one scores a row.
    io: of task "tensors", and of a graph of task "unstructured": the named inputs and
        outputs as JSON, see `backends.tensors`.
    """

    id: str
    name: str
    format: str
    file: str
    task: Task
    target: str
    features: tuple[Feature, ...]
    labels: tuple[Label, ...] = ()
    positive_label: Label | None = None
    threshold: float = 0.5
    prediction_bounds: tuple[float, float] | None = None
    output: str | None = None
    input_names: tuple[str, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    offset: str | None = None
    exposure: str | None = None
    link: Link | None = None
    time_series: Mapping[str, Any] | None = None
    files: Mapping[int, str] = dataclasses.field(default_factory=dict)
    io: Mapping[str, Any] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that rows must have: features, offset, exposure."""
        beside = (self.offset, self.exposure)
        names = [feature.name for feature in self.features]
        return (*names, *(name for name in beside if name is not None))

    @property
    def negative_label(self) -> Label | None:
        """The other label of a binary model."""
        others = [label for label in self.labels if label != self.positive_label]
        return others[0] if self.task == "binary" else None

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the id: the id is made from this."""
        card = dataclasses.asdict(self)
        del card["id"]
        # A bundle's card has its checksums under "files".
        card[_FILES] = {str(each): name for each, name in card.pop("files").items()}
        # Without keys that say nothing older releases read the card as well.
        if self.link is None:
            for key in ("offset", "exposure", "link"):
                del card[key]
        if self.time_series is None:
            del card["time_series"]
        if not self.files:
            del card[_FILES]
        if self.io is None:
            del card["io"]
        return card

    @classmethod
    def from_json(cls, card: Mapping[str, Any], model_id: str) -> Model:
        """Read what `to_json` wrote.

        Raises InvalidModelCard naming the key that is missing or wrong.
        """
        known = {field.name for field in dataclasses.fields(cls)} - {"id", "files"}
        known.add(_FILES)
        if unknown := sorted(set(card) - known):
            raise InvalidModelCard(f"model.json: unknown key {unknown[0]!r}")
        try:
            values = dict(card)
            values["features"] = tuple(map(_feature, values["features"]))
            values["labels"] = tuple(values.get("labels", ()))
            values["input_names"] = tuple(values.get("input_names", ()))
            if values.get("prediction_bounds") is not None:
                low, high = values["prediction_bounds"]
                values["prediction_bounds"] = (float(low), float(high))
            values["files"] = _model_files(values.pop(_FILES, {}))
            model = cls(id=model_id, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidModelCard(f"model.json: {error}") from error
        _check(model)
        return model


def _model_files(card: Mapping[str, Any]) -> dict[int, str]:
    if unknown := [each for each in card if not _DISTANCE.fullmatch(each)]:
        raise ValueError(f"{_FILES}: {unknown[0]!r} is no forecast distance")
    files = {int(distance): name for distance, name in card.items()}
    return dict(sorted(files.items()))


def _feature(card: Mapping[str, Any]) -> Feature:
    if unknown := sorted(
        set(card) - {each.name for each in dataclasses.fields(Feature)}
    ):
        raise ValueError(f"features: unknown key {unknown[0]!r}")
    categories = card.get("categories")
    return Feature(
        name=card["name"],
        kind=card["kind"],
        dtype=card.get("dtype", "float64"),
        categories=None if categories is None else tuple(categories),
        missing=card.get("missing", "nan"),
    )


def _check(model: Model) -> None:
    """Raise InvalidModelCard for the first key that breaks its rule."""
    for key, is_right in _rules(model):
        if not is_right:
            raise InvalidModelCard(f"model.json: {key} is not valid")


def _rules(model: Model) -> Iterator[tuple[str, bool]]:
    """Each rule may count on those before it."""
    for key in ("name", "format", "file", "target"):
        yield key, isinstance(getattr(model, key), str)
    yield "file", _is_file_name(model.file)
    yield "task", model.task in get_args(Task)
    counts = {"binary": len(model.labels) == 2, "multiclass": len(model.labels) > 1}
    yield "labels", _are_labels(model.labels)
    yield "labels", counts.get(model.task, not model.labels)
    if model.task == "binary":
        yield "positive_label", model.positive_label in model.labels
    yield "threshold", _is_number(model.threshold)
    low, high = model.prediction_bounds or (0.0, 0.0)
    yield "prediction_bounds", _is_number(low) and _is_number(high) and low <= high
    yield "output", isinstance(model.output, str | None)
    yield "input_names", all(isinstance(name, str) for name in model.input_names)
    yield "versions", isinstance(model.versions, dict)
    yield "versions", all(isinstance(each, str) for each in model.versions.values())
    for feature in model.features:
        yield f"features: {feature.name!r}", _is_feature(feature)
    names = {feature.name for feature in model.features}
    yield "features", len(names) == len(model.features)
    yield "features", bool(names) == (model.task not in ("tensors", "unstructured"))
    is_hook = model.format == PYTHON
    yield "format", not is_hook or model.task == "unstructured"
    yield "format", model.task != "unstructured" or model.format in (PYTHON, "onnx")
    yield "file", not is_hook or _is_module(model.file)
    has_io = model.task == "tensors" or (model.task == "unstructured" and not is_hook)
    yield "io", isinstance(model.io, dict) == has_io
    yield "io", model.io is None or isinstance(model.io, dict)
    yield from _adjustment_rules(model, {*names, model.target})
    yield "time_series", isinstance(model.time_series, dict | None)
    yield "time_series", model.time_series is None or model.link is None
    if model.files:
        yield from _file_rules(model)


def _file_rules(model: Model) -> Iterator[tuple[str, bool]]:
    names = list(model.files.values())
    yield _FILES, all(isinstance(each, str) and _is_file_name(each) for each in names)
    yield _FILES, len(set(names)) == len(names)
    yield "file", model.file == names[0]
    yield "features", len(model.features) > 1 and model.features[-1].kind == "numeric"


def _adjustment_rules(model: Model, taken: set[str]) -> Iterator[tuple[str, bool]]:
    """taken: names of columns that are something else."""
    for key in ("offset", "exposure"):
        name = getattr(model, key)
        yield key, name is None or (isinstance(name, str) and name not in taken)
    yield "exposure", model.exposure is None or model.exposure != model.offset
    if model.offset is None and model.exposure is None:
        yield "link", model.link is None
        return
    links = {"regression": ("identity", "log"), "binary": ("logit",)}
    yield "link", model.link in links.get(model.task, ())
    yield "exposure", model.exposure is None or model.link == "log"
    yield "format", model.format == "lightgbm"


def _is_file_name(name: str) -> bool:
    return "/" not in name and not name.startswith(".")


def _is_feature(feature: Feature) -> bool:
    return (
        isinstance(feature.name, str)
        and feature.kind in get_args(Kind)
        and feature.dtype in get_args(DType)
        and feature.missing in get_args(Missing)
        and (feature.kind == "categorical") == (feature.categories is not None)
        and _are_labels(feature.categories or ())
    )


def _is_module(file: str) -> bool:
    stem, _, ending = file.rpartition(".")
    return ending == "py" and stem.isidentifier()


def _are_labels(labels: tuple[Label, ...]) -> bool:
    return (
        all(isinstance(label, str) or _is_number(label) for label in labels)
        # 1 and True are one label, "1" is another.
        and len(set(labels)) == len(labels)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
