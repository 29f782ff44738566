"""Every way to send the same rows, and what the cells may look like."""

from __future__ import annotations

import bz2
import gzip
import io
import json

import numpy as np
import pytest

CSV = (
    "tenure,monthly charge,contract,region,plan,senior\n"
    '12,70.5,One year,"Nord, Süd",2,True\n'
    ",18.25,Month-to-Month,NA,3,False\n"
    '48,-3.5e1,,"say ""hi""",1,true\n'
)
RECORDS = [
    {
        "tenure": 12,
        "monthly charge": 70.5,
        "contract": "One year",
        "region": "Nord, Süd",
        "plan": 2,
        "senior": True,
    },
    {
        "tenure": None,
        "monthly charge": 18.25,
        "contract": "Month-to-Month",
        "region": "NA",
        "plan": 3,
        "senior": False,
    },
    {
        "tenure": 48,
        "monthly charge": -35,
        "contract": None,
        "region": 'say "hi"',
        "plan": 1,
        "senior": True,
    },
]
JSON = json.dumps(RECORDS)
BOUNDARY = "----boundary0123"


def values(answer):
    assert answer.status_code == 200, answer.data
    rows = json.loads(answer.data)["data"]
    return [row["predictionValues"][0]["value"] for row in rows]


def multipart(content, name="file", filename="rows.csv", kind=None):
    """A form with another field before the file."""
    disposition = f'form-data; name="{name}"'
    if filename:
        disposition += f'; filename="{filename}"'
    part = f"Content-Disposition: {disposition}\r\n"
    part += f"Content-Type: {kind}\r\n" if kind else ""
    return (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="value"\r\n\r\nrows.csv\r\n'
        f"--{BOUNDARY}\r\n{part}\r\n".encode()
        + content
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


FORM = f"multipart/form-data; boundary={BOUNDARY}"
UTF8 = CSV.encode()


@pytest.fixture
def expected(predict, specimens):
    """The training library's own answer, by hand."""
    frame = specimens["churn"].frame
    rows = [{**row} for row in RECORDS]
    frame = (
        frame[:0]
        .reindex(range(3))
        .assign(
            **{
                name: np.array([row[name] for row in rows], dtype=object)
                for name in frame.columns
            }
        )
        .astype(frame.dtypes)
    )
    scored = specimens["churn"].score(frame)[:, 0].tolist()
    return [round(value, 10) for value in scored]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (UTF8, "text/csv"),
        (UTF8, "text/csv; charset=utf-8"),
        (UTF8, "text/csv; charset=UTF8"),
        (UTF8, 'TEXT/CSV; Charset="utf-8"'),
        (UTF8, "text/plain; charset=UTF-8"),
        (UTF8, "text/plain"),
        (UTF8, None),
        (UTF8, "application/octet-stream"),
        (UTF8, "application/x-www-form-urlencoded"),
        (UTF8.replace(b"\n", b"\r\n"), "text/csv"),
        (UTF8.replace(b"\n", b"\r"), "text/csv"),
        (UTF8.rstrip(b"\n"), "text/csv"),
        (UTF8 + b"\n\r\n\n", "text/csv"),
        (b"\xef\xbb\xbf" + UTF8, "text/csv"),
        (CSV.encode("latin-1"), "text/csv; charset=latin-1"),
        (CSV.encode("latin-1"), "text/plain; charset=ISO-8859-1"),
        (CSV.encode("cp1252"), "text/csv; charset=windows-1252"),
        (CSV.encode("utf-16"), "text/csv; charset=utf-16"),
        (CSV.encode("utf-16-le"), "text/csv; charset=utf-16le"),
        (CSV.encode("utf-32"), "text/csv; charset=utf-32"),
        (JSON.encode(), "application/json"),
        (JSON.encode(), "application/json; charset=utf-8"),
        (JSON.encode(), "text/json"),
        (JSON.encode(), "application/vnd.api+json"),
        (
            json.dumps(RECORDS, indent=2, ensure_ascii=False).encode(),
            "application/json",
        ),
        (b"\xef\xbb\xbf" + JSON.encode(), "application/json"),
        (JSON.encode("utf-16"), "application/json; charset=utf-16"),
        (JSON.replace("null", "NaN").encode(), "application/json"),
        (multipart(UTF8), FORM),
        (multipart(UTF8, filename=""), FORM),
        (multipart(UTF8, kind="text/csv"), FORM),
        (multipart(UTF8, kind="application/octet-stream"), FORM),
        (multipart(CSV.encode("latin-1"), kind="text/csv; charset=latin-1"), FORM),
        (multipart(JSON.encode(), kind="application/json"), FORM),
        (multipart(JSON.encode(), filename="rows.json"), FORM),
    ],
)
def test_body(predict, expected, body, kind):
    assert values(predict("churn", body, kind)) == expected


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:])),
        ("bz2", bz2.compress),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize(
    ("body", "kind"),
    [(UTF8, "text/csv"), (JSON.encode(), "application/json"), (multipart(UTF8), FORM)],
)
def test_compressed_body(predict, expected, encoding, compress, body, kind):
    headers = {"Content-Encoding": encoding}
    assert values(predict("churn", compress(body), kind, headers=headers)) == expected


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_body_sent_in_chunks(predict, expected, encoding):
    body = gzip.compress(UTF8) if encoding else UTF8
    headers = {"Content-Encoding": encoding}
    assert values(predict("churn", io.BytesIO(body), headers=headers)) == expected


