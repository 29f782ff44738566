"""Which rows are forecast from where, and what is said of rows that are not enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.timeseries.window import Asked, Limits, Plan, plan
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.refusals import (
    ForecastRefused,
    ForecastTooLarge,
    HistoryTooShort,
    KnownInAdvanceMissing,
    NoRowsToPredict,
    NoValidOutputRows,
)
from backends.timeseries.spec import Spec
from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.random_specs import cases, panel_of
from tests.backends.trees.effort import effort

NO_LIMITS = Limits(forecasts=10**6, cells=10**7)
# Rows of a series with a target and of those after it, without one.
KNOWN, AHEAD = 12, 6


def spec_of(**changes: Any) -> Spec:
    return load_spec(
        {
            "version": 1,
            "target": "sales",
            "targetType": "Regression",
            "datetimeColumn": "Time",
            "datetimeFormat": "%m/%d/%y",
            "seriesIdColumn": "shop",
            "featureDerivationWindow": {"start": -3, "end": 0},
            "forecastWindow": {"start": 1, "end": 3},
            "features": [{"name": "lag", "op": "lag"}],
        }
        | changes
    )


def day(number: int) -> datetime:
    """Day 1 is 2008-10-01."""
    return datetime(2008, 9, 30) + timedelta(days=number)


def row(number: int, target: float | None = 1.0, shop: str = "a", **more: Any) -> Any:
    return {"Time": f"{day(number):%m/%d/%y}", "sales": target, "shop": shop} | more


def rows(
    shop: str = "a", known: int = KNOWN, ahead: int = AHEAD, first: int = 1
) -> list[Any]:
    """Days from the first one: some with a target, and some more without."""
    targets = [*(float(each) for each in range(known)), *([None] * ahead)]
    return [row(first + each, target, shop) for each, target in enumerate(targets)]


def planned(
    records: Sequence[Any],
    spec: Spec | None = None,
    limits: Limits = NO_LIMITS,
    *,
    allow_partial: bool = False,
    **asked: Any,
) -> Plan:
    panel = panel_of(records, spec or spec_of())
    return plan(panel, Asked(**asked), limits, allow_partial=allow_partial)


def told(found: Plan) -> list[tuple[str, str, str, int]]:
    """Series, forecast point, timestamp and distance of each forecast, in its order."""
    panel = found.panel
    return [
        (
            str(panel.labels[series]),
            str(point.astype("datetime64[D]"))[5:],
            str(panel.times[row].astype("datetime64[D]"))[5:],
            int(distance),
        )
        for series, point, row, distance in zip(
            found.pairs.series,
            found.forecast_points,
            found.pairs.rows,
            found.pairs.distances,
            strict=True,
        )
    ]


def refused(kind: type[Exception], *arguments: Any, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(*arguments, **more)
    return str(caught.value)


HISTORY = (
    "The following errors are found:\n • The prediction data must contain historical"
    " values spanning more than {} into the past. In addition, the target cannot have"
    " missing values or missing rows which are used for differencing"
)


def no_rows(point: str, first: str, last: str) -> str:
    return (
        f"Based on the forecast point ({point}), there are no rows to predict that fall"
        f" inside of the forecast window ({first} to {last}). Try adjusting the"
        " forecast point to an earlier date or appending new future rows to the data."
    )


# ---- The forecast point


def test_newest_target_is_the_forecast_point() -> None:
    assert told(planned(rows())) == [
        ("a", "10-12", "10-13", 1),
        ("a", "10-12", "10-14", 2),
        ("a", "10-12", "10-15", 3),
    ]


def test_blind_history_moves_the_forecast_point() -> None:
    # The last three days are not known yet.
    spec = spec_of(featureDerivationWindow={"start": -5, "end": -3})
    found = told(planned(rows(known=12), spec))
    assert found[0] == ("a", "10-15", "10-16", 1)
    assert len(found) == 3


def test_all_series_have_one_forecast_point() -> None:
    records = rows("b", known=10, ahead=8) + rows("a", known=12)
    found = told(planned(records))
    # In the order of their first rows, although one ends earlier.
    assert [each[0] for each in found] == ["b"] * 3 + ["a"] * 3
    assert {each[1] for each in found} == {"10-12"}
    assert [each[3] for each in found] == [1, 2, 3, 1, 2, 3]


def test_order_is_by_series_and_distance_whatever_that_of_the_rows() -> None:
    records = rows("b") + rows("a")
    expected = told(planned(records))
    random = np.random.default_rng(2)
    for _ in range(5):
        random.shuffle(records)
        records.sort(key=lambda each: each["shop"], reverse=True)
        assert told(planned(records)) == expected
    random.shuffle(records)
    first = records[0]["shop"]
    found = planned(records)
    assert told(found)[0][0] == first
    assert sorted(told(found)) == sorted(expected)
    # Row numbers are those of the whole request.
    for number, each in zip(found.pairs.rows, told(found), strict=True):
        assert records[number]["Time"][:5].replace("/", "-") == each[2]
        assert records[number]["shop"] == each[0]


def test_asked_forecast_point_is_taken_though_targets_follow() -> None:
    found = told(planned(rows(), forecast_point=day(8)))
    assert found == [("a", "10-08", f"10-{8 + each:02}", each) for each in (1, 2, 3)]


def test_forecast_point_between_two_steps_is_the_one_before() -> None:
    found = planned(rows(), forecast_point=day(8) + timedelta(hours=23, minutes=59))
    assert told(found)[0] == ("a", "10-08", "10-09", 1)
    assert str(found.forecast_points[0]) == "2008-10-08T00:00:00.000000"


@pytest.mark.parametrize("step", [2, 3])
def test_forecast_point_between_two_steps_of_several_days(step: int) -> None:
    records = [row(1 + step * each, float(each)) for each in range(9)]
    spec = spec_of(timeStep=step)
    for after in range(step):
        moment = day(1 + step * 5) + timedelta(days=after)
        found = planned(records, spec, forecast_point=moment)
        assert found.forecast_points[0] == np.datetime64(day(1 + step * 5))
        assert found.pairs.distances.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("days", "asked", "point"),
    [
        (["01-31", "02-29", "03-31", "04-30", "05-31"], "04-30", "04-30"),
        (["01-31", "02-29", "03-31", "04-30", "05-31"], "05-15", "04-30"),
        (["01-31", "02-29", "03-31", "04-30", "05-31"], "05-30", "04-30"),
        (["01-01", "02-01", "03-01", "04-01", "05-01"], "04-30", "04-01"),
        (["01-15", "02-15", "03-15", "04-15", "05-15"], "05-14", "04-15"),
    ],
)
def test_forecast_point_between_two_months_is_the_one_before(
    days: list[str], asked: str, point: str
) -> None:
    # What is dated after the forecast point is not known there.
    spec = spec_of(
        timeUnit="MONTH",
        datetimeFormat="%Y-%m-%d",
        forecastWindow={"start": 1, "end": 1},
    )
    records = [
        {"Time": f"2024-{each}", "sales": float(place), "shop": "a"}
        for place, each in enumerate(days)
    ]
    moment = datetime.fromisoformat(f"2024-{asked}")
    found = told(planned(records, spec, forecast_point=moment))
    assert found == [("a", point, days[days.index(point) + 1], 1)]


def test_forecast_point_without_a_row_is_what_the_clock_says() -> None:
    records = [each for each in rows() if each["Time"] != "10/08/08"]
    assert told(planned(records, forecast_point=day(8)))[0] == (
        *("a", "10-08", "10-09", 1),
    )


def test_gap_before_the_forecast_window_is_left_out() -> None:
    spec = spec_of(forecastWindow={"start": 3, "end": 4})
    assert [each[2:] for each in told(planned(rows(), spec))] == [
        ("10-15", 3),
        ("10-16", 4),
    ]


# ---- Rows as steps


def by_rows(**changes: Any) -> Spec:
    return spec_of(windowsBasisUnit="ROW", **changes)


def at_days(shop: str, known: Sequence[int], ahead: Sequence[int]) -> list[Any]:
    found = [row(number, float(number), shop) for number in known]
    return found + [row(number, None, shop) for number in ahead]


def test_rows_of_a_month_have_one_forecast_point_in_any_order() -> None:
    spec = spec_of(timeUnit="MONTH", datetimeFormat="%Y-%m-%d")
    records = [
        {"Time": f"2024-{month:02d}-{day}", "sales": float(month), "shop": shop}
        for shop, day in (("a", 15), ("b", 28))
        for month in range(1, 9)
    ]
    for point in (datetime(2024, 5, 20), datetime(2024, 5, 28), None):
        asked = {"forecast_point": point}
        for each in records:
            each["sales"] = (
                None if point is None and each["Time"] > "2024-05-30" else 1.0
            )
        found = [planned(rows, spec, **asked) for rows in (records, records[::-1])]
        points = {str(each.forecast_points[0])[:10] for each in found}
        # Nothing after the point is looked at: the 28th is not known on the 20th.
        assert points == {
            "2024-04-28" if point == datetime(2024, 5, 20) else "2024-05-28"
        }
        first, second = (sorted(told(each)) for each in found)
        assert first == second


def test_point_behind_rows_to_come_is_the_same_in_any_order() -> None:
    spec = by_rows(featureDerivationWindow={"start": -4, "end": -2})
    records = at_days("a", [1, 2, 5, 9], [15, 16, 30]) + at_days(
        "b", [1, 2, 8, 9], [11, 12, 13]
    )
    first, second = (told(planned(rows, spec)) for rows in (records, records[::-1]))
    assert sorted(first) == sorted(second)


def test_a_series_without_a_target_in_its_window_has_no_history() -> None:
    silent = [{**each, "sales": None} for each in rows("b")]
    assert refused(HistoryTooShort, rows() + silent) == HISTORY.format("3 day(s)")
    assert planned(rows() + silent, allow_partial=True)
    # It ended before the window began.
    ended = rows("b", ahead=0, known=9) + rows("b", first=10, known=0, ahead=AHEAD + 3)
    assert refused(HistoryTooShort, rows() + ended)
    later = rows("b", ahead=0, known=10) + rows("b", first=11, known=0, ahead=AHEAD + 2)
    assert planned(rows() + later)


def test_a_point_that_no_series_reaches_has_no_history() -> None:
    asked = {"forecast_point": day(KNOWN + 1)}
    assert refused(HistoryTooShort, rows(), **asked) == HISTORY.format("3 day(s)")
    assert planned(rows() + rows("b", known=KNOWN + 1), **asked)


def test_steps_on_the_way_are_looked_at_once_for_each_origin() -> None:
    spec = spec_of(
        strategy="recursive",
        forecastWindow={"start": 1, "end": 400},
        knownInAdvance=["promo"],
        targetTransform=[{"op": "difference", "period": 1}],
        featureDerivationWindow={"start": -300, "end": 0},
        features=[
            {"name": "lag", "op": "lag"},
            {"name": "promo", "op": "known", "column": "promo"},
        ],
        datetimeFormat="%Y-%m-%d",
    )
    records = [
        {
            "Time": f"{day(each):%Y-%m-%d}",
            "sales": 1.0 if each < 301 else None,
            "promo": 0,
            "shop": shop,
        }
        for shop in ("a", "b")
        for each in range(701)
    ]
    looked_at = 0
    find = Grid.find

    def counted(grid: Grid, series: Any, steps: Any) -> Any:
        nonlocal looked_at
        found = find(grid, series, steps)
        looked_at += found.size
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Grid, "find", counted)
        assert len(planned(records, spec).pairs) == 800
    assert looked_at <= 2 * len(records)


def test_row_based_steps_are_the_next_rows() -> None:
    records = at_days("a", [1, 2, 5, 9, 10], [15, 16, 30, 31])
    assert told(planned(records, by_rows())) == [
        ("a", "10-10", "10-15", 1),
        ("a", "10-10", "10-16", 2),
        ("a", "10-10", "10-30", 3),
    ]


def test_row_based_series_count_from_their_own_last_rows() -> None:
    records = at_days("a", [1, 2, 5, 9], [20]) + at_days("b", [3, 4, 5, 6, 7], [8, 11])
    found = told(planned(records, by_rows()))
    assert found == [
        ("a", "10-09", "10-20", 1),
        # The 8th is before the forecast point, if without a target.
        ("b", "10-09", "10-11", 1),
    ]


def test_row_based_forecast_point_between_rows_is_kept() -> None:
    records = at_days("a", [1, 2, 5, 9, 10], [15])
    found = planned(records, by_rows(), forecast_point=day(7))
    assert told(found) == [
        ("a", "10-07", "10-09", 1),
        ("a", "10-07", "10-10", 2),
        ("a", "10-07", "10-15", 3),
    ]
    assert found.pairs.origins.tolist() == [2, 2, 2]


def test_row_based_blind_history_moves_by_rows() -> None:
    spec = by_rows(featureDerivationWindow={"start": -4, "end": -2})
    records = at_days("a", [1, 2, 5, 9], [11, 15, 16])
    assert told(planned(records, spec)) == [("a", "10-15", "10-16", 1)]


# ---- Too few rows


def test_rows_in_the_forecast_window_are_never_made_up() -> None:
    spec = spec_of(forecastWindow={"start": 1, "end": 7})
    text = refused(NoRowsToPredict, rows(known=26, ahead=0), spec)
    assert text == no_rows("10/26/08", "10/27/08", "11/02/08")


def test_forecast_point_after_the_data_has_no_rows() -> None:
    text = refused(NoRowsToPredict, rows(), forecast_point=day(31))
    assert text == no_rows("10/31/08", "11/01/08", "11/03/08")


def test_forecast_point_before_the_data_has_no_history() -> None:
    text = refused(HistoryTooShort, rows(), forecast_point=day(-20))
    assert text == HISTORY.format("3 day(s)")


def test_window_in_months_is_printed_by_the_clock() -> None:
    spec = spec_of(timeUnit="MONTH", datetimeFormat="%Y-%m-%d")
    days = ["2024-01-31", "2024-02-29", "2024-03-31"]
    records = [{"Time": each, "sales": 1.0, "shop": "a"} for each in days]
    text = refused(NoRowsToPredict, records, spec)
    assert text == no_rows("2024-03-31", "2024-04-30", "2024-06-30")


@pytest.mark.parametrize("asked", [{}, {"forecast_point": day(20)}])
def test_rows_without_any_target_are_not_valid(asked: dict[str, Any]) -> None:
    text = refused(NoValidOutputRows, rows(known=0, ahead=18), **asked)
    assert text == "No valid output rows"


def test_no_target_up_to_the_forecast_point_is_not_valid() -> None:
    records = rows(known=0, ahead=8) + rows(first=9)
    assert "valid" in refused(NoValidOutputRows, records, forecast_point=day(6))


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_history_has_to_span_the_derivation_window(strategy: str) -> None:
    spec = spec_of(strategy=strategy)
    for known in (3, 4):
        assert len(planned(rows(known=known), spec).pairs) == 3
    assert refused(HistoryTooShort, rows(known=2), spec) == HISTORY.format("3 day(s)")


def test_steps_in_the_middle_may_be_missing() -> None:
    records = [each for each in rows() if each["Time"] != "10/11/08"]
    assert len(planned(records).pairs) == 3


def test_history_is_told_in_units_of_time() -> None:
    spec = spec_of(timeUnit="HOUR", timeStep=6, datetimeFormat="%Y-%m-%d %H")
    records = [
        {"Time": f"2024-01-01 {hour:02}", "sales": target, "shop": "a"}
        for hour, target in ((0, 1.0), (6, 2.0), (12, None))
    ]
    assert refused(HistoryTooShort, records, spec) == HISTORY.format("18 hour(s)")
    rowwise = by_rows(timeUnit="HOUR", timeStep=6, datetimeFormat="%Y-%m-%d %H")
    assert refused(HistoryTooShort, records, rowwise) == HISTORY.format("3 row(s)")


def test_differences_widen_the_history_that_is_asked_for() -> None:
    spec = spec_of(
        strategy="recursive",
        featureDerivationWindow={"start": -28, "end": 0},
        targetTransform=[{"op": "difference", "period": 7}],
    )
    text = refused(HistoryTooShort, rows(known=34), spec)
    assert text == HISTORY.format("35 day(s)")
    assert len(planned(rows(known=35), spec).pairs) == 3


def test_one_short_series_refuses_all_unless_a_part_will_do() -> None:
    records = rows("a") + rows("b", known=2, first=11)
    assert refused(HistoryTooShort, records) == HISTORY.format("3 day(s)")
    found = told(planned(records, allow_partial=True))
    assert [each[0] for each in found] == ["a"] * 3 + ["b"] * 3


def test_series_without_rows_to_predict_need_no_history() -> None:
    records = rows("a") + rows("b", known=1, ahead=0, first=12)
    assert {each[0] for each in told(planned(records))} == {"a"}


@pytest.mark.parametrize("how", ["blank", "absent"])
@pytest.mark.parametrize("allow_partial", [False, True])
def test_missing_baseline_is_refused(how: str, allow_partial: bool) -> None:
    spec = spec_of(
        featureDerivationWindow={"start": -7, "end": 0},
        targetTransform=[{"op": "baseline", "period": 7}],
    )

    def without(number: int) -> list[Any]:
        changed = rows()
        if how == "blank":
            changed[number - 1]["sales"] = None
        else:
            del changed[number - 1]
        return changed

    for number in (6, 7, 8):
        text = refused(
            HistoryTooShort, without(number), spec, allow_partial=allow_partial
        )
        assert text == HISTORY.format("7 day(s)")
    # Of days that are not added back a missing one is just missing.
    for number in (9, 10, 11):
        assert len(planned(without(number), spec).pairs) == 3


@pytest.mark.parametrize("source", ["raw", "transformed"])
def test_missing_target_under_a_difference_is_refused(source: str) -> None:
    spec = spec_of(
        strategy="recursive",
        featureDerivationWindow={"start": -2, "end": 0},
        targetTransform=[{"op": "difference", "period": 4}],
        features=[{"name": "lag", "op": "lag", "offset": -1, "source": source}],
    )
    for number in range(1, 13):
        changed = rows()
        changed[number - 1]["sales"] = None
        # The 9th to 12th undo the difference of the 13th to 15th; the 11th less the
        # 7th, and what comes after, are features.
        needed = number >= 9 if source == "raw" else number >= 7
        if number == 12:
            # Then the forecast point is the 11th.
            changed[number - 1]["sales"] = None
            found = {"forecast_point": day(12)}
        else:
            found = {}
        if needed:
            text = refused(HistoryTooShort, changed, spec, **found)
            assert text == HISTORY.format("6 day(s)")
        else:
            assert len(planned(changed, spec, **found).pairs) == 3


# ---- Known in advance


def promoted(missing: Sequence[int], **more: Any) -> tuple[list[Any], Spec]:
    spec = spec_of(
        knownInAdvance=["promo", "event"],
        features=[{"name": "promo", "op": "known", "column": "promo"}],
        **more,
    )
    found = [each | {"promo": 1.0, "event": 0.0} for each in rows()]
    for number in missing:
        found[number - 1]["promo"] = None
    return found, spec


def test_missing_value_in_the_forecast_window_is_refused() -> None:
    records, spec = promoted([14])
    text = refused(KnownInAdvanceMissing, records, spec)
    assert text == (
        "The following known in advance features have missing values in the forecast"
        " window: promo. Provide the values, or pass"
        " relaxKnownInAdvanceFeaturesCheck=true."
    )
    assert len(planned(records, spec, relax_known_in_advance=True).pairs) == 3
    records[12]["event"] = None
    assert "window: promo, event." in refused(KnownInAdvanceMissing, records, spec)


@pytest.mark.parametrize("missing", [[1, 2], [12], [16, 17]])
def test_missing_value_outside_the_forecast_window_is_allowed(
    missing: list[int],
) -> None:
    records, spec = promoted(missing)
    assert len(planned(records, spec).pairs) == 3


def test_steps_on_the_way_of_a_recursion_are_predicted_too() -> None:
    window = {"start": 3, "end": 3}
    records, spec = promoted([14], forecastWindow=window, strategy="recursive")
    assert "promo" in refused(KnownInAdvanceMissing, records, spec)
    records, direct = promoted([14], forecastWindow=window)
    assert len(planned(records, direct).pairs) == 1
    # So are those that are not in the rows.
    records, spec = promoted([], forecastWindow=window, strategy="recursive")
    del records[13]
    assert "promo" in refused(KnownInAdvanceMissing, records, spec)


# ---- Every possible forecast point


def test_range_has_its_start_and_not_its_end() -> None:
    found = told(planned(rows(), start=day(9), end=day(11)))
    assert found == [
        ("a", "10-08", "10-09", 1),
        ("a", "10-07", "10-09", 2),
        ("a", "10-06", "10-09", 3),
        ("a", "10-09", "10-10", 1),
        ("a", "10-08", "10-10", 2),
        ("a", "10-07", "10-10", 3),
    ]


def test_edges_are_moments_and_not_days() -> None:
    minute = timedelta(minutes=1)
    found = told(planned(rows(), start=day(9) + minute, end=day(10) + minute))
    assert {each[2] for each in found} == {"10-10"}


EVERYTHING = {
    "start": datetime(1900, 1, 1),
    "end": datetime(2262, 4, 11, 23, 47, 16, 854775),
}


def by_hand(
    known: int, total: int, history: int, window: range, end: int = 0
) -> set[tuple[int, int]]:
    """Day of the row and distance of all that is possible."""
    return {
        (number, ahead)
        for number in range(1, total + 1)
        for ahead in window
        # History up to the forecast point, the newest derived step has been.
        if number - ahead - history + 1 >= 1 and number - ahead + end <= known
    }


@pytest.mark.parametrize("end", [0, -2])
@pytest.mark.parametrize("first", [1, 2])
def test_all_possible_forecast_points_are_taken(end: int, first: int) -> None:
    spec = spec_of(
        featureDerivationWindow={"start": -4, "end": end},
        forecastWindow={"start": first, "end": 3},
    )
    found = planned(rows(), spec, **EVERYTHING)
    got = [
        (int(found.panel.steps[row]) + 1, int(distance))
        for row, distance in zip(found.pairs.rows, found.pairs.distances, strict=True)
    ]
    assert len(got) == len(set(got))
    assert set(got) == by_hand(KNOWN, KNOWN + AHEAD, 4, range(first, 4), end)


def test_rows_without_enough_history_are_left_out() -> None:
    records = rows("a") + rows("b", known=2, ahead=1, first=5)
    found = told(planned(records, **EVERYTHING))
    assert {each[0] for each in found} == {"a"}
    more = told(planned(records, allow_partial=True, **EVERYTHING))
    assert {each[0] for each in more} == {"a", "b"}
    # From the first row of a series on there is some history.
    assert ("b", "10-05", "10-06", 1) in more
    assert all(each[1] >= "10-05" for each in more if each[0] == "b")


def test_bulk_without_enough_history_anywhere_is_refused() -> None:
    text = refused(HistoryTooShort, rows(known=2, ahead=1), **EVERYTHING)
    assert text == HISTORY.format("3 day(s)")


def test_range_without_rows_is_not_valid() -> None:
    assert refused(NoValidOutputRows, rows(), start=day(40), end=day(50))


def test_bulk_leaves_out_what_lacks_its_baseline() -> None:
    spec = spec_of(
        featureDerivationWindow={"start": -7, "end": 0},
        targetTransform=[{"op": "baseline", "period": 7}],
    )
    records = rows()
    records[3]["sales"] = None
    everything = set(told(planned(rows(), spec, **EVERYTHING)))
    found = set(told(planned(records, spec, **EVERYTHING)))
    # The 4th is what the 11th is added to, from every forecast point.
    assert everything - found == {each for each in everything if each[2] == "10-11"}


def test_bulk_refuses_what_is_not_known_in_advance() -> None:
    records, spec = promoted([5])
    assert "promo" in refused(KnownInAdvanceMissing, records, spec, **EVERYTHING)
    assert planned(records, spec, relax_known_in_advance=True, **EVERYTHING)
    # No forecast is made for the first days.
    records, spec = promoted([1, 2, 3])
    assert planned(records, spec, **EVERYTHING)


@pytest.mark.parametrize(
    ("categories", "told", "missing"),
    [
        (["wet", "dry"], ["wet", "snow", 5], ["", None, "null", float("nan")]),
        ([1, 2], ["1", 1.0, 7, "8.0"], ["", None, "NaN", " "]),
        # What no feature uses may be anything.
        (None, ["wet", 5, "null", [1]], ["", None]),
    ],
)
def test_level_that_nobody_knows_is_known_in_advance(
    categories: list[Any] | None, told: list[Any], missing: list[Any]
) -> None:
    features = [{"name": "lag", "op": "lag"}]
    if categories is not None:
        known = {"name": "w", "op": "known", "column": "w", "categories": categories}
        features.append(known)
    spec = spec_of(knownInAdvance=["w"], features=features)
    for value in told:
        records = [{**each, "w": told[0]} for each in rows()]
        records[KNOWN] |= {"w": value}
        assert planned(records, spec)
    for value in missing:
        records = [{**each, "w": told[0]} for each in rows()]
        records[KNOWN] |= {"w": value}
        assert "window: w." in refused(KnownInAdvanceMissing, records, spec)
        records[KNOWN], records[2] = {**records[KNOWN], "w": told[0]}, records[KNOWN]
        records[2] |= {key: each for key, each in rows()[2].items()}
        assert planned(records, spec)


def test_row_based_bulk_has_points_of_its_rows() -> None:
    records = at_days("a", [1, 2, 5, 9, 10], [15, 16])
    found = told(planned(records, by_rows(), **EVERYTHING))
    assert found == [
        ("a", "10-05", "10-09", 1),
        ("a", "10-09", "10-10", 1),
        ("a", "10-05", "10-10", 2),
        ("a", "10-10", "10-15", 1),
        ("a", "10-09", "10-15", 2),
        ("a", "10-05", "10-15", 3),
        ("a", "10-10", "10-16", 2),
        ("a", "10-09", "10-16", 3),
    ]


# ---- Caps


def test_too_many_forecasts_are_refused_with_their_number() -> None:
    records = rows("a") + rows("b")
    limits = Limits(forecasts=5, cells=10**6)
    text = refused(ForecastTooLarge, records, limits=limits)
    assert re.search(r"\b6 forecasts, more than 5\b", text)
    assert len(planned(records, limits=Limits(6, 10**6)).pairs) == 6
    count = len(planned(records, **EVERYTHING).pairs)
    text = refused(ForecastTooLarge, records, limits=limits, **EVERYTHING)
    assert f" {count} forecasts, more than 5" in text


def test_too_long_a_span_is_refused_with_its_size() -> None:
    records = rows("a") + rows("b")
    # Three steps of history and three of forecasts, of two series.
    assert planned(records, limits=Limits(100, 12))
    text = refused(ForecastTooLarge, records, limits=Limits(100, 11))
    assert "6 steps of 2 series" in text and "12 cells, more than 11" in text
    assert refused(ForecastTooLarge, records, limits=Limits(1000, 11), **EVERYTHING)


def test_rows_of_1900_and_2262_are_not_spread_out() -> None:
    spec = spec_of(timeUnit="SECOND", datetimeFormat="%Y-%m-%dT%H:%M:%S")
    near = [
        {"Time": f"2024-01-01T00:00:{second:02}", "sales": 1.0, "shop": "a"}
        for second in range(9)
    ]
    far = [
        {"Time": each, "sales": 1.0, "shop": "a"}
        for each in ("1900-01-01T00:00:00", "2262-04-11T23:47:16")
    ]
    moment = datetime(2024, 1, 1, 0, 0, 5)
    found = planned(near + far, spec, forecast_point=moment)
    assert found.pairs.distances.tolist() == [1, 2, 3]
    limits = Limits(10**6, 10**6)
    assert refused(ForecastTooLarge, near + far, spec, limits, **EVERYTHING)


# ---- Whatever is asked for


MOMENTS = st.sampled_from(
    [
        datetime.min,
        datetime(1, 1, 2),
        datetime(1899, 12, 31),
        datetime(2262, 4, 12),
        datetime(9999, 12, 28),
        datetime.max,
    ]
) | st.datetimes(datetime(2008, 1, 1), datetime(2009, 1, 1))
UNITS = ["SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]


@pytest.mark.parametrize("basis", [None, "ROW"])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("moment", [datetime.min, datetime(1899, 12, 31), datetime.max])
def test_extreme_forecast_points_are_refused(
    unit: str, basis: str | None, moment: datetime
) -> None:
    spec = spec_of(
        timeUnit=unit,
        windowsBasisUnit=basis or unit,
        datetimeFormat="%Y-%m-%dT%H:%M:%S",
        forecastWindow={"start": 1, "end": 300},
    )
    length = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "D", "WEEK": "W"}
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
    times = np.arange(6) * months.get(unit, 1)
    if unit in length:
        first = np.datetime64("2024-01-01T00:00:00", "s")
        moments = first + times.astype(f"timedelta64[{length[unit]}]")
    else:
        moments = (np.datetime64("2024-01", "M") + times).astype("datetime64[s]")
    records = [{"Time": str(each), "sales": 1.0, "shop": "a"} for each in moments]
    with pytest.raises(ForecastRefused):
        planned(records, spec, forecast_point=moment)


@effort(120)
@given(cases(), MOMENTS, MOMENTS, st.booleans(), st.booleans(), st.booleans())
def test_anything_asked_for_is_planned_or_refused(
    case: Any,
    one: datetime,
    other: datetime,
    is_bulk: bool,
    allow_partial: bool,
    relax: bool,
) -> None:
    panel = case.panel
    asked = Asked(forecast_point=one)
    if is_bulk:
        asked = Asked(start=min(one, other), end=max(one, other))
    asked = Asked(asked.forecast_point, asked.start, asked.end, relax)
    try:
        found = plan(panel, asked, NO_LIMITS, allow_partial=allow_partial)
    except (ForecastRefused, ForecastTooLarge):
        return
    check(panel, found, case.spec, allow_partial)


@effort(120)
@given(cases(), st.booleans(), st.randoms())
def test_plans_hold_what_they_promise(
    case: Any, allow_partial: bool, random: Any
) -> None:
    panel = case.panel
    moments = sorted(random.choices(panel.times.tolist(), k=2))
    spans = (
        Asked(relax_known_in_advance=True),
        Asked(forecast_point=moments[0], relax_known_in_advance=True),
        Asked(start=moments[0], end=moments[1], relax_known_in_advance=True),
    )
    for asked in spans:
        try:
            found = plan(panel, asked, NO_LIMITS, allow_partial=allow_partial)
        except ForecastRefused:
            continue
        check(panel, found, case.spec, allow_partial)
        predicted = panel.times[found.pairs.rows]
        if asked.start is not None:
            assert (predicted >= np.datetime64(asked.start)).all()
            assert (predicted < np.datetime64(asked.end)).all()
        elif asked.forecast_point is not None:
            assert (found.forecast_points <= np.datetime64(asked.forecast_point)).all()


def check(panel: Panel, found: Plan, spec: Spec, allow_partial: bool) -> None:
    pairs, window = found.pairs, spec.forecast_window
    assert len(pairs)
    assert (pairs.series == panel.series[pairs.rows]).all()
    assert (pairs.origins + pairs.distances == panel.steps[pairs.rows]).all()
    assert (pairs.distances >= window.start).all()
    assert (pairs.distances <= window.end).all()
    assert (found.forecast_points < panel.times[pairs.rows]).all()
    order = np.lexsort((pairs.distances, panel.steps[pairs.rows], pairs.series))
    assert (order == np.arange(len(pairs))).all()
    once = set(zip(pairs.rows.tolist(), pairs.distances.tolist(), strict=True))
    assert len(once) == len(pairs)
    if not allow_partial:
        assert panel.has_history(pairs.series, pairs.origins).all()
