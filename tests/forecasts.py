"""Small time series models in bundles, with the data that they were trained on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from backends.onnx_graph import inspect, write_served
from backends.timeseries import known_series
from backends.timeseries.spec import Known, Lag, SeriesCode, Spec
from backends.timeseries.spec_json import load_spec
from backends.timeseries.training import (
    TrainingRows,
    panel_of_table,
    training_rows,
)
from tests.specimens import build

SEED = 5
# A row as CSV has it.
Row = dict[str, str]
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


# ---- Data


def sales() -> list[Row]:
    """A shop's days up to those of the documented messages."""
    random = np.random.default_rng(SEED)
    first, days = datetime(2008, 3, 1), 247
    rows = []
    for day in range(days):
        time = first + timedelta(days=day)
        promo = int(random.random() < 0.2)
        weather = str(random.choice(["clear", "rain", "snow"], p=[0.6, 0.3, 0.1]))
        temperature = round(15 - day / 20 + random.normal(0, 2), 1)
        value = 100 + 20 * (time.weekday() >= 5) + 30 * promo - 15 * (weather == "rain")
        value += temperature + random.normal(0, 4)
        rows.append(
            {
                "Time": time.strftime("%m/%d/%y"),
                "sales": f"{value:.2f}",
                "promo": str(promo),
                "weather": weather,
                "temperature": str(temperature),
            }
        )
    return rows


def stores() -> list[Row]:
    """Days of shops, which have ids of letters, of digits, and of marks."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, store in enumerate(("north", "007", '12, "b"')):
        for day in range(80 + number):
            time = datetime(2021, 1, 4) + timedelta(days=day - number)
            promo = int(random.random() < 0.3)
            value = 50 * (number + 1) + 10 * promo + 5 * time.weekday()
            rows.append(
                {
                    "store": store,
                    "day": time.strftime("%Y-%m-%d"),
                    "sold": f"{value + random.normal():.3f}",
                    "promo": str(promo),
                }
            )
    return rows


def months(count: int, first: int = 0) -> list[datetime]:
    """Firsts of months from January 1949 on."""
    return [datetime(1949 + at // 12, at % 12 + 1, 1) for at in range(first, count)]


def passengers() -> list[Row]:
    """Months in which few or many flew."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, time in enumerate(months(148)):
        value = np.sin(time.month / 12 * 2 * np.pi) + random.normal(0, 0.4)
        rows.append(
            {
                "Month": time.strftime("%Y-%m-%d"),
                "load": "high" if value > 0 else "low",
                "fuel": f"{np.cos(number / 9) + random.normal(0, 0.1):.3f}",
            }
        )
    return rows


def weather() -> list[Row]:
    """Days that were dry, wet or white."""
    random = np.random.default_rng(SEED)
    rows = []
    for day in range(120):
        time = datetime(2020, 1, 1) + timedelta(days=day)
        cold = np.cos(day / 58) + random.normal(0, 0.3)
        wet = np.sin(day / 3) + random.normal(0, 0.3) > 0
        kind = ("weiß" if cold > 0.5 else "wet") if wet else "dry"
        rows.append(
            {
                "Tag": time.strftime("%d.%m.%Y"),
                "sky": kind,
                "pressure": f"{1000 - 10 * wet + random.normal():.1f}",
            }
        )
    return rows


def jobs() -> list[Row]:
    """Months of sectors that grow, with a season."""
    random = np.random.default_rng(SEED)
    rows = []
    for number, sector in enumerate(("mines", "shops")):
        level = 100.0 * (number + 1)
        for time in months(90):
            level += random.normal(0.5, 1)
            season = 8 * np.sin(time.month / 6 * np.pi)
            rows.append(
                {
                    "sector": sector,
                    "month": time.strftime("%Y-%m-%d"),
                    "jobs": f"{level + season:.2f}",
                    "holidays": str(1 + time.month % 3),
                }
            )
    return rows


def power() -> list[Row]:
    """Every second hour of a grid."""
    random = np.random.default_rng(SEED)
    rows = []
    for step in range(200):
        time = datetime(2022, 3, 20, 1) + timedelta(hours=2 * step)
        value = 40 + 15 * np.sin(time.hour / 12 * np.pi) + random.normal()
        rows.append({"at": time.strftime("%Y-%m-%d %H:%M"), "power": f"{value:.4f}"})
    return rows


