"""Trains with mlforecast as a data scientist would; run by mlforecast's own Python.

Usage: train.py FOLDER [CSV]. For each case a folder is written: spec.json, the models'
files, request.csv with the least history that the spec asks for, answers.csv with what
mlforecast predicts, and, where the target's history is all that is trained on,
history.csv with it and training.csv with the features that came of it. refusals.json
has the message that each object of `refused` was refused with.
CSV: data to train on, of columns unique_id, ds and y, instead of the made-up series.
"""

import json
import operator
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from mlforecast import MLForecast
from mlforecast.lag_transforms import (
    Combine,
    ExpandingMean,
    ExponentiallyWeightedMean,
    Offset,
    RollingMax,
    RollingMean,
    RollingMin,
    RollingQuantile,
    RollingStd,
    SeasonalRollingMean,
)
from mlforecast.target_transforms import (
    Differences,
    GlobalSklearnTransformer,
    LocalBoxCox,
    LocalStandardScaler,
)
from sklearn.preprocessing import FunctionTransformer

from backends.timeseries.from_mlforecast import NotConvertible, spec_from_mlforecast
from backends.timeseries.spec import SpecError

HORIZON = 12
STEPS = 120
KINDS = ["shop", "depot", "kiosk"]
WEATHER = ["dry", "wet"]


def made_up_series():
    """Three monthly series of ten years, with a static and two known columns."""
    rng = np.random.default_rng(5)
    parts = []
    for number, kind in enumerate(KINDS):
        months = pd.date_range("2010-01-01", periods=STEPS, freq="MS")
        season = 10 * np.sin(np.arange(STEPS) / 6 * np.pi + number)
        price = rng.normal(3, 1, STEPS)
        wet = rng.random(STEPS) < 0.3
        sold = 100 * (number + 1) + rng.normal(0.3, 1, STEPS).cumsum() + season
        part = {"unique_id": f"00{number}", "ds": months, "y": sold - 3 * price}
        part |= {"price": price, "weather": np.where(wet, "wet", "dry"), "kind": kind}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True).astype(
        {
            "unique_id": "category",
            "weather": pd.CategoricalDtype(WEATHER),
            "kind": pd.CategoricalDtype(KINDS),
        }
    )


def trees():
    return LGBMRegressor(
        n_estimators=60, min_child_samples=5, verbose=-1, n_jobs=1, random_state=1
    )


def mlforecast(**options):
    options = {"models": {"trees": trees()}, "freq": "MS", "lags": [1, 2, 12]} | options
    return MLForecast(**options, num_threads=1)


ROLLING = {
    1: [RollingMean(3), RollingStd(6), RollingMin(12), RollingMax(12)],
    12: [RollingMean(3)],
}
LOG1P = GlobalSklearnTransformer(FunctionTransformer(np.log1p, np.expm1))

# Name to what MLForecast is made with; these train on the target's history alone.
CASES = {
    "plain": dict(lag_transforms=ROLLING, date_features=["month", "quarter"]),
    "differences": dict(
        lag_transforms=ROLLING,
        date_features=["month", "quarter"],
        target_transforms=[Differences([1, 12])],
    ),
    "logarithm": dict(
        lag_transforms=ROLLING, target_transforms=[LOG1P, Differences([1])]
    ),
    "others": dict(
        lags=[1],
        lag_transforms={
            1: [RollingQuantile(0.3, 5), RollingStd(4, min_samples=2)],
            2: [Offset(RollingMean(3), n=2)],
        },
        date_features=["year", "dayofyear", "weekday", "is_month_start"],
    ),
}


def write(folder, forecast, frame, spec, known=()):
    """Write a case, predicted from the end of the frame less the horizon."""
    folder.mkdir()
    ends = frame["ds"].drop_duplicates().nlargest(HORIZON).min()
    future = frame[frame["ds"] >= ends]
    columns = ["unique_id", "ds", *known]
    answers = forecast.predict(
        HORIZON if spec["strategy"] == "recursive" else spec["forecastWindow"]["end"],
        X_df=future[columns] if known else None,
    )
    form = spec["datetimeFormat"]
    answers.to_csv(folder / "answers.csv", index=False, date_format=form)
    steps = -spec["featureDerivationWindow"]["start"]
    steps += sum(each.get("period", 0) for each in spec["targetTransform"])
    request = frame.groupby("unique_id", observed=True).tail(steps + HORIZON).copy()
    request.loc[request["ds"] >= ends, "y"] = np.nan
    request.to_csv(folder / "request.csv", index=False, date_format=form)
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    fitted = forecast.models_["trees"]
    names = spec.get("models") or {"1": "model.txt"}
    for distance, name in names.items():
        model = fitted[int(distance) - 1] if isinstance(fitted, dict) else fitted
        model.booster_.save_model(folder / name)


def known_part(frame):
    """What is known before the last year of the frame."""
    return frame[frame["ds"] < frame["ds"].drop_duplicates().nlargest(HORIZON).min()]


def write_cases(folder, frame):
    history = known_part(frame)[["unique_id", "ds", "y"]]
    for name, options in CASES.items():
        forecast = mlforecast(**options).fit(history, static_features=[])
        spec = spec_from_mlforecast(forecast, "%Y-%m-%d", HORIZON)
        case = folder / name
        write(case, forecast, frame, spec)
        history.to_csv(case / "history.csv", index=False)
        features = forecast.preprocess(history, static_features=[])
        features.to_csv(case / "training.csv", index=False)


def with_columns(frame, **options):
    """Fitted on the series' own code, a static column and two known ones."""
    forecast = mlforecast(lags=[1, 2], lag_transforms={1: [RollingMean(3)]})
    statics = ["unique_id", "kind"]
    return forecast.fit(known_part(frame), static_features=statics, **options)


