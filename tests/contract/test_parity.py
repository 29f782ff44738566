"""The same rows, however they are sent, have the training library's predictions.

Each cell is drawn with what it is to mean: as a CSV cell, as a JSON value, and as the
value in the frame that the training library gets. Numbers are compared bit by bit.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.effort import effort

# More decimals than a double has: nothing is rounded.
EXACT = {"decimalsNumber": "1100"}
LIGHTGBM = ["churn", "price", "plan", "grade"]
ONNX = ["onnx-price", "onnx-risk", "onnx-iris", "onnx-parcel"]


@dataclass(frozen=True)
class Cell:
    """One cell as CSV text, as JSON value, and as what the model is to get."""

    text: str
    value: Any
    meant: Any


def number(value: float) -> Cell:
    return Cell(repr(value), value, value)


def spelled(text: str, meant: float) -> Cell:
    return Cell(text, text, meant)


MISSING_NUMBERS = [
    Cell("", None, math.nan),
    Cell("", math.nan, math.nan),
    *(
        spelled(text, math.nan)
        for text in ("", "null", "NULL", "na", "NA", "n/a", "N/A", "#N/A")
        + ("nan", "NaN", "?", "None", " ", "\tNA ")
    ),
]
ODD_NUMBERS = [
    *(Cell(text, value, value) for text, value in (("7", 7), ("-3", -3), ("0", 0))),
    Cell("true", True, 1.0),
    Cell("False", False, 0.0),
    *(
        spelled(text, meant)
        for text, meant in {
            "01234": 1234.0,
            "+5": 5.0,
            " 12 ": 12.0,
            "1e1": 10.0,
            "1E-3": 0.001,
            ".5": 0.5,
            "6.": 6.0,
            "17.56%": 17.56,
            "-0": 0.0,
            "00": 0.0,
            "4.9E-324": 5e-324,
            "0.1000000000000000055511151231257827": 0.1,
            "123456789012345678901234567890": 123456789012345678901234567890.0,
        }.items()
    ),
]

finite = st.floats(allow_nan=False, allow_infinity=False)
usual = st.floats(-100, 100).map(lambda value: round(value, 2))
numeric_cells = st.one_of(
    usual.map(number),
    finite.map(number),
    st.integers(-(2**53), 2**53).map(lambda n: Cell(str(n), n, float(n))),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(MISSING_NUMBERS),
)
# What a float32 holds, and no gaps: a linear model answers NaN to them.
single_cells = st.one_of(
    usual.map(number),
    st.floats(-1e6, 1e6).map(number),
    st.integers(-1000, 1000).map(lambda n: Cell(str(n), n, float(n))),
    st.sampled_from([Cell("01", "01", 1.0), Cell(" 2.5% ", " 2.5% ", 2.5)]),
)

# Inputs of whole numbers: no gaps and no fractions.
whole_cells = st.one_of(
    st.integers(-(2**40), 2**40).map(lambda n: Cell(str(n), n, n)),
    st.integers(-9, 9).map(lambda n: Cell(f"{n}.0", float(n), n)),
    st.sampled_from([Cell(" 07", " 07", 7), Cell("1e3", "1e3", 1000)]),
)

odd_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12
)
text_cells = st.one_of(
    st.sampled_from(["red", "01", "grün, hell", "", "NA", " red ", "null"]).map(
        lambda text: Cell(text, text, text)
    ),
    odd_texts.map(lambda text: Cell(text, text, text)),
    st.sampled_from([Cell("", None, ""), Cell("723", 723, "723"), Cell("", "", "")]),
)


def level_cells(levels: tuple[Any, ...]) -> st.SearchStrategy[Cell]:
    """Levels as they are and as other spellings of them, unseen ones, and gaps."""
    missing = [Cell("", None, None), Cell("", math.nan, None), Cell("", "", None)]
    missing.append(Cell("null", "null", None))
    if isinstance(levels[0], bool):
        known = [Cell(str(level), level, level) for level in levels]
        known += [Cell(str(level).lower(), int(level), level) for level in levels]
        unseen = [Cell("2", 2, None), Cell("maybe", "maybe", None)]
    elif isinstance(levels[0], int):
        known = [Cell(str(level), level, level) for level in levels]
        known += [Cell(f"{level}.0", float(level), level) for level in levels]
        known += [Cell(f" 0{level}", f" 0{level}", level) for level in levels]
        unseen = [Cell("2.5", 2.5, None), Cell("-1", -1, None), Cell("a", "a", None)]
    else:
        known = [Cell(level, level, level) for level in levels]
        unseen = [Cell("001", "001", None), Cell("spaced", "spaced", None)]
        return st.one_of(
            st.sampled_from(known),
            st.sampled_from(unseen + missing),
            odd_texts.filter(lambda text: text not in levels).map(
                lambda text: Cell(text, text, None)
            ),
        )
    return st.one_of(st.sampled_from(known), st.sampled_from(unseen + missing))


def rows_of(specimen, numbers) -> st.SearchStrategy[list[dict[str, Cell]]]:
    cells = {}
    for feature in specimen.model.features:
        if feature.categories is not None:
            cells[feature.name] = level_cells(feature.categories)
        elif feature.kind == "text":
            cells[feature.name] = text_cells
        else:
            cells[feature.name] = whole_cells if feature.dtype == "int64" else numbers
    return st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=12)


def meant_frame(specimen, rows) -> pd.DataFrame:
    """What the rows mean, as the frame that the training library takes."""
    columns = {}
    for feature in specimen.model.features:
        meant = [row[feature.name].meant for row in rows]
        if feature.categories is None:
            if feature.kind == "text":
                columns[feature.name] = np.array(meant, object)
                continue
            # First to float64, as every number is read, then to the input's own type.
            dtype = specimen.frame[feature.name].dtype
            columns[feature.name] = np.array(meant, np.float64).astype(dtype)
        else:
            codes = [
                -1 if each is None else feature.categories.index(each) for each in meant
            ]
            dtype = specimen.frame[feature.name].dtype
            columns[feature.name] = pd.Categorical.from_codes(codes, dtype=dtype)
    return pd.DataFrame(columns)


def csv_body(rows, order) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(order)
    writer.writerows([row[name].text for name in order] for row in rows)
    return text.getvalue().encode()


def json_body(rows, order) -> bytes:
    return json.dumps([{n: row[n].value for n in order} for row in rows]).encode()


def ways_to_send(predict, name, rows, order):
    """Answers to the same rows sent in every way."""
    as_csv, as_json = csv_body(rows, order), json_body(rows, order)
    gzipped = {"Content-Encoding": "gzip"}
    form = {"file": (io.BytesIO(as_csv), "rows.csv")}
    return {
        "csv": predict(name, as_csv, query=EXACT),
        "json": predict(name, as_json, "application/json", query=EXACT),
        "multipart": predict(name, form, "multipart/form-data", query=EXACT),
        "gzip": predict(name, gzip.compress(as_csv), query=EXACT, headers=gzipped),
        "gzipped json": predict(
            name, gzip.compress(as_json), "text/json", query=EXACT, headers=gzipped
        ),
        "chunked": predict(name, io.BytesIO(as_csv), query=EXACT),
    }


def answered(answer) -> list[list[float]]:
    assert answer.status_code == 200, answer.data
    rows = json.loads(answer.data)["data"]
    return [[each["value"] for each in row["predictionValues"]] for row in rows]


def expected_values(specimen, rows) -> list[list[float]]:
    values = specimen.score(meant_frame(specimen, rows))
    if specimen.model.task == "binary":
        values = np.hstack([values, 1.0 - values])
    return values.tolist()


@pytest.mark.parametrize("name", LIGHTGBM)
def test_every_way_to_send_has_the_boosters_predictions(predict, specimens, name):
    check(predict, specimens[name], name, numeric_cells)


@pytest.mark.parametrize("name", ONNX)
def test_every_way_to_send_has_the_sessions_predictions(predict, specimens, name):
    check(predict, specimens[name], name, single_cells)


def check(predict, specimen, name, numbers) -> None:
    names = [feature.name for feature in specimen.model.features]

    @effort(25)
    @given(
        rows=rows_of(specimen, numbers),
        order=st.permutations(names),
        times=st.sampled_from([1, 1, 1, 40]),
    )
    def same(rows, order, times):
        # Many rows take another way through the decoder than few.
        expected = expected_values(specimen, rows) * times
        for way, answer in ways_to_send(predict, name, rows * times, order).items():
            assert answered(answer) == expected, way

    same()


@pytest.mark.parametrize("name", LIGHTGBM + ONNX)
def test_training_rows_have_the_training_librarys_predictions(predict, specimens, name):
    specimen = specimens[name]
    body = specimen.frame.to_csv(index=False)
    expected = specimen.score(specimen.frame)
    found = np.array(answered(predict(name, body, query=EXACT)))
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    accept = {"Accept": "text/csv"}
    table = predict(name, body, query=EXACT, headers=accept).data.decode()
    lines = list(csv.reader(io.StringIO(table)))[1:]
    in_csv = [[float(cell) for cell in line[: expected.shape[1]]] for line in lines]
    np.testing.assert_array_equal(in_csv, expected)
