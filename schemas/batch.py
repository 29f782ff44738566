"""What a client says of a batch job when it makes one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from marshmallow import ValidationError, post_load, pre_load, validates_schema

from schemas import errors, fields
from schemas.management import Fields
from schemas.management_fields import (
    Choice,
    Items,
    Mappings,
    Number,
    PageFields,
    Part,
    Switch,
    Text,
    Whole,
)

STATUSES: Final = ("INITIALIZING", "RUNNING", "COMPLETED", "ABORTED", "FAILED")
ORDERS: Final = ("created", "-created", "status", "-status")
# Places that the API knows and this server has no way to.
_OTHER_PLACES: Final = frozenset(
    {
        *("azure", "gcp", "jdbc", "bigquery", "snowflake", "synapse", "databricks"),
        *("datasphere", "dataset", "dss", "tableau", "trino"),
    }
)
# Keys that the API knows and this server cannot do.
_OTHER_KEYS: Final = (
    *("modelId", "modelPackageId", "secondaryDatasetsConfigId", "executorId"),
    *("pinnedModelId", "monitoringBatchPrefix", "monitoringColumns"),
)
_MOST_COLUMNS: Final = 10_000
_MOST_CELLS: Final = 41_943_040


class _OrWord(Whole):
    """A whole number, or one of some words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        return super()._deserialize(value, attr, data)


class _Moment(fields.Instant):
    """A date and time in ISO 8601; without a zone it is UTC."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> datetime:
        if not isinstance(value, str):
            raise ValidationError(errors.NOT_TEXT)
        return super()._deserialize(value[:100], attr, data)


class _Character(Text):
    """One character that can stand around or between cells."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        text = super()._deserialize(value, attr, data)
        if text in self.words:
            return text
        if len(text) != 1 or text in "\r\n\0":
            raise ValidationError("value is not one character")
        return text


class _Algorithm(Text):
    """How rows are explained, in any case of letters."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> str:
        word = super()._deserialize(value, attr, data).lower()
        if word not in ("xemp", "shap"):
            raise ValidationError(errors.NO_VARIANT)
        return word


class _Unsupported(Mappings):
    """A key that the API knows and this server has nothing for."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> dict[str, Any]:
        raise ValidationError("is not supported by this server")


