"""Small time series models in bundles."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.store.compiled import CompiledModels
from backends import bundle, compiled
from backends.by_distance import member
from backends.explanations import choosing
from backends.features import Columns
from backends.model import Feature, Model
from backends.onnx_graph import inspect
from backends.timeseries import known_series
from backends.timeseries.spec import Known, Lag, SeriesCode, Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import (
    TrainingRows,
    panel_of_table,
    training_rows,
)
from tests import time_series
from tests.boosters import save_booster
from tests.specimens import build
from tests.time_series import SEED, Row

DISTANCE = Feature("Forecast Distance", "numeric", dtype="int64", missing="error")


@dataclass(frozen=True)
class Forecaster:
    """A bundle, the data it was trained on, and what it was trained with.

    rows: of the data, by series, then by time; no target is missing.
    training: derived from them.
    boosters: by forecast distance; 0: of all.
    """

    folder: Path
    model: Model
    spec: Spec
    rows: Sequence[Row] = field(repr=False)
    training: TrainingRows = field(repr=False)
    boosters: Mapping[int, lightgbm.Booster] = field(repr=False)

    def request(
        self,
        ahead: int | None = None,
        history: int | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> list[Row]:
        """The end of the data, as if no more had been known at a forecast point.

        ahead: rows of each series after the point; as many as the forecast window
            reaches.
        history: rows up to the point; as many as have to be there.
        """
        spec = self.spec
        ahead = spec.forecast_window.end if ahead is None else ahead
        history = spec.history if history is None else history
        known = history + spec.feature_derivation_window.end
        wanted = []
        for label, rows in self.series().items():
            if series is None or label in series:
                chosen = rows[len(rows) - ahead - history :]
                wanted += map(dict, chosen[:known])
                wanted += [{**row, spec.target: ""} for row in chosen[known:]]
        return wanted

    def series(self) -> dict[str | None, list[Row]]:
        """The rows of each series."""
        found: dict[str | None, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.get(self.spec.series_id_column or ""), []).append(row)
        return found

    def time(self, row: Row) -> datetime:
        """When a row is."""
        text = row[self.spec.datetime_column]
        return datetime.strptime(text, self.spec.datetime_format)

    def answers(self) -> dict[tuple[str | None, datetime, int], np.ndarray]:
        """What the boosters say of the training data, float64 (k,), transforms and all.

        By series, timestamp and forecast distance.
        """
        pairs, matrix = self.training.pairs, self.training.matrix
        matrix = matrix[:, : len(self.spec.features)]
        found = {}
        for distance in np.unique(pairs.distances).tolist():
            here = np.flatnonzero(pairs.distances == distance)
            booster = self.boosters.get(distance) or self.boosters[0]
            said = np.asarray(booster.predict(matrix[here], num_threads=1))
            said = said.reshape(len(here), -1)
            for position, values in zip(pairs.rows[here].tolist(), said, strict=True):
                row = self.rows[position]
                label = row.get(self.spec.series_id_column or "")
                found[label, self.time(row), distance] = values
        return found


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as the body of a request."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # Half of a character is no UTF-8, and may be sent all the same.
    return text.getvalue().encode("utf-8", "surrogatepass")


def as_json(rows: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> bytes:
    """The same, with some columns as numbers; the empty ones of them as null."""
    cells = [
        {
            name: (json.loads(text) if text else None) if name in numbers else text
            for name, text in row.items()
        }
        for row in rows
    ]
    return json.dumps(cells).encode()


# ---- Bundles


def make_forecasters(base: Path) -> dict[str, Forecaster]:
    """Bundles by name: tasks, strategies, formats and clocks."""
    return {
        "sales": make(
            base / "sales",
            time_series.SALES,
            time_series.sales(),
            prediction_bounds=(60.0, 150.0),
        ),
        "stores": make(base / "stores", time_series.STORES, time_series.stores()),
        "passengers": make(
            base / "passengers",
            time_series.PASSENGERS,
            time_series.passengers(),
            threshold=0.5,
        ),
        "weather": make(base / "weather", time_series.WEATHER, time_series.weather()),
        "jobs": make(base / "jobs", time_series.JOBS, time_series.jobs()),
        "visits": make(base / "visits", time_series.VISITS, time_series.visits()),
        "by-distance": make(
            base / "by-distance", time_series.BY_DISTANCE, time_series.stores()
        ),
        "onnx-power": make(
            base / "onnx-power", time_series.POWER, time_series.power(), "onnx"
        ),
    }


def make(
    folder: Path,
    raw: Mapping[str, Any],
    rows: Sequence[Row],
    format: str = "lightgbm",
    **card: Any,
) -> Forecaster:
    """Train what a spec asks for on rows, and write the bundle."""
    spec = load_spec(raw)
    names = list(rows[0])
    table = pa.table({name: [row[name] for row in rows] for name in names})
    training = training_rows(panel_of_table(table, spec))
    folder.mkdir()
    boosters = {
        distance: _trained(spec, training, distance) for distance in spec.models or [0]
    }
    files = dict(spec.models)
    file = files[min(files)] if files else f"model.{_SUFFIXES[format]}"
    for distance, booster in boosters.items():
        save_booster(booster, folder / files.get(distance, file), format)
    graph = inspect(folder / file) if format == "onnx" else None
    features = tuple(_features(spec))
    _write_materials(folder, features, training.matrix)
    if spec.series_id_column is not None:
        known_series.write(folder, [row[spec.series_id_column] for row in rows])
    model = bundle.write(
        folder,
        Model(
            id="",
            name=folder.name,
            format=format,
            file=file,
            task=spec.task,
            target=spec.target,
            features=features,
            labels=spec.classes,
            positive_label=spec.classes[1] if spec.task == "binary" else None,
            output=graph.output if graph else None,
            input_names=graph.input_names if graph else (),
            time_series=dict(spec.raw),
            files=files,
            **card,
        ),
    )
    return Forecaster(folder, model, spec, rows, training, boosters)


_SUFFIXES = {"lightgbm": "txt", "onnx": "onnx"}


def _trained(spec: Spec, training: TrainingRows, distance: int) -> lightgbm.Booster:
    if distance:
        training = training.take(training.pairs.distances == distance)
    matrix = training.matrix[:, : len(spec.features)]
    parameters: dict[str, Any] = {
        "objective": spec.task,
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "min_data_per_group": 5,
        "cat_smooth": 1,
        "learning_rate": 0.2,
        "seed": SEED,
        "deterministic": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    if spec.task == "multiclass":
        parameters["num_class"] = len(spec.classes)
    categorical = [
        position
        for position, feature in enumerate(_features(spec)[: len(spec.features)])
        if feature.kind == "categorical"
    ]
    data = lightgbm.Dataset(
        matrix,
        training.y,
        feature_name=[name.replace(" ", "_") for name in spec.names],
        categorical_feature=categorical,
        params=parameters,
    )
    return lightgbm.train(parameters, data, num_boost_round=12)


def _features(spec: Spec) -> list[Feature]:
    """The features of a model's card."""
    found = []
    for each in spec.features:
        levels = None
        if isinstance(each, SeriesCode):
            levels = each.categories
        elif isinstance(each, Known | Lag):
            levels = spec.columns[each.column].categories
        elif getattr(each, "stat", "") == "most_frequent":
            levels = spec.columns[each.column].categories
        kind = "numeric" if levels is None else "categorical"
        found.append(Feature(each.name, kind, categories=levels))
    return [*found, DISTANCE] if spec.models else found


