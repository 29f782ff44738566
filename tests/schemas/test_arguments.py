"""The query string, in the documents' words."""

import datetime

import pytest

from schemas.arguments import InvalidArgument, InvalidInstant, read_arguments
from schemas.fields import ALL

REFUSALS = [
    ("wd", "1", "'wd': wd is not allowed key"),
    ("passthroughColumns", "", "'passthroughColumns': blank value is not allowed"),
    (
        "passthroughColumnsSet",
        "x",
        "'passthroughColumnsSet': value is not exactly 'all'",
    ),
    (
        "predictionWarningEnabled",
        "",
        "'predictionWarningEnabled': value can't be converted to Bool",
    ),
    (
        "predictionWarningEnabled",
        "f",
        "'predictionWarningEnabled': value can't be converted to Bool",
    ),
    ("decimalsNumber", "x", "'decimalsNumber': value can't be converted to int"),
    ("decimalsNumber", "-1", "'decimalsNumber': value is less than 0"),
    (
        "maxExplanations",
        "x",
        "{'max_codes': DataError(value can't be converted to int)}",
    ),
    (
        "maxExplanations",
        "all",
        "{'max_codes': DataError(value can't be converted to int)}",
    ),
    ("maxCodes", "1.5", "{'max_codes': DataError(value can't be converted to int)}"),
    ("maxCodes", "-1", "{'max_codes': DataError(value is less than 0)}"),
    (
        "thresholdHigh",
        "x",
        "{'threshold_high': DataError(value can't be converted to float)}",
    ),
    (
        "thresholdLow",
        "nan",
        "{'threshold_low': DataError(value can't be converted to float)}",
    ),
    (
        "excludeAdjustedPredictions",
        "",
        "{'exclude_adjusted_predictions': DataError(value can't be converted to Bool)}",
    ),
    (
        "relaxKnownInAdvanceFeaturesCheck",
        "",
        {"relaxKnownInAdvanceFeaturesCheck": "value can't be converted to Bool"},
    ),
    ("forecastPoint", "", {"forecastPoint": "Invalid RFC 3339 datetime string: "}),
    (
        "forecastPoint",
        "soon",
        {"forecastPoint": "Invalid RFC 3339 datetime string: soon"},
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSALS)
def test_wrong_argument_is_refused_in_its_dialect(name, value, message):
    with pytest.raises(InvalidArgument) as refusal:
        read_arguments({name: [value]})
    assert refusal.value.message == message


def test_malformed_date_is_an_error_of_its_own():
    with pytest.raises(InvalidInstant):
        read_arguments({"predictionsStartDate": ["1.1."], "predictionsEndDate": ["x"]})


def test_first_wrong_argument_of_the_request_is_named():
    with pytest.raises(InvalidArgument, match="zz is not allowed"):
        read_arguments({"zz": ["1"], "decimalsNumber": ["x"], "aa": ["1"]})


@pytest.mark.parametrize("word", ["t", "TRUE", " yes ", "on", "1", "y"])
def test_truth_has_many_spellings(word):
    given = {"predictionWarningEnabled": [word]}
    assert read_arguments(given).prediction_warning


@pytest.mark.parametrize("word", ["false", "N", "no", "off", "0", "None"])
def test_so_has_falsehood(word):
    given = {"predictionWarningEnabled": [word]}
    assert not read_arguments(given).prediction_warning


def test_both_passthrough_parameters_exclude_each_other():
    with pytest.raises(InvalidArgument, match="^'passthroughColumns': "):
        read_arguments({"passthroughColumns": ["a"], "passthroughColumnsSet": ["all"]})


def test_passthrough_columns_are_repeated():
    assert read_arguments({"passthroughColumns": ["b", "a"]}).passthrough == ("b", "a")
    assert read_arguments({"passthroughColumnsSet": ["all"]}).passthrough == "all"


def test_other_parameters_are_not():
    with pytest.raises(InvalidArgument, match="given more than once"):
        read_arguments({"decimalsNumber": ["1", "2"]})


def test_all_explanations_are_for_shap():
    given = {"maxExplanations": ["all"], "explanationAlgorithm": ["shap"]}
    assert read_arguments(given).max_explanations == ALL


def test_zero_explanations_mean_none_for_xemp_and_all_for_shap():
    assert not read_arguments({"maxExplanations": ["0"]}).wants_explanations
    shap = {"maxExplanations": ["0"], "explanationAlgorithm": ["shap"]}
    assert read_arguments(shap).wants_explanations


@pytest.mark.parametrize(
    "text",
    [
        "2013-12-20T01:30:00Z",
        "2013-12-20T01:30:00",
        "2013-12-20 01:30:00",
        "2013-12-20T02:30:00+01:00",
        "2013-12-20T02:30:00 01:00",
        "2013-12-20T01:30:00.000000Z",
    ],
)
def test_instants_are_read_with_and_without_zone(text):
    instant = datetime.datetime(2013, 12, 20, 1, 30, tzinfo=datetime.UTC)
    assert read_arguments({"forecastPoint": [text]}).forecast_point == instant


def test_the_clients_widest_range_is_read():
    given = {
        "predictionsStartDate": ["1900-01-01T00:00:00.000000Z"],
        "predictionsEndDate": ["2262-04-11T23:47:16.854775+00:00"],
    }
    assert read_arguments(given).wants_time_series


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"predictionsStartDate": ["2020-01-01"]},
            "predictionsStartDate and predictionsEndDate must be passed together.",
        ),
        (
            {
                "predictionsStartDate": ["2020-01-02"],
                "predictionsEndDate": ["2020-01-02"],
            },
            "predictionsStartDate must be before predictionsEndDate.",
        ),
        (
            {
                "forecastPoint": ["2020-01-01"],
                "predictionsStartDate": ["2020-01-01"],
                "predictionsEndDate": ["2020-01-02"],
            },
            "forecastPoint cannot be used with predictionsStartDate and"
            " predictionsEndDate.",
        ),
    ],
)
def test_dates_that_do_not_fit_together(given, message):
    with pytest.raises(InvalidArgument) as refusal:
        read_arguments(given)
    assert refusal.value.message == message
