"""The spec of a time series model, read from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.strict_json import read
from backends.timeseries.answer_json import check_files, read_intervals, read_models
from backends.timeseries.columns_json import (
    read_columns,
    read_datetime_format,
    read_roles,
)
from backends.timeseries.feature_json import Setting, read_features
from backends.timeseries.spec import Spec
from backends.timeseries.steps_json import (
    check_history,
    default_source,
    read_basis,
    read_calendar,
    read_transforms,
    read_windows,
)

_VERSION = 1

_REQUIRED = (
    *("version", "target", "datetimeColumn", "datetimeFormat"),
    *("featureDerivationWindow", "forecastWindow", "features"),
)
_OPTIONAL = (
    *(
        "targetType",
        "seriesIdColumn",
        "timeUnit",
        "timeStep",
        "windowsBasisUnit",
        "classes",
    ),
    *("knownInAdvance", "strategy", "targetTransform", "calendar", "models"),
    *("predictionIntervals", "explanations", "model", "goldenSample"),
)


def load_spec(source: Path | str | Mapping[str, Any]) -> Spec:
    """Read a spec.

    source: path of a file of JSON, or the object itself.

    Raises SpecError, which begins with the path of what is wrong: `features[3].window`.
    """
    value = read(source)
    members = value.members(_REQUIRED, _OPTIONAL)
    version = members["version"]
    # True is 1 to Python, and a mistake here.
    if version.data is True or version.data != _VERSION:
        version.expect(str(_VERSION))
    roles = read_roles(members)
    basis = read_basis(members)
    derivation, forecast = read_windows(members, roles.strategy, basis)
    transforms = read_transforms(members, roles.target_type, roles.strategy, derivation)
    calendar = read_calendar(members)
    features = read_features(
        members["features"],
        Setting(
            roles,
            derivation,
            forecast.end - 1 if roles.strategy == "recursive" else 0,
            default_source(transforms, roles.strategy),
            has_calendar=bool(calendar),
        ),
    )
    columns = read_columns(members["features"], features, roles)
    check_files(members, len(features))
    spec = Spec(
        target=roles.target,
        target_type=roles.target_type,
        datetime_column=roles.datetime_column,
        datetime_format=read_datetime_format(members["datetimeFormat"]),
        feature_derivation_window=derivation,
        forecast_window=forecast,
        columns=columns,
        features=features,
        series_id_column=roles.series_id_column,
        time_unit=basis.unit,
        time_step=basis.step,
        is_row_based=basis.is_row_based,
        known_in_advance=roles.known_in_advance,
        strategy=roles.strategy,
        transforms=transforms,
        calendar=calendar,
        intervals=read_intervals(members, roles.target_type, forecast),
        models=read_models(members, roles.strategy, forecast),
        raw=value.data,
    )
    check_history(members, spec)
    return spec
