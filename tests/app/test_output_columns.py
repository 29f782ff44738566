"""Which columns a job's output has, and what they are called."""

import csv
from itertools import repeat

import pytest

from app.errors import OutputColumnsClash, OutputColumnsRefused
from app.output_columns import ALL_COLUMNS, CsvLayout, OutputColumns
from backends.model import Feature, Model

BINARY = ["y_yes_PREDICTION", "y_no_PREDICTION", "y_PREDICTION"]
OWN = [*BINARY, "THRESHOLD", "POSITIVE_CLASS"]
CELLS = [[b"0.9"], [b"0.1"], [b"yes"], [b"0.5"], [b"yes"]]


def model(task="binary", labels=("no", "yes"), positive="yes"):
    return Model(
        *("0" * 24, "m", "onnx", "m.onnx", task, "y"),
        (Feature("x", "numeric"),),
        labels=labels,
        positive_label=positive,
    )


def layout(passthrough=(), **wanted):
    return CsvLayout(OWN, passthrough, model(), OutputColumns(**wanted))


def table(made, passed=()):
    lines = made.lines([*CELLS, *([each] for each in passed)], 1)
    return list(csv.DictReader((made.head + lines).decode().splitlines()))[0]


def test_all_columns_are_told_in_their_order():
    made = CsvLayout(OWN, ["id"], model(), ALL_COLUMNS)
    assert made.head.decode() == ",".join([*OWN, "id"]) + "\n"
    assert list(table(made, [b"7"]).values()) == [
        "0.9",
        "0.1",
        "yes",
        "0.5",
        "yes",
        "7",
    ]


def test_probabilities_take_threshold_and_positive_class_with_them():
    assert table(layout(probabilities=False)) == {"y_PREDICTION": "yes"}


def test_regression_keeps_its_prediction():
    wanted = OutputColumns(probabilities=False)
    made = CsvLayout(["y_PREDICTION"], [], model("regression", (), None), wanted)
    assert made.head == b"y_PREDICTION\n"


@pytest.mark.parametrize(
    ("task", "labels"), [("regression", ()), ("multiclass", ("a", "b", "c"))]
)
def test_column_of_the_input_may_have_a_name_that_binary_models_use(task, labels):
    wanted = OutputColumns(probabilities=False)
    passed = ["THRESHOLD", "POSITIVE_CLASS"]
    made = CsvLayout(["y_PREDICTION"], passed, model(task, labels, None), wanted)
    assert made.head == b"y_PREDICTION,THRESHOLD,POSITIVE_CLASS\n"


def test_classes_are_chosen():
    found = table(layout(classes=("yes",)))
    assert "y_yes_PREDICTION" in found and "y_no_PREDICTION" not in found
    assert {"THRESHOLD", "POSITIVE_CLASS"} <= set(found)


def test_status_stands_before_what_is_passed_through():
    made = layout(["id"], status=True)
    assert list(table(made, [b"7"]))[-2:] == ["prediction_status", "id"]
    assert table(made, [b"7"])["prediction_status"] == "OK"


def test_columns_are_renamed_and_dropped():
    names = {"y_yes_PREDICTION": "p, sure", "THRESHOLD": None, "id": "key"}
    found = table(layout(["id"], names=names), [b"7"])
    assert found["p, sure"] == "0.9" and found["key"] == "7"
    assert "THRESHOLD" not in found


def test_columns_that_are_left_out_may_be_named():
    names = {"THRESHOLD": None, "y_no_PREDICTION": "no"}
    assert list(table(layout(probabilities=False, names=names))) == ["y_PREDICTION"]


def test_columns_of_constants_end_with_the_rows():
    names = dict.fromkeys([*BINARY, "POSITIVE_CLASS"])
    made = layout(names=names)
    cells = [*CELLS[:3], repeat(b"0.5"), repeat(b"yes")]
    assert made.lines(cells, 2) == b"0.5\n0.5\n"


def test_columns_of_nothing_but_constants_end_with_the_rows():
    made = layout(names=dict.fromkeys(BINARY))
    cells = [*CELLS[:3], repeat(b"0.5"), repeat(b"yes")]
    assert made.lines(cells, 2) == b"0.5,yes\n0.5,yes\n"


def test_probabilities_are_left_out_by_the_name_that_series_give_the_target():
    own = [name.replace("y_", "y (actual)_", 1) for name in OWN]
    wanted = OutputColumns(probabilities=False)
    made = CsvLayout(own, [], model(), wanted, target="y (actual)")
    assert made.head == b"y (actual)_PREDICTION\n"


def test_row_that_failed_has_its_reason_and_what_is_passed_through():
    made = layout(["id"], status=True)
    assert made.failed('row 3: "x"', ["a,b"]) == b',,,,,"row 3: ""x""","a,b"\n'
    assert layout(["id"]).failed("row 3", ["7"]) == b",,,,,7\n"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"classes": ("maybe",)}, "no class named 'maybe'"),
        ({"names": {"none": "x"}}, "no column named 'none'"),
        ({"names": {"THRESHOLD": "y_PREDICTION"}}, "would be named 'y_PREDICTION'"),
        ({"names": dict.fromkeys(OWN)}, "no column of the output is left"),
    ],
)
def test_what_does_not_fit_is_refused(wanted, said):
    with pytest.raises(OutputColumnsRefused, match=said):
        layout(**wanted)


def test_passthrough_must_not_hide_a_column():
    with pytest.raises(OutputColumnsClash, match="THRESHOLD"):
        layout(["THRESHOLD"])
    with pytest.raises(OutputColumnsClash, match="prediction_status"):
        layout(["prediction_status"], status=True)
    layout(["prediction_status"])