class _Remapping(Mappings):
    """Columns and their new names: an object, or a list of objects with both names.

    Null and false instead of a name leave the column out.
    Source: "Batch Prediction API", output options.
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> dict[str, str | None]:
        if isinstance(value, list):
            value = _paired(value)
        if not isinstance(value, dict):
            raise ValidationError(self.wrong)
        if len(value) > _MOST_COLUMNS:
            raise ValidationError(errors.longer_list_than(_MOST_COLUMNS))
        return {name: _new_name(new) for name, new in value.items()}


def _paired(items: list[Any]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for name, new in map(_pair, items):
        if name in pairs:
            raise ValidationError(f"inputName {name[:100]!r} is given more than once")
        pairs[name] = new
    return pairs


def _pair(item: object) -> tuple[str, Any]:
    if not isinstance(item, dict) or set(item) != {"inputName", "outputName"}:
        raise ValidationError("value is not a dict of inputName and outputName")
    if not isinstance(item["inputName"], str):
        raise ValidationError(errors.NOT_TEXT)
    return item["inputName"], item["outputName"]


def _new_name(value: object) -> str | None:
    if value is None or value is False:
        return None
    if not isinstance(value, str):
        raise ValidationError(errors.NOT_TEXT)
    if not value:
        raise ValidationError(errors.BLANK)
    return value


class _Given(Fields):
    """An object whose nulls say nothing."""

    @pre_load
    def _leave_out_nulls(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None}


class CsvFields(_Given):
    """How the uploaded CSV is written."""

    delimiter = _Character("tab", load_default=",")
    quotechar = _Character(load_default='"')
    encoding = Text(most=64, load_default="utf-8")

    @validates_schema
    def _tell_apart(self, data: Mapping[str, Any], **_: Any) -> None:
        comma = "\t" if data["delimiter"] == "tab" else data["delimiter"]
        if comma == data["quotechar"]:
            raise ValidationError("value is that of delimiter", "quotechar")


class _Forecast(_Given):
    type = Text(required=True)
    forecast_point = _Moment(data_key="forecastPoint")
    relax_known_in_advance_features_check = Switch(
        data_key="relaxKnownInAdvanceFeaturesCheck"
    )


class _Historical(_Given):
    type = Text(required=True)
    predictions_start_date = _Moment(data_key="predictionsStartDate")
    predictions_end_date = _Moment(data_key="predictionsEndDate")
    relax_known_in_advance_features_check = Switch(
        data_key="relaxKnownInAdvanceFeaturesCheck"
    )

    @validates_schema
    def _check_order(self, data: Mapping[str, Any], **_: Any) -> None:
        start = data.get("predictions_start_date")
        end = data.get("predictions_end_date")
        if start is not None and end is not None and start >= end:
            raise ValidationError(
                "predictionsStartDate must be before predictionsEndDate",
                "predictionsStartDate",
            )


class _LocalIntake(_Given):
    type = Text(required=True)
    # How the client goes about its upload; the server takes all ways of all jobs.
    multipart = Switch()
    is_async = Switch(data_key="async")


class _LocalOutput(_Given):
    type = Text(required=True)


_FORMAT: Final = ("csv", "parquet")


class _Bucket(_Given):
    type = Text(required=True)
    url = Text(required=True, most=4096)
    format = Choice(*_FORMAT)
    endpoint_url = _Unsupported(data_key="endpointUrl")
    credential_id = _Unsupported(data_key="credentialId")
    partition_columns = _Unsupported(data_key="partitionColumns")


class _Address(_Given):
    type = Text(required=True)
    url = Text(required=True, most=4096)
    format = Choice(*_FORMAT)
    headers = _Unsupported()
    credential_id = _Unsupported(data_key="credentialId")


class _Folder(_Given):
    type = Text(required=True)
    path = Text(required=True, most=4096)
    format = Choice(*_FORMAT)


class _ByType(Mappings):
    """An object with the fields of its `type`.

    others: types that the API knows and this server does not do.
    """

    def __init__(
        self,
        kinds: Mapping[str, type[Fields]],
        others: frozenset[str] = frozenset(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kinds = kinds
        self.others = others

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> dict[str, Any]:
        given = dict(super()._deserialize(value, attr, data))
        kind = given.get("type")
        if kind is None:
            raise ValidationError({"type": [errors.REQUIRED]})
        if not isinstance(kind, str):
            raise ValidationError({"type": [errors.NOT_TEXT]})
        if kind in self.others:
            raise ValidationError({"type": [f"{kind} is not supported by this server"]})
        if kind not in self.kinds:
            raise ValidationError({"type": [errors.NO_VARIANT]})
        read: dict[str, Any] = self.kinds[kind]().load(given)
        return read


_INTAKES: Final = {
    "localFile": _LocalIntake,
    "s3": _Bucket,
    "http": _Address,
    "filesystem": _Folder,
}
_OUTPUTS: Final = {**_INTAKES, "localFile": _LocalOutput}
_RANGES: Final = {"forecast": _Forecast, "historical": _Historical}


class BatchFields(_Given):
    """The body of a new batch job.

    Source: "Batch Prediction API", the job's fields.
    """

    deployment_id = Text(data_key="deploymentId", required=True, most=64)
    intake_settings = _ByType(
        _INTAKES,
        _OTHER_PLACES,
        data_key="intakeSettings",
        load_default=lambda: {"type": "localFile"},
    )
    output_settings = _ByType(
        _OUTPUTS,
        _OTHER_PLACES,
        data_key="outputSettings",
        load_default=lambda: {"type": "localFile"},
    )
    csv_settings = Part(CsvFields, data_key="csvSettings")
    passthrough_columns = Items(
        Text(), most=_MOST_COLUMNS, data_key="passthroughColumns"
    )
    passthrough_columns_set = fields.Exactly("all", data_key="passthroughColumnsSet")
    max_explanations = _OrWord("all", low=0, data_key="maxExplanations")
    explanation_algorithm = _Algorithm(data_key="explanationAlgorithm")
    explanation_num_top_classes = Whole(
        low=1, high=10, data_key="explanationNumTopClasses"
    )
    explanation_class_names = Items(Text(), data_key="explanationClassNames")
    max_ngram_explanations = _OrWord("all", low=0, data_key="maxNgramExplanations")
    threshold_high = Number(data_key="thresholdHigh")
    threshold_low = Number(data_key="thresholdLow")
    prediction_threshold = Number(low=0, high=1, data_key="predictionThreshold")
    prediction_warning_enabled = Switch(data_key="predictionWarningEnabled")
    include_probabilities = Switch(data_key="includeProbabilities")
    include_probabilities_classes = Items(
        Text(), data_key="includeProbabilitiesClasses"
    )
    include_prediction_status = Switch(data_key="includePredictionStatus")
    column_names_remapping = _Remapping(data_key="columnNamesRemapping")
    chunk_size = _OrWord(
        *("auto", "fixed", "dynamic"), low=20, high=_MOST_CELLS, data_key="chunkSize"
    )
    num_concurrent = Whole(low=1, high=1000, data_key="numConcurrent")
    abort_on_error = Switch(data_key="abortOnError")
    skip_drift_tracking = Switch(data_key="skipDriftTracking")
    disable_row_level_error_handling = Switch(data_key="disableRowLevelErrorHandling")
    timeseries_settings = _ByType(
        _RANGES, frozenset({"training"}), data_key="timeseriesSettings"
    )
    # Where to predict: here, whatever it says. It may hold a token, and is not kept.
    prediction_instance = Mappings(data_key="predictionInstance")
    decimals_number = Whole(low=0, high=1000, data_key="decimalsNumber")

    @pre_load
    def _refuse_others(self, data: Any, **_: Any) -> Any:
        found = [name for name in _OTHER_KEYS if data.get(name) is not None]
        if found:
            text = "is not supported by this server"
            if "deploymentId" not in data:
                text += ": name a deploymentId"
            raise ValidationError({name: [text] for name in found})
        return data

    @validates_schema
    def _check_together(self, data: Mapping[str, Any], **_: Any) -> None:
        pairs = (
            ("passthrough_columns", "passthrough_columns_set"),
            ("explanation_num_top_classes", "explanation_class_names"),
        )
        for first, second in pairs:
            if data.get(first) and data.get(second):
                one, other = (
                    str(self.fields[each].data_key) for each in (first, second)
                )
                raise ValidationError(f"{one} and {other} are mutually exclusive", one)

    @post_load
    def _forget_instance(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data.pop("prediction_instance", None)
        return data


class ListFields(PageFields):
    """Which jobs a list has, and in what order."""

    status = Items(Choice(*STATUSES), load_default=list)
    deployment_id = Text(data_key="deploymentId", most=64)
    source = Text(most=100)
    order = Choice(*ORDERS, data_key="orderBy", load_default="-created")
