"""From a fitted mlforecast object to a spec, in the data scientist's own process.

mlforecast saves itself as a pickle, which runs whatever code it holds; a spec is data.
mlforecast itself is not imported: all is asked of the object.

Source: mlforecast 1.1.0, whose predictions are those of the spec to the last bit,
`tests/backends/timeseries/test_from_mlforecast.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from backends.timeseries.spec_json import load_spec

Json = dict[str, Any]

_STATISTICS = {
    "RollingMean": "mean",
    "RollingStd": "std",
    "RollingMin": "min",
    "RollingMax": "max",
    "RollingQuantile": "quantile",
}

_UNBOUNDED = "it takes in a series from its start, of which a request brings the end"
_SEASONAL = "a rolling statistic of the spec takes every step of its window"
_REASONS = {
    "ExpandingMean": _UNBOUNDED,
    "ExpandingStd": _UNBOUNDED,
    "ExpandingMin": _UNBOUNDED,
    "ExpandingMax": _UNBOUNDED,
    "ExpandingQuantile": _UNBOUNDED,
    "ExponentiallyWeightedMean": _UNBOUNDED,
    "SeasonalRollingMean": _SEASONAL,
    "SeasonalRollingStd": _SEASONAL,
    "SeasonalRollingMin": _SEASONAL,
    "SeasonalRollingMax": _SEASONAL,
    "SeasonalRollingQuantile": _SEASONAL,
    "Combine": "take both of what it combines as features of their own",
    "function": "a function is not data; take one of mlforecast's transforms",
}

_DATE_PARTS = {
    **{
        name: name
        for name in (
            *("year", "quarter", "month", "day", "dayofweek", "dayofyear", "week"),
            *("hour", "minute", "second", "is_month_start", "is_month_end"),
        )
    },
    "day_of_week": "dayofweek",
    "weekday": "dayofweek",
    "day_of_year": "dayofyear",
}

# Names of pandas, of which weeks, quarters and years may say where they start.
_UNITS = {
    **dict.fromkeys(("S", "s"), "SECOND"),
    **dict.fromkeys(("T", "min"), "MINUTE"),
    **dict.fromkeys(("H", "h"), "HOUR"),
    **dict.fromkeys(("D", "d"), "DAY"),
    "W": "WEEK",
    **dict.fromkeys(("M", "MS", "ME"), "MONTH"),
    **dict.fromkeys(("Q", "QS", "QE"), "QUARTER"),
    **dict.fromkeys(("A", "AS", "Y", "YS", "YE"), "YEAR"),
}
_FREQUENCY = re.compile(r"([0-9]*)([A-Za-z]+)(-[A-Z]{3})?")


class NotConvertible(ValueError):
    """mlforecast does something that no spec can say; the message names it."""


def spec_from_mlforecast(
    forecast: Any,
    datetime_format: str,
    horizon: int,
    known_in_advance: Iterable[str] = (),
    categories: Mapping[str, Sequence[Any]] | None = None,
    *,
    model: str | None = None,
) -> Json:
    """Say as a spec's JSON object what a fitted MLForecast derives.

    forecast: fitted on a pandas frame, with a target of float64.
    datetime_format: how requests write a timestamp, "%Y-%m-%d".
    horizon: how many steps ahead requests may ask for.
    known_in_advance: the columns that are neither static nor derived: `X_df` brings
        them to mlforecast's predict, the rows to be predicted bring them to a
        deployment.
    categories: the levels of columns of category dtype, in their order. Those of
        static columns are known unless they are given.
    model: which of several models; the name that mlforecast knows it by.

    A model that predicts step by step is `forecast.models_[name]`; save it as one
    file. With `max_horizon` or `horizons` there is one for each distance:
    `forecast.models_[name][distance - 1]` has to be saved under the name that the
    spec's `models` gives it.

    Raises NotConvertible naming the feature, or the setting, and the reason; SpecError
    for a format or columns that no spec can have.
    """
    series = forecast.ts
    fitted = _fitted(forecast, model)
    _check_data(series)
    unit, step = _frequency(series.freq)
    distances = _distances(fitted, horizon)
    transforms = _transforms(series, fitted)
    known = tuple(known_in_advance)
    features = _features(series, known, dict(categories or {}))
    _check_categories(features, fitted)
    if isinstance(fitted, dict):
        _check_dates(series, distances)
        if transforms:
            # Of a recursive model that goes without saying.
            for feature in features:
                if feature["op"] in ("lag", "rolling"):
                    feature["source"] = "transformed"
    spec = {
        "version": 1,
        "target": series.target_col,
        "targetType": "Regression",
        "datetimeColumn": series.time_col,
        "datetimeFormat": datetime_format,
        "seriesIdColumn": series.id_col,
        "timeUnit": unit,
        "timeStep": step,
        "featureDerivationWindow": {"start": min(map(_first, features)) - 1, "end": 0},
        "forecastWindow": {"start": distances[0], "end": distances[-1]},
        "knownInAdvance": list(known),
        "strategy": "direct" if isinstance(fitted, dict) else "recursive",
        "targetTransform": transforms,
        "features": features,
    }
    if isinstance(fitted, dict):
        spec["models"] = {str(each): f"model-{each}.txt" for each in distances}
    # What is said here has to be what a deployment can read.
    load_spec(spec)
    return spec


# ---- The model


def _fitted(forecast: Any, name: str | None) -> Any:
    """The fitted model; of one for each distance a dict from distance less one."""
    models = getattr(forecast, "models_", None)
    if not models:
        raise NotConvertible("The object is not fitted: call its fit first")
    if name is None and len(models) > 1:
        raise NotConvertible(
            f"The object holds {len(models)} models: say with model= which of"
            f" {', '.join(map(repr, models))} is to be deployed"
        )
    name = next(iter(models)) if name is None else name
    if name not in models:
        raise NotConvertible(
            f"model: there is no {name!r}, but {', '.join(map(repr, models))}"
        )
    return models[name]


def _distances(fitted: Any, horizon: int) -> range:
    if horizon < 1:
        raise NotConvertible(f"horizon: {horizon} is less than one step")
    if not isinstance(fitted, dict):
        return range(1, horizon + 1)
    found = [index + 1 for index in sorted(fitted) if index < horizon]
    distances = range(found[0] if found else 1, horizon + 1)
    missing = sorted(set(distances) - set(found))
    if missing:
        raise NotConvertible(
            f"horizon: there is no model for distance {missing[0]}; there are models"
            f" for {', '.join(str(index + 1) for index in sorted(fitted))}"
        )
    return distances


def _check_dates(series: Any, distances: range) -> None:
    """Refuse dates that are of another row in training than in prediction."""
    if distances[-1] > 1 and series.date_features:
        raise NotConvertible(
            f"{_name_of(series.date_features[0])}: with one model for each distance,"
            " mlforecast trains on the date of the first step and predicts with the"
            " date of the predicted one. Make a column of it that is known in advance,"
            " which mlforecast takes from the predicted row in both"
        )


# ---- The data


def _check_data(series: Any) -> None:
    if type(series.last_dates).__module__.startswith("polars"):
        raise NotConvertible(
            "The object was fitted on a polars frame, whose dates count differently:"
            " fit it on frame.to_pandas()"
        )
    if series.ga.data.dtype != "float64":
        raise NotConvertible(
            f"{series.target_col}: mlforecast computes with {series.ga.data.dtype},"
            " a deployment with float64: fit it on the target .astype('float64')"
        )
    if getattr(series, "horizon_features_", None):
        raise NotConvertible(
            "horizon_features: every model takes the same features, whichever distance"
            " it is for"
        )


def _frequency(freq: Any) -> tuple[str, int]:
    """Unit and length of a time step."""
    name = freq if isinstance(freq, str) else getattr(freq, "freqstr", None)
    found = _FREQUENCY.fullmatch(name or "")
    if found is None or found[2] not in _UNITS:
        raise NotConvertible(
            f"freq: {freq!r} has no unit in the spec: there are"
            f" {', '.join(dict.fromkeys(_UNITS.values()))}, and multiples of them"
        )
    return _UNITS[found[2]], int(found[1] or 1)


def _transforms(series: Any, fitted: Any) -> list[Json]:
    """What the target goes through, in its order."""
    found: list[Json] = []
    for transform in series.target_transforms or ():
        kind = _kind(transform)
        if kind == "Differences" and not isinstance(fitted, dict):
            found += [
                {"op": "difference", "period": int(period)}
                for period in transform.differences
            ]
        elif kind == "Differences":
            raise NotConvertible(
                "Differences: with one model for each distance, mlforecast adds up the"
                " predictions of the distances; the spec's models answer alone"
            )
        elif _is_log1p(transform) and not found:
            found.append({"op": "log1p"})
        else:
            raise NotConvertible(
                f"{kind}: the spec's target transforms are Differences, and before them"
                " GlobalSklearnTransformer of FunctionTransformer(numpy.log1p,"
                " numpy.expm1)"
            )
    return found


def _is_log1p(transform: Any) -> bool:
    """Whether it is scikit-learn's function transformer of those two functions."""
    inner = getattr(transform, "transformer", None)
    functions = (getattr(inner, "func", None), getattr(inner, "inverse_func", None))
    return functions == (np.log1p, np.expm1)