COLUMNS = {"known_in_advance": ["price", "weather"], "categories": {"weather": WEATHER}}


def write_column_cases(folder, frame):
    for name, options in (
        ("columns", {}),
        ("distances", {"max_horizon": 6}),
        ("later_distances", {"horizons": [3, 4, 5]}),
    ):
        forecast = with_columns(frame, **options)
        horizon = {"columns": HORIZON, "distances": 6, "later_distances": 5}[name]
        spec = spec_from_mlforecast(forecast, "%Y-%m-%d", horizon, **COLUMNS)
        write(folder / name, forecast, frame, spec, COLUMNS["known_in_advance"])


FREQUENCIES = ("W-MON", "ME", "QE", "QS-FEB", "YS", "h", "2h", "15min")


def write_frequency_cases(folder, frequencies=FREQUENCIES):
    """Two series of each frequency, with what dates there tell."""
    rng = np.random.default_rng(6)
    for freq in frequencies:
        times = pd.date_range("1999-12-27", periods=STEPS, freq=freq)
        parts = [
            pd.DataFrame({"unique_id": name, "ds": times, "y": rng.random(STEPS)})
            for name in ("a", "b")
        ]
        frame = pd.concat(parts, ignore_index=True)
        forecast = mlforecast(
            freq=freq,
            lags=[1, 3],
            date_features=["year", "month", "week", "dayofweek", "hour", "minute"],
        )
        forecast.fit(known_part(frame), static_features=[])
        spec = spec_from_mlforecast(forecast, "%Y-%m-%d %H:%M:%S", HORIZON)
        write(folder / freq, forecast, frame, spec)


# ---- Refusals


def refused(frame):
    """Name to a fitted object, and arguments, that no spec can say."""
    plain = known_part(frame)[["unique_id", "ds", "y"]]

    def fitted(frame=plain, fit=None, **options):
        forecast = mlforecast(**options)
        return forecast.fit(frame, static_features=[], **(fit or {}))

    def lagged(transform):
        return fitted(lag_transforms={1: [transform]})

    def transformed(transform, **fit):
        return fitted(target_transforms=[transform], fit=fit)

    def half_year(dates):
        return dates.month > 6

    def last(values):
        return values

    two = {"a": trees(), "b": trees()}
    whole = plain.assign(y=plain["y"].round().astype(int))
    numbered = plain.assign(ds=plain.groupby("unique_id", observed=True).cumcount())
    columns = with_columns(frame)
    every = with_columns(frame, horizons=[1, 3])
    return {
        "not fitted": (mlforecast(), {}),
        "two models": (fitted(models=two), {}),
        "unknown model": (fitted(models=two), {"model": "c"}),
        "expanding": (lagged(ExpandingMean()), {}),
        "exponential": (lagged(ExponentiallyWeightedMean(0.5)), {}),
        "seasonal": (lagged(SeasonalRollingMean(12, 2)), {}),
        "combined": (
            lagged(Combine(RollingMean(3), RollingMean(12), operator.truediv)),
            {},
        ),
        "function": (lagged(last), {}),
        "pooled": (lagged(RollingMean(3, global_=True)), {}),
        "scaled": (transformed(LocalStandardScaler()), {}),
        "box cox": (transformed(LocalBoxCox()), {}),
        "root": (
            transformed(GlobalSklearnTransformer(FunctionTransformer(np.sqrt))),
            {},
        ),
        "log1p last": (fitted(target_transforms=[Differences([1]), LOG1P]), {}),
        "date function": (fitted(date_features=[half_year]), {}),
        "date part": (fitted(date_features=["daysinmonth"]), {}),
        "date dummies": (
            fitted(date_features=["month"], date_features_as_dummies=True),
            {},
        ),
        "dates of distances": (
            fitted(date_features=["month"], fit={"max_horizon": 3}),
            {"horizon": 3},
        ),
        "differenced distances": (
            transformed(Differences([1]), max_horizon=3),
            {"horizon": 3},
        ),
        "missing distance": (every, COLUMNS | {"horizon": 3}),
        "no horizon": (fitted(), {"horizon": 0}),
        "whole numbers": (fitted(frame=whole), {}),
        "numbered steps": (fitted(frame=numbered, freq=1), {}),
        "business days": (business_days(), {}),
        "unknown levels": (columns, COLUMNS | {"categories": {}}),
        "other levels": (columns, COLUMNS | {"categories": {"weather": ["wet"]}}),
        "not known": (columns, COLUMNS | {"known_in_advance": ["price"]}),
        "static and known": (
            columns,
            COLUMNS | {"known_in_advance": ["price", "weather", "kind"]},
        ),
        "unknown column": (fitted(), {"known_in_advance": ["price"]}),
        "unknown format": (fitted(), {"datetime_format": "%Q"}),
    }


def business_days():
    days = pd.date_range("2020-01-01", periods=60, freq="B")
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60.0)})
    return mlforecast(freq="B").fit(frame, static_features=[])


def write_refusals(folder, frame):
    messages = {}
    for name, (forecast, options) in refused(frame).items():
        try:
            spec_from_mlforecast(
                forecast,
                **({"datetime_format": "%Y-%m-%d", "horizon": HORIZON} | options),
            )
        except (NotConvertible, SpecError) as error:
            messages[name] = str(error)
        else:
            messages[name] = None
    (folder / "refusals.json").write_text(json.dumps(messages, indent=1))


def main(folder, data=None):
    folder.mkdir(exist_ok=True)
    if data is not None:
        write_cases(folder, pd.read_csv(data, parse_dates=["ds"]))
        return
    frame = made_up_series()
    write_cases(folder, frame)
    write_column_cases(folder, frame)
    write_frequency_cases(folder)
    write_refusals(folder, frame)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
