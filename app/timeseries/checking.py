"""Tries a spec and its model files on the rows of a request, without a bundle."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.config import Config
from app.scoring import refuse_not_finite
from app.store.settings import DeploymentSettings
from app.timeseries.card import TimeSeriesOptions, card_of, open_model_files
from app.timeseries.rows import RowsWanted
from app.timeseries.spec_models import model_paths
from app.timeseries.window import Asked, Limits, Plan, plan
from backends import load
from backends.model import Model
from backends.timeseries.backend import TargetBackend
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.spec_json import load_spec


@dataclass(frozen=True, slots=True)
class Check:
    """What a sample request is answered with.

    values: float64 (n, k), a row for each pair of the plan; see `Backend.predict`.
    """

    model: Model
    plan: Plan
    values: NDArray[np.float64]


def check(spec_file: Path, model: Path, sample: Path, config: Config) -> Check:
    """Load a spec and its models as a bundle would, and forecast from a CSV file.

    model: see `model_paths`.

    Raises SpecError, ModelFileRejected, PackagingRefused, OSError, and what the request
    would be refused with.
    """
    spec = load_spec(spec_file)
    models = tuple(model_paths(spec, model).values())
    options = TimeSeriesOptions(
        spec=spec_file, models=models, data=sample, out=Path(), name=model.stem
    )
    given = open_model_files(options, config)
    card = card_of(options, given)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file_name, file in given.files.items():
            file.write(folder, file_name)
        backend = TargetBackend(load(folder, card), given.spec)
        wanted = RowsWanted(PanelDecoder(given.spec), DeploymentSettings(), (), config)
        panel = wanted.read_file(sample.read_bytes()).panel
        limits = Limits(config.max_forecasts, config.max_steps)
        found = plan(panel, Asked(), limits, allow_partial=False)
        values = backend.forecast(panel, found.grid, found.pairs).values
    refuse_not_finite(values, found.pairs.rows)
    return Check(card, found, values)