# ---- Features


def _features(
    series: Any, known: tuple[str, ...], categories: dict[str, Sequence[Any]]
) -> list[Json]:
    dates = {_name_of(each): each for each in series.date_features}
    if dates and getattr(series, "date_features_as_dummies", False):
        raise NotConvertible(
            "date_features_as_dummies: the spec takes a part of a date as one number,"
            " which trees split as well"
        )
    columns = []
    found = []
    for name in series.features_order_:
        if name in series.transforms:
            said = _of_transform(name, series.transforms[name])
        elif name in dates:
            said = _of_date(name, dates[name])
        else:
            columns.append(name)
            said = _of_column(name, series, known, categories)
        found.append({"name": str(name)} | said)
    for argument, names in (("known_in_advance", known), ("categories", categories)):
        for name in names:
            if name not in columns:
                raise NotConvertible(
                    f"{argument}: {name!r} is not a column that the model takes"
                )
    return found


def _of_transform(name: str, transform: Any) -> Json:
    if isinstance(transform, tuple):
        raise _no_word_for(name, "function")
    for scope in ("global_", "groupby", "partition_by"):
        if getattr(transform, scope, None):
            raise NotConvertible(
                f"{name}: {scope.strip('_')} pools rows that are not one series',"
                " and the spec derives from one series alone"
            )
    kind = _kind(transform)
    if kind == "Offset":
        return _of_transform(name, transform.tfm)
    if kind == "Lag":
        return {"op": "lag", "offset": 1 - int(transform.lag)}
    if kind not in _STATISTICS:
        raise _no_word_for(name, kind)
    # With its defaults filled in, and the lag that an offset came to.
    core = transform._core_tfm
    said: Json = {
        "op": "rolling",
        "stat": _STATISTICS[kind],
        "window": int(core.window_size),
        "end": 1 - int(core.lag),
        "minCount": max(int(core.min_samples), 1),
    }
    if kind == "RollingQuantile":
        said["quantile"] = float(core.p)
    return said