@pytest.mark.parametrize("kind", ["application/json", "text/json"])
def test_single_object_is_one_row(predict, expected, kind):
    body = json.dumps(RECORDS[0])
    assert values(predict("churn", body, kind)) == expected[:1]


def test_multipart_without_the_file_part(predict):
    answer = predict("churn", multipart(UTF8, name="data"), FORM)
    assert answer.status_code == 400
    assert "'file'" in json.loads(answer.data)["message"]


def test_column_order_is_free_and_others_are_ignored(predict, expected):
    lines = [
        "Unnamed: 0,region,plan,Churn,senior,monthly charge,contract,tenure",
        '0,"Nord, Süd",2,Yes,True,70.5,One year,12',
        "1,NA,3,,False,18.25,Month-to-Month,",
        '2,"say ""hi""",1,No,true,-35,,48',
    ]
    assert values(predict("churn", "\n".join(lines).encode())) == expected
    records = [{"more": [1], **dict(reversed(row.items()))} for row in RECORDS]
    body = json.dumps(records)
    assert values(predict("churn", body, "application/json")) == expected


def test_all_quoted_cells_are_the_same_cells(predict, expected):
    lines = CSV.splitlines()
    quoted = [lines[0], '"12","70.5","One year","Nord, Süd","2","True"']
    quoted += ['"","18.25","Month-to-Month","NA","3","False"']
    quoted += ['"48","-3.5e1","","say ""hi""","1","true"']
    assert values(predict("churn", "\r\n".join(quoted).encode())) == expected


def test_record_without_a_key_has_a_missing_value(predict, expected):
    records = [dict(row) for row in RECORDS]
    del records[1]["tenure"], records[2]["contract"]
    body = json.dumps(records)
    assert values(predict("churn", body, "application/json")) == expected


def cell(predict, column, text, name="price"):
    """The prediction of one row with this in one of its cells, from CSV."""
    names = CSV.splitlines()[0].split(",")
    row = dict(zip(names, "12,70.5,,,2,True".split(","), strict=True))
    row[column] = text
    return values(predict(name, ",".join(row) + "\n" + ",".join(row.values())))


def json_cell(predict, column, value, name="price"):
    row = {**RECORDS[0], "contract": None, "region": None, column: value}
    return values(predict(name, json.dumps([row]), "application/json"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("01", 1),
        ("01234", 1234),
        ("+7", 7),
        (" 12 ", 12),
        ("\t12", 12),
        ("1e1", 10),
        ("1e5", 100000),
        ("1E+1", 10),
        (".5", 0.5),
        ("1.", 1),
        ("12%", 12),
        ("17.56%", 17.56),
        ("-0.25", -0.25),
        ("true", 1),
        ("FALSE", 0),
        ('"12"', 12),
    ],
)
def test_text_is_read_as_a_number(predict, text, number):
    # A linear model: every number has an answer of its own.
    form = "sepal length,sepal width,pétale\n{},0,0\n"
    record = '[{{"sepal length": {}, "sepal width": 0, "pétale": 0}}]'
    expected = values(predict("onnx-price", form.format(number)))
    assert values(predict("onnx-price", form.format(text))) == expected
    for value in (number, json.dumps(text.strip('"'))):
        body = record.format(value)
        assert values(predict("onnx-price", body, "application/json")) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e400", 1e300), ("inf", 1e300), ("-Infinity", -1e300), ("+INF", 1e300)],
)
def test_text_is_read_as_infinite(predict, text, number):
    expected = json_cell(predict, "tenure", number)
    assert cell(predict, "tenure", text) == expected
    assert json_cell(predict, "tenure", text) == expected