def _write_materials(
    folder: Path, features: Sequence[Feature], matrix: np.ndarray
) -> None:
    """Exemplars and reference rows; of two features the first counts for more."""
    columns = {}
    for feature, values in zip(features, matrix.T, strict=True):
        cells: list[Any] = [None if np.isnan(each) else each for each in values]
        if feature.categories is not None:
            levels = feature.categories
            cells = [None if each is None else str(levels[int(each)]) for each in cells]
        columns[feature.name] = cells
    pq.write_table(pa.table(columns), folder / bundle.REFERENCE)
    impact = [float(each) for each in range(len(features), 0, -1)]
    if features[-1] is DISTANCE:
        # The distance is no feature of the models, and so has no exemplars.
        impact[-1] = 0.0
    choosing.write(folder, features, Columns(matrix), impact)


def compile_forecaster(each: Forecaster, kept: CompiledModels) -> None:
    """Make the compiled folder of a deployed bundle, without its proof."""
    model = each.model

    def fill(folder: Path) -> None:
        if not model.files:
            compiled.write(folder, model.id, build(each.folder, model, folder))
            return
        verdicts = {}
        for distance in model.files:
            own, place = member(model, distance), folder / str(distance)
            place.mkdir()
            verdicts[distance] = build(each.folder, own, place)
            compiled.write(place, own.id, verdicts[distance])
        compiled.write(folder, model.id, compiled.of_all(verdicts))

    kept.put(model.id, fill, unless=Path.exists)
