"""What the query string of a prediction request may say."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from marshmallow import Schema, ValidationError, post_load

from schemas import errors
from schemas.fields import (
    ALL,
    Bool,
    Exactly,
    Float,
    Instant,
    Int,
    IntOrAll,
    Names,
    Variant,
)


class InvalidArgument(ValueError):
    """A query argument is refused.

    message: a string or an object, in the dialect of that argument.
    """

    def __init__(self, message: str | dict[str, str]) -> None:
        super().__init__(message)
        self.message = message


class InvalidInstant(InvalidArgument):
    """A query argument is no date and time, or two of them are in the wrong order."""


@dataclass(frozen=True, slots=True)
class ExplanationArguments:
    """What the query string says of explanations.

    most: of a row, `schemas.fields.ALL` for all; None: not said.
    low, high: rows whose prediction is below low or above high are explained.
    top_classes, class_names: multiclass: how many of a row's most probable classes
        are explained, or which.
    most_ngrams: of the words of a text.
    """

    most: int | None = None
    algorithm: Literal["xemp", "shap"] = "xemp"
    low: float | None = None
    high: float | None = None
    top_classes: int | None = None
    class_names: tuple[str, ...] = ()
    most_ngrams: int = 0


@dataclass(frozen=True, slots=True)
class PredictionArguments:
    """The query string, read.

    passthrough: names of columns to copy into the answer, or "all".
    decimals: most digits after the point.
    explanations: None if the query string says nothing of them.
    """

    passthrough: tuple[str, ...] | Literal["all"] = ()
    decimals: int = 10
    prediction_warning: bool = False
    explanations: ExplanationArguments | None = None
    exclude_adjusted_predictions: bool = True
    forecast_point: datetime.datetime | None = None
    predictions_start_date: datetime.datetime | None = None
    predictions_end_date: datetime.datetime | None = None
    relax_known_in_advance: bool | None = None

    @property
    def wants_time_series(self) -> bool:
        """Whether a parameter is given that only time series models know."""
        return (
            self.forecast_point is not None
            or self.predictions_start_date is not None
            or self.relax_known_in_advance is not None
        )


_EXPLANATION: Final = {
    # The documents name this parameter by its older name in the message.
    "maxExplanations": "max_codes",
    "maxCodes": "max_codes",
    "thresholdLow": "threshold_low",
    "thresholdHigh": "threshold_high",
    "excludeAdjustedPredictions": "exclude_adjusted_predictions",
    "explanationNumTopClasses": "explanation_num_top_classes",
    "explanationClassNames": "explanation_class_names",
    "explanationAlgorithm": "explanation_algorithm",
    "maxNgramExplanations": "max_ngram_explanations",
}
_TIME_SERIES: Final = frozenset(
    {
        "forecastPoint",
        "predictionsStartDate",
        "predictionsEndDate",
        "relaxKnownInAdvanceFeaturesCheck",
    }
)
_INSTANTS: Final = _TIME_SERIES - {"relaxKnownInAdvanceFeaturesCheck"}
_REPEATABLE: Final = frozenset({"passthroughColumns", "explanationClassNames"})


def _says(meaning: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field: what documents of the API say of it."""
    return {"description": meaning, **more}


