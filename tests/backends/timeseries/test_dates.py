"""Dates are what strptime makes of them, one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.timeseries.dates import DateFormat

# All of full width and only digits; the others are left to strptime.
FAST = [
    *("%Y-%m-%d", "%m/%d/%y", "%Y%m%d", "%d.%m.%Y %H:%M", "%Y", "%Y-%m", "%y%m%d%H"),
    *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%H:%M:%S %d %m %y", "%Y年%m月"),
    *("100%% %Y-%m-%d", " %Y  %m\t%d ", "[%Y] (%m)+%d?", "%f%S%M%H%d%m%Y", "%M%Y9%d"),
]
SLOW = [
    *("%d %b %Y", "%B %d, %Y", "%A %Y-%m-%d", "%Y-%m-%d %I:%M %p", "%Y-%j", "%c", "%x"),
    *("%G-W%V-%u", "%Y %U %w", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M %Z", "%y %Y"),
]
UNUSABLE = [
    *("", "monthly", "%m/%d", "%H:%M", "%Y-%U", "%G-W%V", "%Q", "%Y-%", "%Y %Y", "%F"),
    *(
        "%Y" + "%%" * 130,
        "%Y-%m-%d %I:%M",
        "%-d/%m/%Y",
        "%C%y",
        "%j",
        "%Y\0",
        "%Y \ud800",
    ),
]
EDGES = [
    *(
        "1899-12-31",
        "1900-01-01",
        "2262-04-11",
        "2262-04-12",
        "2000-02-29",
        "1900-02-29",
    ),
    *(
        "2024-02-30",
        "2023-02-29",
        "2024-04-31",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
    ),
    *("0000-01-01", "0001-01-01", "9999-12-31", "2024-1-1", "2024-01- 1", "٢٠٢٤-01-01"),
    *(
        "2024-01-0\u0661",
        "2024-01-01\0",
        "2024-01-01\n",
        " 2024-01-01",
        "2024-01-1",
        "",
    ),
    *("2024/01/01", "2024-01-0\ud800", "2024-01-0:", "2024-01-0/", "-024-01-01"),
]

times = st.datetimes(datetime(1890, 1, 1), datetime(2270, 1, 1))
# Digits of other scripts among them: strptime reads some.
characters = (
    st.sampled_from("0123456789٣७³ :/-.TtZzS+%\0\nAPMapmſ\ud800") | st.characters()
)


def up_to(high: int) -> st.SearchStrategy[int]:
    return st.integers(0, high)


def by_strptime(text: str, format: str) -> np.datetime64:
    try:
        time = datetime.strptime(text, format)
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return np.datetime64("NaT", "us")
    if not datetime(1900, 1, 1) <= time <= datetime(2262, 4, 11, 23, 47, 16):
        return np.datetime64("NaT", "us")
    return np.datetime64(time, "us")


def assert_as_strptime(texts: list[str], format: str) -> None:
    parsed = DateFormat(format).parse(texts)
    assert parsed.dtype == np.dtype("datetime64[us]")
    expected = np.array([by_strptime(each, format) for each in texts], "datetime64[us]")
    np.testing.assert_array_equal(parsed, expected)


@st.composite
def mangled(draw: st.DrawFn, format: str) -> str:
    """A printed time with a few characters replaced, put in or left out."""
    text = list(draw(times).replace(tzinfo=UTC).strftime(format))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        text[start : start + draw(st.integers(0, 1))] = draw(
            st.lists(characters, max_size=1)
        )
    return "".join(text)


@given(st.data(), st.sampled_from([*FAST, *SLOW]))
def test_any_text_is_parsed_as_strptime_does(data: st.DataObject, format: str) -> None:
    assert_as_strptime(
        data.draw(st.lists(mangled(format) | st.text(), max_size=8)), format
    )


@given(up_to(9999), st.tuples(*map(up_to, (13, 32, 25, 62, 62))))
def test_any_number_is_parsed_as_strptime_does(
    year: int, others: tuple[int, ...]
) -> None:
    text = f"{year:04}" + "".join(f"{each:02}" for each in others)
    assert_as_strptime([text], "%Y%m%d%H%M%S")
    assert_as_strptime([text[2:]], "%y%m%d%H%M%S")


@pytest.mark.parametrize("text", EDGES)
def test_edge_is_parsed_as_strptime_does(text: str) -> None:
    assert_as_strptime([text, "2024-01-01"], "%Y-%m-%d")


@pytest.mark.parametrize("year", range(100))
def test_year_of_two_digits_is_in_the_century_of_strptime(year: int) -> None:
    assert_as_strptime([f"02/29/{year:02}", f"02/28/{year:02}"], "%m/%d/%y")


def test_every_day_is_parsed_as_strptime_does() -> None:
    texts = [f"{month:02}{day:02}2023" for month in range(14) for day in range(33)]
    assert_as_strptime(texts, "%m%d%Y")


def test_leap_second_is_parsed_as_strptime_does() -> None:
    seconds = [f"2016-12-31 23:59:{second}" for second in range(58, 63)]
    assert_as_strptime(seconds, "%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("format", [*FAST, *SLOW])
def test_usable_format_gives_back_what_it_prints(format: str) -> None:
    dates = DateFormat(format)
    printed = dates.format(datetime(2024, 2, 29, 13, 30))
    (parsed,) = dates.parse([printed])
    assert dates.format(parsed) == printed


@pytest.mark.parametrize("format", UNUSABLE)
def test_unusable_format_is_refused_in_a_sentence(format: str) -> None:
    with pytest.raises(ValueError, match=r"the format .*(has|can)"):
        DateFormat(format)


def test_time_with_an_offset_is_brought_to_utc() -> None:
    dates = DateFormat("%Y-%m-%dT%H:%M%z")
    (time,) = dates.parse(["2024-01-01T01:30+02:00"])
    assert time == np.datetime64("2023-12-31T23:30")
    assert dates.format(time) == "2023-12-31T23:30+0000"


def test_offset_that_leaves_the_calendar_is_no_date() -> None:
    assert np.isnat(DateFormat("%Y%z").parse(["0001+0100", "9999-0100"])).all()


def test_last_second_is_whole() -> None:
    last = "2262-04-11T23:47:16."
    times = DateFormat("%Y-%m-%dT%H:%M:%S.%f").parse([f"{last}000000", f"{last}000001"])
    assert np.isnat(times).tolist() == [False, True]


def test_time_is_printed_from_either_type() -> None:
    dates = DateFormat("%m/%d/%y %H")
    moment = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=3)))
    assert dates.format(moment) == "12/31/23 23"
    assert dates.format(moment.replace(tzinfo=None)) == "01/01/24 02"
    assert dates.format(np.datetime64("2024-01-01T02", "ns")) == "01/01/24 02"


def test_no_time_is_not_printed() -> None:
    with pytest.raises(ValueError, match="cannot be printed"):
        DateFormat("%Y").format(np.datetime64("NaT", "us"))


def test_no_text_has_no_time() -> None:
    assert DateFormat("%Y-%m-%d").parse([]).shape == (0,)
