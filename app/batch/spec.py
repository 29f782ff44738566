"""What a batch job is to do: as a client asked, with every default spelled out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

# What clients send where a range has no bound: the whole of it.
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CsvSettings:
    """How the input is written; delimiter: one character, or `tab`."""

    delimiter: str = ","
    quotechar: str = '"'
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class TimeseriesSettings:
    """Which forecasts are made; every moment has a time zone."""

    type: Literal["forecast", "historical"] = "forecast"
    forecast_point: datetime | None = None
    predictions_start_date: datetime | None = None
    predictions_end_date: datetime | None = None
    relax_known_in_advance_features_check: bool = False

    @property
    def range(self) -> tuple[datetime, datetime] | None:
        """Rows from the first moment to before the second; None: from one point."""
        if self.type == "forecast":
            return None
        start = self.predictions_start_date or _EARLIEST
        return start, self.predictions_end_date or _LATEST


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch job, as `jobSpec` tells it.

    intake_settings, output_settings: where the input comes from and the output goes,
        each with a `type`; what else they hold is its own.
    column_names_remapping: names of output columns to what they are to be called; None
        drops the column.
    prediction_threshold: instead of the deployment's; None: that one.
    redacted_fields: paths of what the spec does not tell.
    decimals_number: most digits after the point.

    Source: "Batch Prediction API".
    """

    deployment_id: str
    intake_settings: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "localFile"}
    )
    output_settings: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "localFile"}
    )
    csv_settings: CsvSettings = CsvSettings()
    passthrough_columns: tuple[str, ...] | None = None
    passthrough_columns_set: Literal["all"] | None = None
    max_explanations: int | Literal["all"] = 0
    explanation_algorithm: Literal["shap", "xemp"] | None = None
    explanation_num_top_classes: int | None = None
    explanation_class_names: tuple[str, ...] | None = None
    max_ngram_explanations: int | Literal["all"] | None = None
    threshold_high: float | None = None
    threshold_low: float | None = None
    prediction_threshold: float | None = None
    prediction_warning_enabled: bool = False
    include_probabilities: bool = True
    include_probabilities_classes: tuple[str, ...] = ()
    include_prediction_status: bool = False
    column_names_remapping: Mapping[str, str | None] | None = None
    chunk_size: int | Literal["auto", "fixed", "dynamic"] = "auto"
    num_concurrent: int = 1
    abort_on_error: bool = True
    skip_drift_tracking: bool = False
    disable_row_level_error_handling: bool = False
    timeseries_settings: TimeseriesSettings | None = None
    redacted_fields: tuple[str, ...] = ()
    decimals_number: int = 10

    @property
    def passthrough(self) -> tuple[str, ...] | Literal["all"]:
        """Names of columns to copy into the output."""
        return self.passthrough_columns_set or self.passthrough_columns or ()

    def to_json(self) -> dict[str, Any]:
        """The spec in camel case; what was not said and has no default is left out.

        The remapping is a list of `{"inputName", "outputName"}`; moments are texts.
        """
        found = _to_json(self)
        if self.column_names_remapping is not None:
            found["columnNamesRemapping"] = [
                {"inputName": name, "outputName": new}
                for name, new in self.column_names_remapping.items()
            ]
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchSpec:
        """What `to_json` made of a spec."""
        given = dict(data)
        if (remapping := given.get("columnNamesRemapping")) is not None:
            given["columnNamesRemapping"] = {
                each["inputName"]: each["outputName"] for each in remapping
            }
        values = _from_json(cls, given)
        values["csv_settings"] = CsvSettings(
            **_from_json(CsvSettings, values.get("csv_settings", {}))
        )
        if (asked := values.get("timeseries_settings")) is not None:
            values["timeseries_settings"] = _timeseries(asked)
        return cls(**values)


def camel_case(name: str) -> str:
    """`max_explanations` → `maxExplanations`."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _timeseries(data: Mapping[str, Any]) -> TimeseriesSettings:
    values = _from_json(TimeseriesSettings, data)
    for name in ("forecast_point", "predictions_start_date", "predictions_end_date"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    return TimeseriesSettings(**values)


def _to_json(values: Any) -> dict[str, Any]:
    told = {each.name: getattr(values, each.name) for each in fields(values)}
    return {
        camel_case(name): _value(each)
        for name, each in told.items()
        if each is not None
    }


def _value(value: Any) -> Any:
    if isinstance(value, CsvSettings | TimeseriesSettings):
        return _to_json(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _from_json(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    values = {each.name: data.get(camel_case(each.name)) for each in fields(kind)}
    return {
        name: tuple(each) if isinstance(each, list) else each
        for name, each in values.items()
        if each is not None
    }
