"""Loaded models of this process, least recently used out first."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import backends
from app.errors import IsUnstructured, TakesTensors
from backends.base import Backend
from backends.bundle import BundleRejected
from backends.bundle import read as read_bundle
from backends.explanations.materials import Materials
from backends.features import Decoder
from backends.model import PYTHON, Model
from backends.unstructured.code import HookCode

if TYPE_CHECKING:
    from backends.tensors.backend import TensorBackend
    from backends.unstructured.graph import GraphBackend


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model ready to answer: its card, its loaded file, its decoder.

    backend: of a time series model a `TargetBackend`.
    materials: what it is explained with.
    series: ids of the time series that it was trained on, as texts; None if they are
        not known.
    nbytes: memory that it holds, for the model cache's budget.
    """

    model: Model
    backend: Backend
    decoder: Decoder
    materials: Materials
    series: frozenset[str] | None = None
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        # There may be a million of them.
        series = () if self.series is None else (self.series, *self.series)
        nbytes = self.backend.nbytes + sum(map(sys.getsizeof, series))
        object.__setattr__(self, "nbytes", nbytes)


@dataclass(frozen=True, slots=True)
class ServedTensors:
    """A graph of named tensors, ready to answer rows of named values."""

    model: Model
    backend: TensorBackend

    @property
    def nbytes(self) -> int:
        """Memory that it holds, for the model cache's budget."""
        return self.backend.nbytes


@dataclass(frozen=True, slots=True)
class ServedUnstructured:
    """A model that takes bytes and answers bytes."""

    model: Model
    backend: GraphBackend | HookCode

    @property
    def nbytes(self) -> int:
        """Memory that it holds, for the model cache's budget."""
        return self.backend.nbytes


Served = ServedModel | ServedTensors | ServedUnstructured


class ModelCache:
    """Loads models when first asked for and keeps them within a memory budget."""

    def __init__(
        self, path: Callable[[str], Path], compiled: Callable[[str], Path], budget: int
    ) -> None:
        """path, compiled: from a model's id to its bundle, and to what its deployment
            made of it.
        budget: bytes of loaded models.
        """
        self._path = path
        self._compiled = compiled
        self._budget = budget
        self._served: OrderedDict[str, Served] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._served

    @property
    def is_full(self) -> bool:
        """Whether the loaded models use up the budget."""
        with self._lock:
            return self._bytes() >= self._budget

    def get(self, model_id: str) -> Served:
        """The loaded model; loaded now if it is not yet.

        Raises ModelFileRejected or BundleRejected if the bundle cannot be loaded.
        """
        with self._lock:
            served = self._served.get(model_id)
            if served is not None:
                self._served.move_to_end(model_id)
                return served
            loading = self._loading.setdefault(model_id, threading.Lock())
        # Requests for one model wait for one load; other models go on meanwhile.
        with loading:
            with self._lock:
                served = self._served.get(model_id)
            if served is None:
                served = load(self._path(model_id), self._compiled(model_id))
                self._keep(model_id, served)
        return served

    def engine(self, model_id: str) -> str | None:
        """What serves a model in this process; None if it is not loaded."""
        served = self._served.get(model_id)
        return None if served is None else served.backend.engine

    def _keep(self, model_id: str, served: Served) -> None:
        with self._lock:
            self._loading.pop(model_id, None)
            self._served[model_id] = served
            # A model that went out still answers the requests that hold it.
            while len(self._served) > 1 and self._bytes() > self._budget:
                self._served.popitem(last=False)

    def _bytes(self) -> int:
        return sum(served.nbytes for served in self._served.values())

    def drop_all_but(self, model_ids: set[str]) -> None:
        """Let go of models that no deployment has any more."""
        with self._lock:
            for model_id in set(self._served) - model_ids:
                del self._served[model_id]


def load(folder: Path, compiled: Path | None) -> Served:
    """Load a bundle's model.

    compiled: what its deployment made of it; None if it is not deployed.
    Raises ModelFileRejected and BundleRejected.
    """
    model = read_bundle(folder)
    if model.task == "unstructured":
        return _load_unstructured(folder, model)
    if model.task != "tensors":
        return _load(folder, model, compiled)
    # What it brings is imported where there are such models.
    from backends.tensors.backend import TensorBackend

    return ServedTensors(model, TensorBackend(folder, model))


def _load_unstructured(folder: Path, model: Model) -> ServedUnstructured:
    if model.format == PYTHON:
        return ServedUnstructured(model, HookCode(folder, model))
    # What it brings is imported where there are such models.
    from backends.unstructured.graph import GraphBackend

    return ServedUnstructured(model, GraphBackend(folder, model))


def load_served(folder: Path, compiled: Path | None) -> ServedModel:
    """Load the model of a bundle, one that takes columns; see `load`.

    Raises TakesTensors and IsUnstructured for another.
    """
    model = read_bundle(folder)
    if model.task == "unstructured":
        raise IsUnstructured
    if model.task == "tensors":
        raise TakesTensors
    return _load(folder, model, compiled)


def _load(folder: Path, model: Model, compiled: Path | None) -> ServedModel:
    backend = backends.load(folder, model, compiled)
    series = None
    if model.time_series is not None:
        # What it brings is imported where there are time series.
        from backends.timeseries import known_series
        from backends.timeseries.backend import TargetBackend
        from backends.timeseries.spec import SpecError
        from backends.timeseries.spec_json import load_spec

        try:
            spec = load_spec(model.time_series)
        except SpecError as error:
            raise BundleRejected(f"the time series spec: {error}") from error
        backend = TargetBackend(backend, spec)
        series = known_series.read(folder)
    materials = Materials(folder, model)
    return ServedModel(model, backend, Decoder.of(model), materials, series)