def visits() -> list[Row]:
    """A doctor's days, of which many have no hours."""
    random = np.random.default_rng(SEED)
    rows, time = [], datetime(2019, 5, 1)
    for number in range(90):
        time += timedelta(days=int(random.integers(1, 6)))
        value = 20 + number % 4 * 5 + random.normal()
        rows.append({"day": time.strftime("%y%m%d"), "visits": f"{value:.3f}"})
    return rows


# ---- Specs

SALES: dict[str, Any] = {
    "version": 1,
    "target": "sales",
    "targetType": "Regression",
    "datetimeColumn": "Time",
    "datetimeFormat": "%m/%d/%y",
    "featureDerivationWindow": {"start": -35, "end": 0},
    "forecastWindow": {"start": 1, "end": 7},
    "knownInAdvance": ["promo", "weather"],
    "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 7}],
    "calendar": ["2008-05-26", "2008-07-04", "2008-09-01", "2008-11-27"],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sales (lag 0)", "op": "lag", "offset": 0},
        {"name": "sales (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "sales (35 day std)", "op": "rolling", "stat": "std", "window": 35},
        {
            "name": "sales (naive 7 day seasonal value)",
            "op": "seasonal_lag",
            "period": 7,
        },
        {
            "name": "temperature (7 day mean)",
            "op": "rolling",
            "column": "temperature",
            "stat": "mean",
            "window": 7,
        },
        {"name": "promo (actual)", "op": "known", "column": "promo"},
        {
            "name": "weather (actual)",
            "op": "known",
            "column": "weather",
            "categories": ["clear", "rain", "snow"],
        },
        {"name": "Time (dayofweek)", "op": "date", "part": "dayofweek"},
        {"name": "days to holiday", "op": "days_to_event"},
    ],
    "predictionIntervals": {
        "space": "model",
        "80": {str(each): [-0.1 - each / 100, 0.12] for each in range(1, 8)},
        # Beyond all numbers from the distance 3 on.
        "95": {str(each): [-0.3, 0.3 if each < 3 else 800.0] for each in range(1, 8)},
    },
}

STORES: dict[str, Any] = {
    "version": 1,
    "target": "sold",
    "targetType": "Regression",
    "datetimeColumn": "day",
    "datetimeFormat": "%Y-%m-%d",
    "seriesIdColumn": "store",
    "featureDerivationWindow": {"start": -14, "end": 0},
    "forecastWindow": {"start": 1, "end": 3},
    "knownInAdvance": ["promo"],
    "targetTransform": [{"op": "baseline", "period": 7}],
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sold (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "sold (7 day diff)", "op": "diff", "period": 7},
        {"name": "promo (actual)", "op": "known", "column": "promo"},
        {
            "name": "store (actual)",
            "op": "series_code",
            "categories": ["north", "007", '12, "b"'],
        },
    ],
}

PASSENGERS: dict[str, Any] = {
    "version": 1,
    "target": "load",
    "targetType": "Binary",
    "classes": ["low", "high"],
    "datetimeColumn": "Month",
    "datetimeFormat": "%Y-%m-%d",
    "timeUnit": "MONTH",
    "featureDerivationWindow": {"start": -12, "end": 0},
    "forecastWindow": {"start": 1, "end": 3},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "load (lag 0)", "op": "lag"},
        {"name": "load (12 month mean)", "op": "rolling", "stat": "mean", "window": 12},
        {"name": "fuel (lag 0)", "op": "lag", "column": "fuel"},
        {"name": "Month (month)", "op": "date", "part": "month"},
    ],
}