def _no_word_for(name: str, kind: str) -> NotConvertible:
    reason = _REASONS.get(kind, "the spec has lags, and rolling statistics of a series")
    return NotConvertible(f"{name}: {kind} has no counterpart in the spec: {reason}")


def _of_date(name: str, feature: str | Callable[..., Any]) -> Json:
    if callable(feature):
        raise _no_word_for(name, "function")
    if name not in _DATE_PARTS:
        raise NotConvertible(
            f"{name}: the spec has no such part of a date; it has"
            f" {', '.join(dict.fromkeys(_DATE_PARTS.values()))}"
        )
    return {"op": "date", "part": _DATE_PARTS[name]}


def _of_column(
    name: str,
    series: Any,
    known: tuple[str, ...],
    categories: Mapping[str, Sequence[Any]],
) -> Json:
    statics = series.static_features_
    levels = categories.get(name)
    is_static = name in statics.columns
    if is_static:
        dtype = statics[name].dtype
        if levels is None and hasattr(dtype, "categories"):
            levels = dtype.categories.tolist()
        # Truths and numbers.
        if levels is None and (dtype.kind not in "biuf" or name == series.id_col):
            raise NotConvertible(
                f"{name}: a model takes its levels as codes: make it a category, or"
                f" give them in the codes' order with categories={{{name!r}: [...]}}"
            )
    said = {} if levels is None else {"categories": list(levels)}
    if name == series.id_col:
        return {"op": "series_code"} | said
    if is_static:
        if name in known:
            raise NotConvertible(
                f"known_in_advance: {name!r} is static in the object; fit it with"
                " static_features that do not have it"
            )
        return {"op": "static", "column": name} | said
    if name not in known:
        raise NotConvertible(
            f"{name}: the column is not static, so that the rows to be predicted must"
            " bring it: name it in known_in_advance"
        )
    return {"op": "known", "column": name} | said


def _check_categories(features: Sequence[Json], fitted: Any) -> None:
    """Hold the levels against those that LightGBM has kept of its training frame."""
    ours = [each["categories"] for each in features if "categories" in each]
    for model in fitted.values() if isinstance(fitted, dict) else [fitted]:
        booster = getattr(model, "booster_", None)
        theirs = getattr(booster, "pandas_categorical", None)
        if theirs and [*map(list, theirs)] != [*map(list, ours)]:
            raise NotConvertible(
                f"categories: the model was trained on levels {theirs}, and those of"
                f" its columns are {ours}: give those of each column of category dtype"
            )


# ---- What mlforecast calls things


def _kind(thing: Any) -> str:
    """The name of a class of mlforecast's; of another with its module."""
    kind = type(thing)
    if kind.__module__.startswith("mlforecast."):
        return kind.__name__
    return f"{kind.__module__}.{kind.__name__}"


def _name_of(feature: str | Callable[..., Any]) -> str:
    return feature.__name__ if callable(feature) else feature


def _first(feature: Json) -> int:
    """The first offset that a feature looks at."""
    if feature["op"] == "rolling":
        return int(feature["end"]) - int(feature["window"]) + 1
    return int(feature.get("offset", 0))
