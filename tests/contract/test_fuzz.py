"""Broken, odd and hostile requests: refused in the documented envelope, never a 500."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import math
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.contract.effort import effort

HEADER = "tenure,monthly charge,contract,region,plan,senior"
NAMES = HEADER.split(",")
GOOD = f'{HEADER}\r\n12,70.5,One year,"Nord, Süd",2,True\r\n,18.25,,NA,3,False\r\n'
RECORD = {
    "tenure": 12,
    "monthly charge": 70.5,
    "contract": "One year",
    "region": None,
    "plan": 2,
    "senior": True,
}
GOOD_JSON = json.dumps([RECORD, {**RECORD, "tenure": None}])
BOUNDARY = "xyz"
FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"'
    f"\r\nContent-Type: text/csv\r\n\r\n{GOOD}\r\n--{BOUNDARY}--\r\n"
)
REFUSED = {400, 401, 404, 405, 406, 413, 415, 422}
thorough = effort(150)


def check(answer, refused=REFUSED) -> None:
    """An answer is whole, and a refusal says why in its envelope."""
    assert answer.status_code == 200 or answer.status_code in refused, answer.data
    kind = answer.headers["Content-Type"]
    if answer.status_code != 200:
        assert kind == "application/json"
        assert answer.data.isascii()
        body = json.loads(answer.data)
        assert list(body) == ["message"]
        assert body["message"]
        assert isinstance(body["message"], str | dict)
        return
    body = answer.data
    if answer.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    if kind == "application/json":
        rows = json.loads(body, parse_constant=lambda word: pytest.fail(word))["data"]
        assert [row["rowId"] for row in rows] == list(range(len(rows)))
        for row in rows:
            assert all(math.isfinite(v["value"]) for v in row["predictionValues"])
            told = row.get("predictionExplanations", row.get("reasonCodes", []))
            sizes = [abs(item["strength"]) for item in told]
            assert all(map(math.isfinite, sizes))
            assert all(
                {"feature", "featureValue", "label"} < set(item) for item in told
            )
    else:
        assert kind == "text/csv; charset=utf-8"
        lines = list(csv.reader(io.StringIO(body.decode(), newline="")))
        assert len({len(line) for line in lines}) == 1
        assert len(lines) > 1


def mutations(text: bytes) -> st.SearchStrategy[bytes]:
    """The text with some pieces cut out, doubled, or replaced."""
    junk = st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"{", b"}", b"[", b"]", b":"]
            + [b"\\", b"\\ud800", b"NaN", b"1e999", b"\xef\xbb\xbf", b"--xyz", b'""']
            + [b"\r\n\r\n", b"null", b"-", b"\xc3", b"[[[[[[[[", b"0" * 400]
        ),
    )
    edit = st.tuples(st.integers(0, len(text)), st.integers(0, 12), junk)

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        found = text
        for start, length, inserted in edits:
            found = found[:start] + inserted + found[start + length :]
        return found

    return st.lists(edit, min_size=1, max_size=4).map(edited)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NA", "01234", " 5 ", "1e5", "", "17.5%", 10**400, "x" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
records = st.lists(
    st.dictionaries(st.sampled_from([*NAMES, "more"]), anything, max_size=7), max_size=4
)
full_records = st.lists(
    st.fixed_dictionaries(dict.fromkeys(NAMES, anything)), min_size=1, max_size=4
)
cell = st.text(max_size=8) | st.sampled_from(
    ["1", "", "NA", "True", "-1.5e3", '"', ","]
)


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([NAMES, *rows])
    return text.getvalue().encode("utf-8", "replace")


tables = st.lists(st.lists(cell, min_size=6, max_size=6), max_size=4).map(as_csv)
bodies = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
    mutations(GOOD.encode()),
    mutations(GOOD_JSON.encode()),
    mutations(FORM.encode()),
    tables,
    (records | full_records | anything).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([GOOD, GOOD_JSON, FORM]).map(str.encode),
)
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"),
    max_size=30,
)
content_types = st.one_of(
    st.sampled_from(
        ["text/csv", "text/plain; charset=UTF-8", "application/json", "text/json", ""]
        + [f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data"]
        + ["application/octet-stream", "text/csv; charset=utf-16", "image/png"]
        + ["text/csv; charset=latin-1", "text/csv; charset=rot13", "text/csv; charset="]
        + ["text/csv; charset=utf-7", "application/json; charset=utf-32", "a/b/c", ";"]
        + [
            'text/csv; charset="',
            "text/csv; charset=zlib",
            "multipart/mixed; boundary=a",
        ]
        + ["text/csv; charset=unicode_escape", "text/csv; charset=idna"]
    ),
    header_text,
)
encodings = st.sampled_from(["", "gzip", "bz2", "identity", "br", "gzip, gzip", ","])
accepts = st.one_of(
    st.sampled_from(["", "*/*", "text/csv", "application/json", "text/html", ";q=2"]),
    header_text,
)
PARAMETERS = [
    *("passthroughColumns", "passthroughColumnsSet", "decimalsNumber"),
    *("predictionWarningEnabled", "maxExplanations", "maxCodes", "thresholdLow"),
    *("thresholdHigh", "excludeAdjustedPredictions", "explanationNumTopClasses"),
    *("explanationClassNames", "explanationAlgorithm", "maxNgramExplanations"),
    *("forecastPoint", "predictionsStartDate", "predictionsEndDate", "wd", ""),
    "relaxKnownInAdvanceFeaturesCheck",
]
VALUES = [
    *("", "0", "1", "-1", "3", "all", "true", "None", "f", "tenure", "plan", "größe"),
    *("shap", "xemp", "1e3", "nan", "inf", "9" * 5000, "2020-01-01", "\0", "\ud7ff"),
    *("2020-01-01T00:00:00Z", "1900-01-01T00:00:00.000000Z", "0001-01-01T00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "2262-04-11T23:47:16.854775+00:00", "٣"),
]
queries = st.one_of(
    st.just(""),
    st.lists(
        st.tuples(
            st.sampled_from(PARAMETERS), st.sampled_from(VALUES) | st.text(max_size=6)
        ),
        max_size=4,
    ).map(lambda pairs: urlencode(pairs, errors="replace")),
    header_text,
)


def compressed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body)
    return bz2.compress(body) if encoding == "bz2" else body


@thorough
@given(bodies, content_types, encodings, st.booleans(), queries, accepts, st.booleans())
@example(b"a,b\n1,2\n", "text/csv", "gzip", False, "", "", False)
def test_no_request_breaks_the_server(
    predict, body, kind, encoding, is_true, query, accept, is_long
):
    sent = compressed(body, encoding) if is_true else body
    answer = predict(
        "churn",
        io.BytesIO(sent) if is_long else sent,
        None,
        query=query,
        headers={"Content-Encoding": encoding, "Accept": accept, "Content-Type": kind},
    )
    check(answer)


explaining = st.lists(
    st.sampled_from(
        ["maxExplanations=2", "maxExplanations=0", "maxCodes=50", "maxExplanations=all"]
        + ["explanationAlgorithm=shap", "explanationAlgorithm=xemp", "maxCodes=x"]
        + ["thresholdLow=0.4", "thresholdHigh=0.6", "thresholdHigh=nan"]
        + ["explanationNumTopClasses=2", "explanationClassNames=S"]
        + ["explanationClassNames=gr%C3%B6%C3%9Fer", "explanationClassNames=XL"]
        + ["maxNgramExplanations=all", "excludeAdjustedPredictions=0"]
        + ["passthroughColumnsSet=all", "decimalsNumber=1", "decimalsNumber=400"]
    ),
    max_size=4,
    unique_by=lambda each: each.partition("=")[0],
).map("&".join)
OLDER = ["predict", "predictionExplanations", "reasonCodesPredictions"]


@thorough
@given(
    mutations(GOOD.encode()) | tables | st.just(GOOD.encode()),
    st.sampled_from(["churn", "price", "plan", "lenient"]),
    explaining,
    st.sampled_from(["", "text/csv"]),
)
def test_explanations_are_told_or_refused(predict, lenient, body, name, query, accept):
    deployment = lenient if name == "lenient" else name
    answer = predict(deployment, body, query=query, headers={"Accept": accept})
    check(answer, {400, 413, 422})


@thorough
@given(
    mutations(GOOD_JSON.encode())
    | full_records.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["churn", "price", "plan"]),
    explaining,
    st.sampled_from(OLDER),
    st.sampled_from(["", "text/csv"]),
)
def test_older_addresses_answer_or_refuse(
    client, site, specimens, body, name, query, route, accept
):
    path = f"{site.deployments[name]}/{specimens[name].model.id}/{route}"
    answer = client.post(
        f"/predApi/v1.0/{path}?{query}",
        data=body,
        content_type="application/json",
        headers={
            "Authorization": f"Bearer {site.tokens['ann@example.com']}",
            "Accept": accept or "*/*",
        },
    )
    check(answer, {400, 413, 422})


flowers = st.lists(
    st.lists(
        st.sampled_from(["", "0", "1e300", "-1e300", "1e-300", "inf", "nan", "1", "x"]),
        min_size=3,
        max_size=3,
    ),
    min_size=1,
    max_size=4,
).map(
    lambda rows: "\n".join(
        ["sepal length,sepal width,pétale", *(",".join(row) for row in rows)]
    ).encode()
)


@thorough
@given(
    flowers,
    st.sampled_from(["onnx-price", "onnx-iris"]),
    st.sampled_from(["maxExplanations=3", "explanationAlgorithm=shap"]),
    st.sampled_from(["", "text/csv"]),
)
def test_explanations_of_graphs_are_told_or_refused(predict, body, name, query, accept):
    answer = predict(name, body, query=query, headers={"Accept": accept})
    check(answer, {400, 413, 422})


@pytest.fixture(scope="session")
def lenient(predict) -> str:
    """A deployment that takes any text in any column."""
    deployment: str = predict.deploy("churn", invalid_numbers="missing")
    return deployment


@thorough
@given(mutations(GOOD.encode()) | tables, st.sampled_from(["", "text/csv"]))
def test_csv_is_scored_or_refused(predict, body, accept):
    answer = predict("churn", body, headers={"Accept": accept})
    check(answer, {400, 413, 422})


@thorough
@given(
    mutations(GOOD.partition("\n")[2].encode()),
    st.sampled_from(["\n", "\r\n", "\r"]).map(str.encode),
)
def test_few_and_many_rows_of_csv_are_read_alike(predict, lenient, rows, newline):
    query = "passthroughColumnsSet=all"
    head = HEADER.encode() + newline
    few = predict(lenient, head + rows, query=query)
    check(few, {400, 413, 422})
    if few.status_code != 200 or not rows.endswith(b"\n"):
        return
    times = 9000 // len(rows) + 1
    many = predict(lenient, head + rows * times, query=query)
    assert many.status_code == 200, many.data
    once = json.loads(few.data)["data"] * times
    for number, (row, expected) in enumerate(
        zip(json.loads(many.data)["data"], once, strict=True)
    ):
        assert row == {**expected, "rowId": number}


@thorough
@given(
    mutations(GOOD_JSON.encode())
    | (records | full_records | anything).map(lambda value: json.dumps(value).encode())
)
def test_json_is_scored_or_refused(predict, body):
    check(predict("price", body, "application/json"), {400, 413, 422})


@thorough
@given(full_records, st.sampled_from(["", "text/csv"]))
def test_any_value_may_be_passed_through(predict, lenient, rows, accept):
    for row in rows:
        row["more"] = row["contract"]
        row.update({name: RECORD[name] for name in NAMES})
    answer = predict(
        lenient,
        json.dumps(rows),
        "application/json",
        query="passthroughColumns=more",
        headers={"Accept": accept},
    )
    check(answer, set())


@thorough
@given(mutations(FORM.encode()))
def test_forms_are_scored_or_refused(predict, body):
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    check(predict("churn", body, kind), {400, 413, 415, 422})


@thorough
@given(st.data(), st.sampled_from(["gzip", "bz2"]))
def test_damaged_streams_are_refused(predict, data, encoding):
    whole = compressed(GOOD.encode() * 20, encoding)
    broken = data.draw(mutations(whole))
    answer = predict("churn", broken, headers={"Content-Encoding": encoding})
    check(answer, {400, 413, 422})


@thorough
@given(header_text)
def test_any_authorization_is_answered(predict, header):
    answer = predict("churn", GOOD.encode(), headers={"Authorization": header or "-"})
    check(answer, {401})
    assert answer.status_code == 401


@thorough
@given(
    st.text(max_size=40), st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "TRACE"])
)
def test_any_path_is_answered(client, site, path, method):
    header = {"Authorization": f"Bearer {site.tokens['ann@example.com']}"}
    for start in ("/", "/predApi/v1.0/deployments/", "/api/v2/deployments/"):
        for end in ("", "/predictions", "/predictionExplanations", "/x/predict"):
            encoded = start + quote(path.encode("utf-8", "replace"), safe="") + end
            answer = client.open(encoded, method=method, headers=header)
            if answer.status_code == 200:
                # Without an id it is the list of deployments.
                is_list = method == "GET" and encoded == "/api/v2/deployments/"
                assert is_list or method == "OPTIONS" or path in ("ping", "healthz")
            elif answer.status_code != 308:
                check(answer, {400, 404, 405, 422, 503})


HOSTILE: list[dict[str, Any]] = [
    {"HTTP_HOST": ""},
    {"HTTP_HOST": "a b\x01"},
    {"HTTP_HOST": "[::1"},
    {"HTTP_HOST": "host:99999999"},
    {"HTTP_X_FORWARDED_FOR": "\xff" * 100},
    {"HTTP_COOKIE": "=;==;\xff=\xfe"},
    {"HTTP_ACCEPT_ENCODING": "gzip;q=x, *;q=\xff"},
    {"HTTP_ACCEPT": ",,;,/;*/;q"},
    {"HTTP_CONTENT_ENCODING": "\xff"},
    {"HTTP_DATAROBOT_KEY": "\xff"},
    {"HTTP_RANGE": "bytes=0-1"},
    {"HTTP_IF_NONE_MATCH": "*"},
    {"HTTP_EXPECT": "100-continue"},
    {"QUERY_STRING": "\xff\xfe=%zz&%"},
    {"QUERY_STRING": "&&&;;=&="},
    {"CONTENT_TYPE": "multipart/form-data; boundary=" + "b" * 5000},
    {"CONTENT_LENGTH": "0"},
    {"CONTENT_LENGTH": "100000"},
    {"PATH_INFO": "/predApi/v1.0/deployments/\xff\xfe/predictions"},
    {"PATH_INFO": ""},
    {"PATH_INFO": "//"},
    {"REQUEST_METHOD": "BREW"},
]


@pytest.mark.parametrize("environ", HOSTILE, ids=str)
def test_hostile_environment_is_answered(client, site, environ):
    header = {"Authorization": f"Bearer {site.tokens['ann@example.com']}"}
    path = f"/predApi/v1.0/deployments/{site.deployments['churn']}/predictions"
    answer = client.post(
        path, data=GOOD.encode(), headers=header, environ_overrides=environ
    )
    check(answer)
