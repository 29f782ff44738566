"""The query string, in the documents' words."""

import datetime

import pytest

from schemas.arguments import (
    ExplanationArguments,
    InvalidArgument,
    InvalidInstant,
    read_arguments,
)
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
    *(
        (
            "thresholdLow",
            text,
            "{'threshold_low': DataError(value can't be converted to float)}",
        )
        for text in ("inf", "-Infinity", "1e999", "", "0,5", "NaN")
    ),
    (
        "maxExplanations",
        "",
        "{'max_codes': DataError(value can't be converted to int)}",
    ),
    (
        "maxExplanations",
        "3.0",
        "{'max_codes': DataError(value can't be converted to int)}",
    ),
    ("maxExplanations", "-1", "{'max_codes': DataError(value is less than 0)}"),
    (
        "explanationNumTopClasses",
        "0",
        "{'explanation_num_top_classes': DataError(value is less than 1)}",
    ),
    (
        "explanationNumTopClasses",
        "11",
        "{'explanation_num_top_classes': DataError(value is greater than 10)}",
    ),
    (
        "explanationClassNames",
        "",
        "{'explanation_class_names': DataError(blank value is not allowed)}",
    ),
    (
        "explanationAlgorithm",
        "lime",
        "{'explanation_algorithm': DataError(value doesn't match any variant)}",
    ),
    (
        "maxNgramExplanations",
        "some",
        "{'max_ngram_explanations': DataError(value can't be converted to int)}",
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


def explanations(**given):
    return read_arguments({name: [each] for name, each in given.items()}).explanations


def test_nothing_said_of_explanations_is_nothing():
    assert explanations(decimalsNumber="3", excludeAdjustedPredictions="1") is None


def test_all_that_is_said_of_explanations_is_read():
    found = read_arguments(
        {
            "maxExplanations": ["5"],
            "explanationAlgorithm": ["xemp"],
            "thresholdLow": ["0.2"],
            "thresholdHigh": ["-1e3"],
            "explanationClassNames": ["b", "größe"],
            "maxNgramExplanations": ["all"],
            "excludeAdjustedPredictions": ["false"],
        }
    )
    assert found.explanations == ExplanationArguments(
        5, "xemp", 0.2, -1000.0, class_names=("b", "größe"), most_ngrams=ALL
    )
    assert not found.exclude_adjusted_predictions


def test_all_explanations_are_for_shap():
    given = {"maxExplanations": ["all"], "explanationAlgorithm": ["shap"]}
    assert read_arguments(given).explanations.most == ALL


@pytest.mark.parametrize("number", [2**31, 2**31 - 1, 10**30])
def test_no_number_is_all(number):
    assert explanations(maxExplanations=str(number)).most == number
    found = explanations(maxNgramExplanations=str(number), maxExplanations="1")
    assert found.most_ngrams == number
    for word in ("all", "-1"):
        with pytest.raises(InvalidArgument):
            explanations(maxExplanations=word)


@pytest.mark.parametrize("word", ["shap", "SHAP", "Shap"])
def test_algorithm_is_named_in_any_case(word):
    assert explanations(explanationAlgorithm=word).algorithm == "shap"


def test_zero_explanations_are_told_from_none_said():
    assert explanations(maxExplanations="0").most == 0
    assert explanations(explanationAlgorithm="shap").most is None


@pytest.mark.parametrize("order", [1, -1])
def test_newer_name_wins_over_the_older_one(order):
    given = [("maxExplanations", ["2"]), ("maxCodes", ["7"])][::order]
    assert read_arguments(dict(given)).explanations.most == 2


def test_older_name_will_do():
    assert explanations(maxCodes="7").most == 7


def test_classes_are_chosen_by_number_or_by_name():
    given = {"explanationNumTopClasses": ["2"], "explanationClassNames": ["a"]}
    with pytest.raises(InvalidArgument, match="explanation_num_top_classes.*exclusive"):
        read_arguments(given)
    assert explanations(explanationNumTopClasses="10").top_classes == 10


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