class PredictionArgumentsSchema(Schema):
    """Query arguments of the prediction routes.

    Source: "Predictions for deployments", "Prediction Explanations for deployment"
    and "Time series predictions for deployments", query arguments.
    """

    passthrough_columns = Names(
        data_key="passthroughColumns",
        metadata=_says(
            "A column of the request copied into the answer; repeatable, in this order."
        ),
    )
    passthrough_columns_set = Exactly(
        "all",
        data_key="passthroughColumnsSet",
        metadata=_says(
            "Copies every column of the request; not together with passthroughColumns."
        ),
    )
    prediction_warning = Bool(
        data_key="predictionWarningEnabled",
        metadata=_says(
            "Regression: each row tells whether its prediction is an outlier."
        ),
    )
    decimals = Int(
        low=0,
        data_key="decimalsNumber",
        metadata=_says("Most digits after the decimal point; 10 unless given."),
    )
    max_explanations = IntOrAll(
        data_key="maxExplanations",
        metadata=_says(
            "Explanations of each row. XEMP: 0 is none, at most 50. SHAP: 0 and "
            "`all` are one for each feature, else at most 100."
        ),
    )
    max_codes = IntOrAll(
        data_key="maxCodes",
        metadata=_says(
            "The older name of maxExplanations, which counts if both are given.",
            deprecated=True,
        ),
    )
    threshold_low = Float(
        data_key="thresholdLow",
        metadata=_says(
            "XEMP: explains rows whose prediction is below it, or above thresholdHigh."
        ),
    )
    threshold_high = Float(
        data_key="thresholdHigh",
        metadata=_says(
            "XEMP: explains rows whose prediction is above it, or below thresholdLow."
        ),
    )
    exclude_adjusted_predictions = Bool(
        data_key="excludeAdjustedPredictions",
        metadata=_says(
            "False: rows also tell their prediction per unit of exposure, of a "
            "model with one; true unless given."
        ),
    )
    explanation_num_top_classes = Int(
        low=1,
        high=10,
        data_key="explanationNumTopClasses",
        metadata=_says(
            "Multiclass: explains so many of each row's most probable classes; "
            "1 unless given. Not together with explanationClassNames."
        ),
    )
    explanation_class_names = Names(
        data_key="explanationClassNames",
        metadata=_says("Multiclass: a class to explain; repeatable, in this order."),
    )
    explanation_algorithm = Variant(
        "xemp",
        "shap",
        data_key="explanationAlgorithm",
        metadata=_says(
            "How rows are explained, in any case of letters; xemp unless given. "
            "shap, which is not for multiclass models, asks for explanations by "
            "itself."
        ),
    )
    max_ngram_explanations = IntOrAll(
        data_key="maxNgramExplanations",
        metadata=_says(
            "Models that take a text: anything but 0 is refused; others ignore it."
        ),
    )
    forecast_point = Instant(
        data_key="forecastPoint",
        metadata=_says(
            "Time series: what is forecast from, ISO 8601, UTC without a zone; "
            "the newest possible one unless given."
        ),
    )
    predictions_start_date = Instant(
        data_key="predictionsStartDate",
        metadata=_says(
            "Time series: the first timestamp that is forecast from every "
            "possible forecast point, ISO 8601; together with "
            "predictionsEndDate."
        ),
    )
    predictions_end_date = Instant(
        data_key="predictionsEndDate",
        metadata=_says("Time series: where such timestamps end, itself left out."),
    )
    relax_known_in_advance = Bool(
        data_key="relaxKnownInAdvanceFeaturesCheck",
        metadata=_says(
            "Time series: true: what is known in advance may be missing in rows "
            "that are forecast; false unless given."
        ),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> PredictionArguments:
        columns = data.pop("passthrough_columns", ())
        if "passthrough_columns_set" in data:
            data.pop("passthrough_columns_set")
            columns = "all"
        # maxCodes is the deprecated name of maxExplanations, which wins.
        if "max_codes" in data:
            data.setdefault("max_explanations", data.pop("max_codes"))
        said = {_SAYS[name]: data.pop(name) for name in list(data) if name in _SAYS}
        explanations = ExplanationArguments(**said) if said else None
        return PredictionArguments(
            passthrough=columns, explanations=explanations, **data
        )


# From the schema's fields to those of `ExplanationArguments`.
_SAYS: Final = {
    "max_explanations": "most",
    "explanation_algorithm": "algorithm",
    "threshold_low": "low",
    "threshold_high": "high",
    "explanation_num_top_classes": "top_classes",
    "explanation_class_names": "class_names",
    "max_ngram_explanations": "most_ngrams",
}


_SCHEMA: Final = PredictionArgumentsSchema()


def read_arguments(given: Mapping[str, Sequence[str]]) -> PredictionArguments:
    """Read query arguments, name to the values given for it in order.

    Raises InvalidArgument (InvalidInstant for a malformed date) for the first wrong
    one, in the order of the request.
    """
    for name, values in given.items():
        if len(values) > 1 and name in KNOWN - _REPEATABLE:
            raise refusal(name, errors.REPEATED)
    flat = {
        name: values if name in _REPEATABLE else values[0]
        for name, values in given.items()
    }
    try:
        arguments: PredictionArguments = _SCHEMA.load(flat)
    except ValidationError as error:
        raise _first_refusal(given, error) from None
    _check_together(given, arguments)
    return arguments


def _first_refusal(
    given: Mapping[str, Sequence[str]], error: ValidationError
) -> InvalidArgument:
    messages: Any = error.messages
    name = next(name for name in given if name in messages)
    if name not in KNOWN:
        return InvalidArgument(errors.plain(name, f"{name} {errors.NOT_ALLOWED}"))
    return refusal(name, messages[name][0])


KNOWN: Final = frozenset(
    str(field.data_key) for field in PredictionArgumentsSchema._declared_fields.values()
)


def refusal(name: str, problem: str) -> InvalidArgument:
    """What is wrong with a parameter, in its dialect."""
    if name in _EXPLANATION:
        return InvalidArgument(errors.data_error(_EXPLANATION[name], problem))
    if name in _INSTANTS:
        return InvalidInstant(errors.keyed(name, problem))
    if name in _TIME_SERIES:
        return InvalidArgument(errors.keyed(name, problem))
    return InvalidArgument(errors.plain(name, problem))


def _check_together(
    given: Mapping[str, Sequence[str]], arguments: PredictionArguments
) -> None:
    if "passthroughColumns" in given and "passthroughColumnsSet" in given:
        raise refusal(
            "passthroughColumns",
            "passthroughColumns and passthroughColumnsSet are mutually exclusive",
        )
    if "explanationNumTopClasses" in given and "explanationClassNames" in given:
        raise refusal(
            "explanationNumTopClasses",
            "explanationNumTopClasses and explanationClassNames are mutually exclusive",
        )
    said = arguments.explanations
    if said is not None and said.algorithm == "xemp" and said.most == ALL:
        raise refusal("maxExplanations", errors.NOT_INT)
    start, end = arguments.predictions_start_date, arguments.predictions_end_date
    if (start is None) != (end is None):
        raise InvalidArgument(
            "predictionsStartDate and predictionsEndDate must be passed together."
        )
    if start is None or end is None:
        return
    if arguments.forecast_point is not None:
        raise InvalidArgument(
            "forecastPoint cannot be used with predictionsStartDate and"
            " predictionsEndDate."
        )
    if start >= end:
        raise InvalidInstant("predictionsStartDate must be before predictionsEndDate.")
