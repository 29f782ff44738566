"""The series that a model was trained on, in its bundle and out of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bundle import SERIES, BundleRejected
from backends.features import read_text
from backends.timeseries import known_series
from backends.timeseries.known_series import read, write


def test_distinct_ids_are_kept_in_order(tmp_path: Path) -> None:
    write(tmp_path, iter(["Łódź", "b", "a b", "b", '"a"']))
    text = '{"series": [\n"\\"a\\"",\n"a b",\n"b",\n"Łódź"\n]}\n'
    assert (tmp_path / SERIES).read_text(encoding="utf-8") == text
    assert read(tmp_path) == {"Łódź", "b", "a b", '"a"'}


def test_number_and_its_text_are_one_series(tmp_path: Path) -> None:
    write(tmp_path, [1, "1", 10, 2, 1.5, True, "007"])
    assert json.loads((tmp_path / SERIES).read_text())["series"] == [
        *("007", "1", "1.5", "10", "2", "True")
    ]


def test_bundle_without_a_list_tells_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) is None


LABELS = st.text(st.characters(codec="utf-8")) | st.integers() | st.floats()


@given(st.lists(LABELS.filter(read_text), min_size=1))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str | float]
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    write(folder, labels)
    assert read(folder) == set(map(read_text, labels))
    whole = (folder / SERIES).read_bytes()
    write(folder, labels[::-1])
    assert (folder / SERIES).read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "recursion"),
        (b"[]", "an object with a list"),
        (b"{}", "an object with a list"),
        (b'{"series": ["a"], "more": 1}', "an object with a list"),
        (b'{"series": {"a": 1}}', "the series are a list"),
        (b'{"series": []}', "one series or more"),
        (b'{"series": [1]}', "the id of a series is a text"),
        (b'{"series": ["a", null]}', "the id of a series is a text"),
        (b'{"series": ["", "a"]}', "a series has no id"),
        (b'{"series": ["b", "a"]}', "'a' stands behind 'b'"),
        (b'{"series": ["a", "a"]}', "'a' stands behind 'a'"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / SERIES).write_bytes(content)
    with pytest.raises(BundleRejected, match=f"^series.json: .*{text}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([], "one series or more"),
        (["a", ""], "a series has no id"),
        ([1.0, math.nan], "a series has no id"),
        (["\ud800"], "surrogates"),
    ],
)
def test_ids_that_cannot_be_kept_are_refused(
    tmp_path: Path, labels: list[str | float], text: str
) -> None:
    with pytest.raises(BundleRejected, match=f"^series.json: .*{text}"):
        write(tmp_path, labels)
    assert read(tmp_path) is None


def test_more_series_than_there_may_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "abc")
    monkeypatch.setattr(known_series, "MOST_SERIES", 2)
    with pytest.raises(BundleRejected, match="3 series, more than 2$"):
        read(tmp_path)
    with pytest.raises(BundleRejected, match="3 series, more than 2$"):
        write(tmp_path, [1, 2, 3])


def test_larger_list_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SERIES).write_bytes(b"{" * 100)
    monkeypatch.setattr(known_series, "_MAX_BYTES", 99)
    with pytest.raises(BundleRejected, match="larger than 99 bytes"):
        read(tmp_path)
    with pytest.raises(BundleRejected, match="larger than 99 bytes"):
        write(tmp_path, ["a" * 90])