WEATHER: dict[str, Any] = {
    "version": 1,
    "target": "sky",
    "targetType": "Multiclass",
    "classes": ["dry", "wet", "weiß"],
    "datetimeColumn": "Tag",
    "datetimeFormat": "%d.%m.%Y",
    # Of the last two days nothing is known yet.
    "featureDerivationWindow": {"start": -9, "end": -2},
    "forecastWindow": {"start": 2, "end": 4},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "sky (2nd lag)", "op": "lag", "offset": -2},
        {
            "name": "sky (7 day most frequent)",
            "op": "rolling",
            "stat": "most_frequent",
            "window": 7,
        },
        {
            "name": "pressure (3 day min)",
            "op": "rolling",
            "column": "pressure",
            "stat": "min",
            "window": 3,
        },
    ],
}

JOBS: dict[str, Any] = {
    "version": 1,
    "target": "jobs",
    "targetType": "Regression",
    "datetimeColumn": "month",
    "datetimeFormat": "%Y-%m-%d",
    "seriesIdColumn": "sector",
    "timeUnit": "MONTH",
    "strategy": "recursive",
    "featureDerivationWindow": {"start": -3, "end": 0},
    "forecastWindow": {"start": 1, "end": 6},
    "knownInAdvance": ["holidays"],
    "targetTransform": [
        {"op": "difference", "period": 1},
        {"op": "difference", "period": 12},
    ],
    "features": [
        {"name": "lag1", "op": "lag"},
        {"name": "lag3", "op": "lag", "offset": -2},
        {"name": "mean2", "op": "rolling", "stat": "mean", "window": 2},
        {"name": "holidays", "op": "known", "column": "holidays"},
        {"name": "month", "op": "date", "part": "month"},
    ],
}

POWER: dict[str, Any] = {
    "version": 1,
    "target": "power",
    "targetType": "Regression",
    "datetimeColumn": "at",
    "datetimeFormat": "%Y-%m-%d %H:%M",
    "timeUnit": "HOUR",
    "timeStep": 2,
    "featureDerivationWindow": {"start": -12, "end": 0},
    "forecastWindow": {"start": 1, "end": 4},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "power (lag 0)", "op": "lag"},
        {"name": "power (lag 11)", "op": "lag", "offset": -11},
        {"name": "at (hour)", "op": "date", "part": "hour"},
    ],
}

VISITS: dict[str, Any] = {
    "version": 1,
    "target": "visits",
    "targetType": "Regression",
    "datetimeColumn": "day",
    "datetimeFormat": "%y%m%d",
    "windowsBasisUnit": "ROW",
    "featureDerivationWindow": {"start": -5, "end": 0},
    "forecastWindow": {"start": 1, "end": 2},
    "features": [
        {"name": "Forecast Distance", "op": "forecast_distance"},
        {"name": "visits (4th lag)", "op": "lag", "offset": -3},
        {"name": "visits (5 row max)", "op": "rolling", "stat": "max", "window": 5},
    ],
}

# One model for each distance, which is no feature of theirs.
BY_DISTANCE: dict[str, Any] = {
    **STORES,
    "features": STORES["features"][1:],
    "models": {"1": "model-1.txt", "2": "model-2.txt", "3": "model-3.txt"},
}


# ---- Bundles


def make_forecasters(base: Path) -> dict[str, Forecaster]:
    """Bundles by name: tasks, strategies, formats and clocks."""
    return {
        "sales": make(base / "sales", SALES, sales(), prediction_bounds=(60.0, 150.0)),
        "stores": make(base / "stores", STORES, stores()),
        "passengers": make(
            base / "passengers", PASSENGERS, passengers(), threshold=0.5
        ),
        "weather": make(base / "weather", WEATHER, weather()),
        "jobs": make(base / "jobs", JOBS, jobs()),
        "visits": make(base / "visits", VISITS, visits()),
        "by-distance": make(base / "by-distance", BY_DISTANCE, stores()),
        "onnx-power": make(base / "onnx-power", POWER, power(), "onnx"),
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
        _save(booster, folder / files.get(distance, file), format)
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


def _save(booster: lightgbm.Booster, path: Path, format: str) -> None:
    if format == "lightgbm":
        booster.save_model(path)
        return
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    kinds = [("input", FloatTensorType([None, booster.num_feature()]))]
    made = convert_lightgbm(booster, initial_types=kinds, zipmap=False)
    source = path.with_suffix(".source")
    source.write_bytes(made.SerializeToString())
    write_served(source, path, inspect(source))
    source.unlink()


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
