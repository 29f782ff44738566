"""A model file that is to be packaged, whatever its format."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.config import Config
from backends import sandbox
from backends.base import ModelFileRejected
from backends.bundle import NAMES
from backends.lightgbm_features import features_for as lightgbm_features
from backends.lightgbm_text import LightGBMFile
from backends.lightgbm_text import inspect as inspect_lightgbm
from backends.model import Feature, Label, Link, Model, Task

# LightGBM's objectives whose link is known and can be undone.
_LINKS: Mapping[str, Link] = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair"), "identity"),
    **dict.fromkeys(("quantile", "mape"), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "log"),
    "binary": "logit",
}


class ModelFile(ABC):
    """What packaging asks of a model file.

    format, file: as in `Model`. library: the package whose version matters.
    labels: class labels that the file itself names, in its order; else empty.
    output, input_names: as in `Model`.
    """

    format: str
    file: str
    library: str
    labels: tuple[Label, ...] = ()
    output: str | None = None
    input_names: tuple[str, ...] = ()

    @abstractmethod
    def task(self, wanted: Task | None) -> Task:
        """What the model predicts. Raises ModelFileRejected if it is not `wanted`."""

    @abstractmethod
    def classes(self, task: Task) -> int | None:
        """How many classes it tells apart; None if the file does not say."""

    @abstractmethod
    def features(
        self,
        table: pa.Table,
        *,
        names: Sequence[str] | None,
        categorical: Sequence[str] | None,
    ) -> tuple[Feature, ...]:
        """What it takes, in its order.

        table: the training data without the target. names, categorical: what the user
        says of the columns. Raises ModelFileRejected.
        """

    @abstractmethod
    def derived(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        """The features of a spec, in its order, as the file takes them.

        Raises ModelFileRejected where it takes others.
        """

    def link(self) -> Link:
        """What makes the margin of the prediction.

        Raises ModelFileRejected where nothing can be put between the two.
        """
        raise ModelFileRejected(
            "--offset and --exposure are for LightGBM models: a graph takes all that it"
            " scores with as inputs"
        )

    @abstractmethod
    def write(self, folder: Path, name: str) -> None:
        """Put what is served into a bundle's folder, under a name.

        Raises ModelFileRejected where what it needs beside it cannot be put there.
        """

    def warnings(self, model: Model, matrix: NDArray[np.float64]) -> list[str]:
        """What the user should know of this model and this training data."""
        return []


def open_model_file(path: Path, *, output: str | None, config: Config) -> ModelFile:
    """Read a model file in a sandbox.

    output: ONNX: name of the output that holds probabilities or values.

    Raises ModelFileRejected with the reason and the remedy, OSError.
    """
    with path.open("rb") as file:
        is_lightgbm = file.read(4) == b"tree"
    if not is_lightgbm and path.suffix.lower() != ".onnx":
        raise ModelFileRejected(
            f"{path.name} is neither a LightGBM text model"
            " (booster.save_model('model.txt')) nor an ONNX file (.onnx); nothing else"
            " is read, for a pickle runs whatever code is in it"
        )
    facts = sandbox.run(
        f"app.model_file:{'inspect_text' if is_lightgbm else 'inspect_graph'}",
        str(path.resolve()),
        *([] if is_lightgbm else [output]),
        seconds=config.model_seconds,
        memory=config.model_memory,
    )
    return (_LightGBM if is_lightgbm else _Onnx)(path.resolve(), facts)


def inspect_text(path: str) -> dict[str, Any]:
    """Read a LightGBM text model; runs in the sandbox."""
    return inspect_lightgbm(Path(path)).to_json()


def inspect_graph(path: str, output: str | None) -> dict[str, Any]:
    """Read an ONNX file; runs in the sandbox."""
    from backends.onnx_graph import inspect

    return inspect(Path(path), output=output).to_json()


def _check_count(count: int, features: Sequence[Feature]) -> None:
    if count != len(features):
        raise ModelFileRejected(
            f"The model takes {count} features, the spec derives {len(features)}"
        )


class _LightGBM(ModelFile):
    format = "lightgbm"
    file = "model.txt"
    library = "lightgbm"

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self._path = path
        self._facts = LightGBMFile.from_json(facts)

    def task(self, wanted: Task | None) -> Task:
        own = self._facts.task
        if own is None:
            if wanted == "regression" and self._facts.outputs == 1:
                return wanted
            raise ModelFileRejected(
                "The model was trained with an objective of its author's own, so its"
                " file does not say what its raw scores mean: train with a built-in"
                " objective, or serve the scores as they are with --task regression"
            )
        # Cross entropy answers the probability that its target is 1.
        is_probability = self._facts.objective.split()[0] == "cross_entropy"
        if wanted in (None, own) or (wanted == "binary" and is_probability):
            return wanted or own
        raise ModelFileRejected(
            f"The model's objective is {self._facts.objective.split()[0]!r}, which is"
            f" {own}, not {wanted}"
        )

    def classes(self, task: Task) -> int | None:
        return self._facts.outputs if task == "multiclass" else 2

    def features(
        self,
        table: pa.Table,
        *,
        names: Sequence[str] | None,
        categorical: Sequence[str] | None,
    ) -> tuple[Feature, ...]:
        return lightgbm_features(
            self._facts, table, names=names, categorical=categorical
        )

    def derived(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        own = self._facts.feature_names
        _check_count(len(own), features)
        for position, (name, feature) in enumerate(zip(own, features, strict=True)):
            # LightGBM writes underscores for blanks, and numbers what has no name.
            written = feature.name.replace(" ", "_")
            if name not in (feature.name, written, f"Column_{position}"):
                raise ModelFileRejected(
                    f"Feature {position} of the model is {name!r}, that of the spec is"
                    f" {feature.name!r}: the spec's features have to be those that the"
                    " model was trained on, in their order"
                )
        # What training took for levels are either the spec's own or their positions.
        levels = self._facts.pandas_categorical
        spec_levels = tuple(each.categories for each in features if each.categories)
        if levels != spec_levels and any(
            each != tuple(range(len(each))) for each in levels
        ):
            raise ModelFileRejected(
                "The model was trained on columns of category dtype, whose codes"
                " are not the spec's: train on the numbers that the spec derives"
                " and name the categorical ones with categorical_feature=[…]"
            )
        return tuple(features)

    def link(self) -> Link:
        if self._facts.average_output:
            raise ModelFileRejected(
                "--offset and --exposure are for boosted models: the trees of a random"
                " forest are no sum that something can be added to"
            )
        name, *words = self._facts.objective.split() or ["of its author's own"]
        link = _LINKS.get(name)
        is_plain = words == ["sigmoid:1"] if link == "logit" else "sqrt" not in words
        if link is None or not is_plain:
            raise ModelFileRejected(
                "--offset and --exposure are for the objectives"
                f" {', '.join(_LINKS)}, without reg_sqrt and with a sigmoid of 1; this"
                f" model's is {' '.join([name, *words])!r}"
            )
        return link

    def write(self, folder: Path, name: str) -> None:
        shutil.copyfile(self._path, folder / name)


class _Onnx(ModelFile):
    format = "onnx"
    file = "model.onnx"
    library = "onnxruntime"

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        from backends.onnx_graph import Graph

        self._path = path
        self._graph = graph = Graph.from_json(facts)
        self.labels = graph.labels
        self.output = graph.output
        self.input_names = graph.input_names

    def task(self, wanted: Task | None) -> Task:
        task = wanted or self._graph.task
        columns = self._graph.columns
        if task is None:
            raise ModelFileRejected(
                "The graph does not say what it predicts: say it with --task"
                " binary, regression or multiclass"
            )
        fits = {
            "regression": columns in (None, 1) and not self._graph.labels,
            "binary": columns in (None, 1, 2),
            "multiclass": columns is None or columns > 1,
        }
        if not fits[task]:
            raise ModelFileRejected(
                f"The output {self.output!r} has {columns} columns, which no {task}"
                " model answers: name another output with --output, or another task"
            )
        return task

    def classes(self, task: Task) -> int | None:
        return 2 if task == "binary" else len(self.labels) or self._graph.columns

    def features(
        self,
        table: pa.Table,
        *,
        names: Sequence[str] | None,
        categorical: Sequence[str] | None,
    ) -> tuple[Feature, ...]:
        from backends.onnx_features import features_for

        if categorical is not None:
            raise ModelFileRejected(
                "--categorical is for LightGBM models; a graph brings its own encoding"
            )
        if names is None:
            return features_for(self._graph, table.column_names)
        return features_for(self._graph, names, in_order=True)

    def derived(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        from backends.onnx_features import features_for

        names = [feature.name for feature in features]
        widths = [each.width for each in self._graph.inputs]
        if None not in widths:
            _check_count(sum(width or 0 for width in widths), features)
        found = features_for(self._graph, names, in_order=True)
        for own, feature in zip(found, features, strict=True):
            if own.name != feature.name:
                raise ModelFileRejected(
                    f"The graph takes {own.name!r} where the spec has {feature.name!r}:"
                    " the spec's features have to be those of the graph, in their order"
                )
            if own.kind == "text":
                raise ModelFileRejected(
                    f"The graph takes a text for {own.name!r}, and what a spec derives"
                    " are numbers: categories are their positions"
                )
        return tuple(
            replace(feature, dtype=own.dtype, missing=own.missing)
            for own, feature in zip(found, features, strict=True)
        )

    def write(self, folder: Path, name: str) -> None:
        from backends.onnx_graph import write_served

        write_served(self._path, folder / name, self._graph)
        for weights in self._graph.external_data:
            if weights in NAMES or (folder / weights).exists():
                raise ModelFileRejected(
                    f"The external data file {weights!r} has a name of the bundle's"
                    " own, or of another graph's: save the weights under another one"
                )
            shutil.copyfile(self._path.with_name(weights), folder / weights)

    def warnings(self, model: Model, matrix: NDArray[np.float64]) -> list[str]:
        from backends.onnx_features import precision_warnings

        return precision_warnings(model, matrix)