MISSING = ["", '""', "null", "NULL", "na", "NA", "n/a", "N/A", "#N/A", "nan", "NaN"]


@pytest.mark.parametrize("text", [*MISSING, "?", "None", "  ", " NA "])
def test_text_that_means_a_missing_number(predict, text):
    missing = json_cell(predict, "tenure", None)
    assert missing != json_cell(predict, "tenure", 0)
    assert cell(predict, "tenure", text) == missing
    assert json_cell(predict, "tenure", text.strip('"')) == missing


@pytest.mark.parametrize(
    "text", ["1,5", "1 000", "0x10", "abc", "1_000", "--1", "1e", "12 %", "٣", "1.2.3"]
)
def test_text_that_is_no_number(predict, text):
    quoted = f'"{text}"'
    columns = CSV.splitlines()[0]
    answer = predict("churn", f"{columns}\n{quoted},70.5,,,2,True\n")
    assert answer.status_code == 422
    message = f"column 'tenure', row 0: a number is expected, not {text!r}"
    assert json.loads(answer.data)["message"] == message


def test_texts_that_are_no_numbers_may_count_as_missing(predict):
    lenient = predict.deploy("price", invalid_numbers="missing")
    body = CSV.splitlines()[0] + "\nabc,70.5,,,2,True\n"
    assert values(predict(lenient, body)) == cell(predict, "tenure", "")


@pytest.mark.parametrize("text", ["01", "1", "NA", '"Nord, Süd"'])
def test_categories_are_told_apart_by_their_exact_text(predict, text):
    found = cell(predict, "region", text)
    assert found == json_cell(predict, "region", text.strip('"'))


def test_zeros_and_spaces_make_other_categories(predict):
    regions = ["01", "1", "NA", " spaced ", ""]
    assert len({tuple(cell(predict, "region", text)) for text in regions}) > 2
    missing = cell(predict, "region", "")
    for text in ("spaced", "001", "na", "new", "null"):
        assert cell(predict, "region", text) == missing


@pytest.mark.parametrize("text", ["2", "2.0", " 2", "02", "2e0", "+2"])
def test_categories_that_are_numbers_are_told_apart_by_value(predict, text):
    assert cell(predict, "plan", text) == json_cell(predict, "plan", 2)
    assert json_cell(predict, "plan", text) == json_cell(predict, "plan", 2.0)


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "1", "1.0"])
def test_categories_that_are_booleans(predict, text):
    assert cell(predict, "senior", text) == json_cell(predict, "senior", True)
    assert json_cell(predict, "senior", 1) == json_cell(predict, "senior", True)


def test_newlines_inside_quotes_are_part_of_the_cell(predict):
    body = "note," + CSV.replace("\n12,", '\n"one\ntwo\r\nthree",12,').replace(
        "\n,18", "\nx,,18"
    ).replace("\n48", "\ny,48")
    query = "passthroughColumns=note"
    rows = json.loads(predict("churn", body.encode(), query=query).data)["data"]
    notes = [row["passthroughValues"]["note"] for row in rows]
    assert notes == ["one\ntwo\r\nthree", "x", "y"]


@pytest.mark.parametrize("times", [1, 1000])
def test_byte_order_mark_in_a_row_is_a_character(predict, times):
    header, *lines = CSV.splitlines()
    columns = ["note", *header.split(",")]
    body = "\ufeff" + ",".join(columns) + "\n" + f"\ufeffa,{lines[0]}\n" * times
    answer = predict("churn", body.encode(), query="passthroughColumns=note")
    rows = json.loads(answer.data)["data"]
    assert {row["passthroughValues"]["note"] for row in rows} == {"\ufeffa"}


def test_very_wide_and_very_long_bodies(predict, expected):
    extra = "".join(f",c{number}" for number in range(5000))
    cells = "," * 5000
    header, *lines = CSV.splitlines()
    wide = "\n".join([header + extra, *(line + cells for line in lines)])
    assert values(predict("churn", wide.encode())) == expected
    long = "\n".join([header, *(lines * 5000)])
    assert values(predict("churn", long.encode())) == expected * 5000
    body = json.dumps(RECORDS * 5000)
    assert values(predict("churn", body, "application/json")) == expected * 5000


def test_very_long_cell(predict):
    note = "ü" * 300_000
    header, first, *_ = CSV.splitlines()
    body = f"{header},note\n{first},{note}\n".encode()
    answer = predict("churn", body, query="passthroughColumns=note")
    [row] = json.loads(answer.data)["data"]
    assert row["passthroughValues"]["note"] == note
