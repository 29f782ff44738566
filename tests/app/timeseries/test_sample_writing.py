"""Whatever a spec says: what was found the other way is what serving answers."""

import tempfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, event, given, settings

from app.model_cache import load_served
from app.timeseries.card import derived_features
from app.timeseries.sample_replay import replay
from app.timeseries.sample_request import choices
from app.timeseries.sample_writing import write_sample
from backends import bundle
from backends.features import read_text
from backends.model import Feature, Model
from backends.timeseries.refusals import ForecastRefused
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import TrainingRows, panel_of_table, training_rows
from tests.backends.timeseries.random_specs import Case, cases

DISTANCE = Feature("Forecast Distance", "numeric", dtype="int64", missing="error")


def trained(spec: Spec, training: TrainingRows, distance: int) -> lightgbm.Booster:
    rows = (
        training.pairs.distances == distance
        if distance
        else np.full(len(training.y), True)
    )
    assume(rows.sum() > 1)
    parameters: dict[str, Any] = {
        "objective": spec.task,
        "num_class": len(spec.classes) if spec.task == "multiclass" else 1,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "num_leaves": 12,
        "num_threads": 1,
        "verbosity": -1,
    }
    matrix = training.matrix[rows, : len(spec.features)]
    data = lightgbm.Dataset(matrix, training.y[rows], params=parameters)
    return lightgbm.train(parameters, data, num_boost_round=4)


def packaged(folder: Path, spec: Spec, training: TrainingRows) -> Model:
    """The card of a model that is trained and saved in a folder."""
    files = {each: f"model-{each}.txt" for each in sorted(spec.models)}
    for distance, name in (files or {0: "model.txt"}).items():
        trained(spec, training, distance).save_model(folder / name)
    return Model(
        id="",
        name="any",
        format="lightgbm",
        file=next(iter(files.values()), "model.txt"),
        task=spec.task,
        target=spec.target,
        features=(*derived_features(spec), *([DISTANCE] if files else [])),
        labels=spec.classes,
        positive_label=spec.classes[1] if spec.task == "binary" else None,
        time_series=dict(spec.raw)
        | ({"models": {str(k): v for k, v in files.items()}} if files else {}),
        files=files,
    )


@settings(max_examples=60)
@given(case=cases())
def test_sample_of_any_spec_is_answered_alike(case: Case) -> None:
    numbers = {name for name, each in case.spec.columns.items() if not each.categories}
    cells = {
        # What is known in advance is a number, unless a feature has its categories.
        name: [None] * len(case.records)
        if name in numbers & {"weather", "colour"}
        else [read_text(record.get(name)) or None for record in case.records]
        for name in case.records[0]
    }
    table = pa.table(
        {name: pa.array(each, pa.string()) for name, each in cells.items()}
    )
    try:
        panel = panel_of_table(table, case.spec)
        training = training_rows(panel)
    except ForecastRefused:
        assume(False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = packaged(folder, case.spec, training)
        model = bundle.write(folder, model)
        served = load_served(folder, None)
        doubt = write_sample(folder, served, table, panel, training)
        event(f"{case.spec.strategy}: {(doubt or 'a sample')[:8]}")
        assume(doubt is None or "no forecast point" not in doubt)
        forecasts, _ = replay(folder, served)
        assert forecasts > 0


@pytest.mark.parametrize(
    ("start", "window", "history", "steps"),
    [(1, 30, 7, 30), (1, 1000, 7, 200), (250, 300, 7, 250), (1, 200, 20_000, 52)],
)
def test_recursion_is_followed_for_so_many_steps(
    start: int, window: int, history: int, steps: int
) -> None:
    spec = load_spec(
        {
            **{"version": 1, "target": "y", "strategy": "recursive"},
            **{"datetimeColumn": "t", "datetimeFormat": "%Y-%m-%d"},
            "featureDerivationWindow": {"start": -history, "end": 0},
            "forecastWindow": {"start": start, "end": window},
            "features": [{"name": "last", "op": "lag"}],
        }
    )
    days = np.datetime64("1950-01-01") + np.arange(history + window + 9)
    table = pa.table({"t": days.astype(str), "y": np.arange(float(len(days)))})
    panel = panel_of_table(table, spec)
    origin, (ahead,) = next(choices(panel, training_rows(panel)))
    assert ahead.distances.tolist() == list(range(1, steps + 1))
    assert panel.steps[ahead.rows].tolist() == [origin + d for d in ahead.distances]
