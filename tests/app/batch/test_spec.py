import json
from datetime import UTC, datetime, timedelta, timezone

from app.batch.spec import BatchSpec, CsvSettings, TimeseriesSettings

FULL = BatchSpec(
    "a" * 24,
    csv_settings=CsvSettings("tab", "'", "latin-1"),
    passthrough_columns=("a", "b"),
    max_explanations=3,
    explanation_class_names=("x",),
    threshold_high=0.9,
    include_probabilities_classes=("yes",),
    column_names_remapping={"THRESHOLD": None, "x_PREDICTION": "x"},
    chunk_size=4096,
    timeseries_settings=TimeseriesSettings(
        "historical",
        predictions_start_date=datetime(
            2020, 1, 1, tzinfo=timezone(timedelta(hours=2))
        ),
    ),
)


def test_spec_is_read_as_it_was_written():
    for spec in (BatchSpec("a" * 24), FULL):
        assert BatchSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_spec_is_told_in_the_words_of_the_contract():
    told = BatchSpec("a" * 24).to_json()
    assert told["csvSettings"] == {
        "delimiter": ",",
        "quotechar": '"',
        "encoding": "utf-8",
    }
    assert told["includeProbabilities"] is True
    assert told["abortOnError"] is True
    assert "predictionThreshold" not in told


def test_remapping_is_told_as_a_list():
    assert FULL.to_json()["columnNamesRemapping"] == [
        {"inputName": "THRESHOLD", "outputName": None},
        {"inputName": "x_PREDICTION", "outputName": "x"},
    ]


def test_range_without_bounds_is_the_whole():
    start, end = TimeseriesSettings("historical").range
    assert (start.year, end.year) == (1900, 2262)
    assert start.tzinfo is UTC
    assert TimeseriesSettings().range is None


def test_all_columns_are_told_by_a_set():
    assert BatchSpec("a", passthrough_columns_set="all").passthrough == "all"
    assert BatchSpec("a", passthrough_columns=("b",)).passthrough == ("b",)
    assert BatchSpec("a").passthrough == ()
