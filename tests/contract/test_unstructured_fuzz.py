"""Bodies and types of every kind, at graphs and at a hook: never an error of ours."""

from __future__ import annotations

import io
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.unstructured_models import GRAPHS

KINDS = st.sampled_from(
    [
        *("application/json", "application/x-npy", "application/x-npz", None),
        *("text/plain", "text/plain; charset=utf-16", "image/png", "text/csv"),
        *("text/plain; charset=base64", "application/octet-stream", "multipart/x"),
        *("application/x.peltarion.npy", "application/x-www-form-urlencoded"),
    ]
) | st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=60)


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


ARRAYS = arrays.arrays(
    st.sampled_from(["f4", "f8", "i8", "?", "u1", ">f4", "f2"]).map(np.dtype),
    arrays.array_shapes(max_dims=4, max_side=9, min_side=1),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["shape", "data", "x", "steps", "text", "series"]), inner
        )
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(min_size=1, max_size=200),
    ARRAYS.map(npy_of),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60).map(lambda rest: b"\x93NUMPY" + rest),
    st.binary(max_size=60).map(lambda rest: b"PK\x03\x04" + rest),
)
STATUSES = {200, 413, 415, 422}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(GRAPHS), BODIES, KINDS)
def test_graphs_answer_or_refuse(send, name, body, kind):
    answer = send(name, body, kind)
    assert answer.status_code in STATUSES, answer.data
    if answer.status_code != 200:
        assert answer.json["message"]


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), KINDS)
def test_hooks_answer_what_was_sent(send, body, kind):
    if kind in ("application/x-way", "application/x-about"):
        return
    answer = send("ways", body, kind)
    assert answer.status_code in (200, 422), answer.data
    assert answer.headers["Content-Type"]
