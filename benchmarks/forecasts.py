"""A deployed time series model in this process, and a request for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.answering import Writer
from app.config import Config
from app.decode import read_csv
from app.model_cache import ServedModel
from app.store.settings import DeploymentSettings
from app.timeseries.answering import Forecasting, Part
from app.timeseries.rows import RowsWanted
from backends.bundle import read as read_bundle
from backends.features import Columns
from backends.timeseries import load_spec, training_frame
from backends.timeseries.forecasting import Derivation, derive_direct
from benchmarks import in_process
from benchmarks.commands import foretell
from benchmarks.workspace import Workspace, WrongAnswer, check_engine

SERIES = 1000
HISTORY = 100
DISTANCES = 7
# Enough for derivation windows, and for what is predicted from them.
_TRAINING_STEPS = 60
_TREES = 200
_SEED = 7
_TOLERANCE = 1e-9

Floats = NDArray[np.float64]


def _features() -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = [
        {"name": "Forecast Distance", "op": "forecast_distance"}
    ]
    features += [
        {"name": f"sales (lag {lag})", "op": "lag", "offset": -lag}
        for lag in (0, 1, 6, 7, 13, 27)
    ]
    features += [
        {
            "name": f"sales ({window} day {stat})",
            "op": "rolling",
            "stat": stat,
            "window": window,
        }
        for window in (7, 28)
        for stat in ("mean", "std", "min", "max", "median")
    ]
    features += [
        {"name": "sales (7 day diff)", "op": "diff", "period": 7},
        {"name": "sales (naive 7 day)", "op": "seasonal_lag", "period": 7},
        {
            "name": "price (7 day mean)",
            "op": "rolling",
            "stat": "mean",
            "window": 7,
            "column": "price",
        },
        {"name": "promo (actual)", "op": "known", "column": "promo"},
        {"name": "holiday (actual)", "op": "known", "column": "holiday"},
        {
            "name": "weather (actual)",
            "op": "known",
            "column": "weather",
            "categories": ["clear", "mist", "rain"],
        },
        {"name": "shop (actual)", "op": "series_code", "categories": _shops()},
    ]
    return features + [
        {"name": f"date ({part})", "op": "date", "part": part}
        for part in ("dayofweek", "month", "dayofyear")
    ]


def _shops() -> list[str]:
    return [f"shop {number}" for number in range(SERIES)]


def _spec() -> dict[str, Any]:
    """27 features of a daily target, ten of them statistics of windows."""
    return {
        "version": 1,
        "target": "sales",
        "datetimeColumn": "date",
        "datetimeFormat": "%m/%d/%y",
        "seriesIdColumn": "shop",
        "featureDerivationWindow": {"start": -35, "end": 0},
        "forecastWindow": {"start": 1, "end": DISTANCES},
        "knownInAdvance": ["promo", "holiday", "weather"],
        "targetTransform": [{"op": "log1p"}, {"op": "baseline", "period": 7}],
        "features": _features(),
    }


def _rows(steps: int, future: int, seed: int) -> pd.DataFrame:
    """Daily rows of every series; the last ones without what is not known yet."""
    random = np.random.default_rng(seed)
    days = pd.date_range("2012-01-01", periods=steps + future)
    count = SERIES * len(days)
    sales = random.gamma(2.0, 50.0, count).round(1)
    sales *= np.tile(1 + 0.5 * (days.day_of_week >= 5), SERIES)
    frame = pd.DataFrame(
        {
            "shop": np.repeat(_shops(), len(days)),
            "date": np.tile(days.strftime("%m/%d/%y"), SERIES),
            "sales": sales,
            "promo": random.integers(0, 2, count),
            "holiday": random.integers(0, 2, count),
            "weather": random.choice(["clear", "mist", "rain"], count),
            "price": random.normal(10.0, 1.0, count).round(2),
        }
    )
    unknown = np.tile(np.arange(len(days)) >= steps, SERIES)
    frame.loc[unknown, ["sales", "price"]] = np.nan
    return frame


def make(folder: Path) -> None:
    """Write spec, training data and model to an empty folder."""
    spec_file, model_file = folder / "spec.json", folder / "model.txt"
    spec_file.write_text(json.dumps(_spec()))
    data = _rows(_TRAINING_STEPS, 0, _SEED)
    data.to_csv(folder / "data.csv", index=False)
    features, target, _ = training_frame(data, load_spec(spec_file))
    parameters = {
        "objective": "regression",
        "num_leaves": 31,
        "learning_rate": 0.05,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": 3,
        "verbosity": -1,
    }
    categorical = ["weather (actual)", "shop (actual)"]
    dataset = lgb.Dataset(features, target, categorical_feature=categorical)
    lgb.train(parameters, dataset, _TREES).save_model(model_file)
    foretell(
        ["package", str(model_file), "--data", str(folder / "data.csv")]
        + ["--time-series", str(spec_file), "--out", str(folder / "bundle")]
    )


@dataclass(frozen=True)
class Forecasts:
    """A time series model on both sides, and a request of SERIES × HISTORY rows."""

    served: ServedModel
    booster: lgb.Booster
    body: bytes

    @classmethod
    def load(cls, workspace: Workspace, folder: Path) -> Forecasts:
        """Deploy what `make` made, and load it as a worker does.

        Raises WrongEngine if anything but the tree engine serves the model.
        """
        bundle = folder / "bundle"
        foretell(["deploy", str(bundle), "--label", "forecasts"], workspace.state)
        model_id = read_bundle(bundle).id
        served = in_process.load(workspace.home, workspace.kernels, model_id)
        check_engine("the time series model in process", served.backend.engine)
        booster = lgb.Booster(model_file=folder / "model.txt")
        request = _rows(HISTORY, DISTANCES, _SEED + 1).to_csv(index=False)
        return cls(served, booster, request.encode())

    @cached_property
    def forecasting(self) -> Forecasting:
        """What a request is answered by."""
        return Forecasting(self.served, DeploymentSettings())

    @cached_property
    def derivation(self) -> Derivation:
        """The features of all forecasts, and what they are added to."""
        (part,) = self._read(self.body)
        return derive_direct(part.plan.panel, part.plan.grid, part.plan.pairs)

    def _read(self, body: bytes) -> Sequence[Part]:
        return list(self.forecasting.read(body, "text/csv", Config()))

    def answer(self) -> bytes:
        """What a request takes: CSV in, JSON out."""
        return self.answer_to(self.body)

    def answer_to(self, body: bytes) -> bytes:
        """The same of any body."""
        parts = self._read(body)
        writer: Writer
        writer, rows_of = self.forecasting.begin("json", parts[0])
        rows = writer.separator.join([rows_of(part) for part in parts])
        return b"".join([writer.head, rows, writer.foot])

    def parse(self) -> object:
        """Read the body's columns: numbers, levels, timestamps and ids as texts."""
        return list(read_csv(self.body, self._rows.wanted()))

    def read(self) -> object:
        """The same, with timestamps as steps and ids as series."""
        return self._rows.read(self.body, "text/csv")

    @property
    def _rows(self) -> RowsWanted:
        decoder = self.forecasting.backend.decoder
        return RowsWanted(decoder, DeploymentSettings(), (), Config())

    def predict(self) -> object:
        """Score the derived rows."""
        columns = Columns(self.derivation.matrix)
        return self.forecasting.backend.inner.predict(columns)

    def check(self) -> float:
        """Hold the answer against LightGBM's predictions of the derived rows.

        Returns the largest difference as a share. Raises WrongAnswer.
        """
        derivation = self.derivation
        found = np.array(
            [row["prediction"] for row in json.loads(self.answer())["data"]]
        )
        predicted = np.asarray(self.booster.predict(derivation.matrix, num_threads=1))
        wanted = np.expm1(predicted + derivation.offset)
        if len(found) != SERIES * DISTANCES:
            raise WrongAnswer(f"{len(found)} forecasts")
        # Answers are rounded to ten digits.
        largest = float(np.abs(found / wanted - 1).max())
        if not largest <= _TOLERANCE:
            raise WrongAnswer(f"forecasts are {largest:.3g} off")
        return largest
