"""Specs of every kind with rows that fit them, for tests that try many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from backends.timeseries.panel import Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.panel_reader import PanelReader
from backends.timeseries.spec import DATE_PARTS, STATISTICS, UNITS, Spec
from backends.timeseries.spec_json import load_spec

WEATHER = ["wet", "dry", "007"]
COLOURS = ["red", "green", "blue", "grey"]
SERIES = ["b", "a", "007"]
CLASSES = {"Binary": ["no", "yes"], "Multiclass": ["low", "mid", "high"]}
CODES = ("count", "first", "last")
SHORT = ("SECOND", "MINUTE", "HOUR")
LONG = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@dataclass(frozen=True)
class Case:
    """A spec, and rows as JSON has them, in any order."""

    spec: Spec
    records: list[dict[str, Any]]

    def with_records(self, records: list[dict[str, Any]]) -> Case:
        return replace(self, records=records)

    @property
    def panel(self) -> Panel:
        return panel_of(self.records, self.spec)


def panel_of(records: Sequence[Mapping[str, Any]], spec: Spec) -> Panel:
    """Read records as a request's JSON is read."""
    decoder = PanelDecoder(spec)
    reader = PanelReader(decoder)
    names = (*decoder.texts, spec.target)
    cells = {name: [record.get(name) for record in records] for name in names}
    reader.add(cells, decoder.columns.from_records(records, refuse_invalid=False))
    return reader.finish()


# ---- Specs


@st.composite
def spec_jsons(draw: st.DrawFn, strategy: str | None = None) -> dict[str, Any]:
    strategy = strategy or draw(st.sampled_from(["direct", "recursive"]))
    is_direct = strategy == "direct"
    kinds = [
        "Regression",
        "Regression",
        *(["Binary", "Multiclass"] if is_direct else []),
    ]
    kind = draw(st.sampled_from(kinds))
    end = -draw(st.integers(0, 3)) if is_direct else 0
    start = end - draw(st.integers(1, 8))
    first = draw(st.integers(1, 3))
    last = first + draw(st.integers(0, 3))
    known = draw(st.lists(st.sampled_from(["promo", "weather"]), unique=True))
    unit = draw(st.sampled_from(UNITS))
    found: dict[str, Any] = {
        "version": 1,
        "target": "y",
        "targetType": kind,
        "datetimeColumn": "when",
        "datetimeFormat": format_of(unit),
        "timeUnit": unit,
        "timeStep": draw(st.integers(1, 3)),
        "windowsBasisUnit": draw(st.sampled_from([unit, unit, "ROW"])),
        "featureDerivationWindow": {"start": start, "end": end},
        "forecastWindow": {"start": first, "end": last},
        "knownInAdvance": known,
        "strategy": strategy,
        "calendar": draw(calendars()),
    }
    if kind != "Regression":
        found["classes"] = CLASSES[kind]
    if draw(st.booleans()):
        found["seriesIdColumn"] = "shop"
    if kind == "Regression":
        found["targetTransform"] = draw(transforms(start, end, is_direct))
    if is_direct and draw(st.booleans()):
        found["models"] = {str(each): f"h{each}.txt" for each in range(first, last + 1)}
    features = draw(st.lists(feature_jsons(found), min_size=1, max_size=6))
    found["features"] = [
        {"name": f"f{place}", **each} for place, each in enumerate(features)
    ]
    return found


def format_of(unit: str) -> str:
    if unit in SHORT:
        return "%Y-%m-%dT%H:%M:%S"
    # Of many years two digits are not enough.
    return "%m/%d/%Y" if unit in LONG else "%m/%d/%y"


def calendars() -> st.SearchStrategy[list[str]]:
    days = st.dates(
        pd.Timestamp("2023-12-25").date(), pd.Timestamp("2025-12-31").date()
    )
    return st.lists(days.map(str), unique=True, max_size=4)


@st.composite
def transforms(
    draw: st.DrawFn, start: int, end: int, is_direct: bool
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"op": "log1p"}] if draw(st.booleans()) else []
    if is_direct:
        period = draw(st.none() | st.integers(1, end - start))
        return found + ([{"op": "baseline", "period": period}] if period else [])
    periods = draw(st.lists(st.integers(1, 4), max_size=2))
    return found + [{"op": "difference", "period": period} for period in periods]


@st.composite
def feature_jsons(draw: st.DrawFn, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A feature without its name."""
    window = spec["featureDerivationWindow"]
    start, end = window["start"], window["end"]
    ops = ["lag", "rolling", "rolling", "rolling", "seasonal_lag", "static", "date"]
    if end - start > 1:
        ops.append("diff")
    if spec["knownInAdvance"]:
        ops += ["known", "known"]
    if spec["strategy"] == "direct":
        ops.append("forecast_distance")
    if spec["calendar"]:
        ops += ["is_event", "days_to_event", "days_since_event"]
    if "seriesIdColumn" in spec:
        ops.append("series_code")
    op = draw(st.sampled_from(ops))
    found: dict[str, Any] = {"op": op}
    if op == "date":
        return found | {"part": draw(st.sampled_from(DATE_PARTS))}
    if op == "series_code":
        return found | {"categories": draw(st.permutations(SERIES))[:2]}
    if op == "known":
        column = draw(st.sampled_from(spec["knownInAdvance"]))
        return found | {"column": column} | categories_of(column)
    if op not in ("lag", "rolling", "diff", "seasonal_lag", "static"):
        return found
    others = ["temp", "colour", "promo", "weather"]
    # A recursion knows nothing else after the forecast point.
    ahead = spec["forecastWindow"]["end"] - 1 if spec["strategy"] == "recursive" else 0
    newest = min(end, -ahead)
    reach = {"seasonal_lag": end, "diff": start + 2, "static": newest}
    if reach.get(op, start + 1) > newest:
        others = ["y"]
    column = draw(st.sampled_from(["y", "y", *others]))
    is_number = column in ("temp", "promo") or (
        column == "y" and spec["targetType"] != "Multiclass"
    )
    if op == "diff" and not is_number:
        column, is_number = "temp", True
    found["column"] = column
    if op != "diff":
        found |= categories_of(column)
    if column == "y" and op != "static" and draw(st.booleans()):
        found["source"] = draw(st.sampled_from(["raw", "transformed"]))
    if column != "y" and op != "static":
        end = newest
    offset = draw(st.integers(start + 1, end))
    if op == "lag" and (offset != window["end"] or draw(st.booleans())):
        found["offset"] = offset
    if op == "seasonal_lag":
        found["period"] = draw(st.integers(1, end - start))
    if op == "diff":
        found["offset"] = offset = max(offset, start + 2)
        found["period"] = draw(st.integers(1, offset - start - 1))
    if op == "rolling":
        found["end"] = offset
        found["window"] = draw(st.integers(1, offset - start))
        stats = set(STATISTICS if is_number else (*CODES, "most_frequent"))
        if is_number and column not in ("y",) or spec["targetType"] == "Regression":
            stats -= {"most_frequent"} if is_number else set()
        found["stat"] = draw(st.sampled_from(sorted(stats)))
        if draw(st.booleans()):
            found["minCount"] = draw(st.integers(1, found["window"]))
        if draw(st.booleans()):
            found["ddof"] = draw(st.integers(0, 2))
        if found["stat"] == "quantile":
            found["quantile"] = draw(st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1]))
    return found


def categories_of(column: str) -> dict[str, Any]:
    known = {"weather": WEATHER, "colour": COLOURS}
    return {"categories": known[column]} if column in known else {}


# ---- Rows


@st.composite
def cases(draw: st.DrawFn, strategy: str | None = None) -> Case:
    """A spec with 1 to 3 series, some rows and some cells missing, shuffled."""
    spec = load_spec(draw(spec_jsons(strategy)))
    seed = draw(st.integers(0, 2**32 - 1))
    anchor = draw(st.sampled_from(["start", "middle", "end"]))
    return case_of(spec, np.random.default_rng(seed), anchor)


def case_of(
    spec: Spec, random: np.random.Generator, anchor: str, gaps: float = 0.1
) -> Case:
    """anchor: where in months steps are. gaps: share of rows that are missing."""
    labels = (
        [None] if spec.series_id_column is None else SERIES[: random.integers(1, 4)]
    )
    steps = spec.history + spec.forecast_window.end + int(random.integers(2, 8))
    records = []
    for label in labels:
        begin = int(random.integers(0, 4))
        for step in taken(begin + steps, begin, random, spec, gaps):
            time = time_of(spec, anchor, int(step))
            record = cells_of(spec, random) | {
                "when": time.strftime(spec.datetime_format)
            }
            records.append(record | ({} if label is None else {"shop": label}))
    random.shuffle(records)  # type: ignore[arg-type]
    return Case(spec, records)


def taken(
    stop: int, begin: int, random: np.random.Generator, spec: Spec, gaps: float
) -> Any:
    """Which steps have rows: all but some; of a row-based spec any."""
    if spec.is_row_based:
        return np.sort(random.choice(2 * stop, stop - begin, replace=False))
    steps = np.arange(begin, stop)
    return steps[random.random(len(steps)) >= gaps]


def time_of(spec: Spec, anchor: str, step: int) -> pd.Timestamp:
    passed = step * spec.time_step
    if spec.time_unit in LONG:
        month = pd.Period("2023-11", "M") + passed * LONG[spec.time_unit]
        days = {"start": 1, "middle": 15, "end": month.days_in_month}
        return pd.Timestamp(month.year, month.month, days[anchor])
    units = {"SECOND": "s", "MINUTE": "min", "HOUR": "h", "DAY": "D", "WEEK": "W"}
    first = "2023-12-30T22:58:57" if spec.time_unit in SHORT else "2024-02-20"
    return pd.Timestamp(first) + passed * pd.Timedelta(1, units[spec.time_unit])


def cells_of(spec: Spec, random: np.random.Generator) -> dict[str, Any]:
    def sometimes(value: Any) -> Any:
        return None if random.random() < 0.1 else value

    def one_of(labels: Sequence[str]) -> Any:
        return sometimes(labels[random.integers(len(labels))])

    values: dict[str, Any] = {
        "y": sometimes(round(random.gamma(2, 10), 2)),
        "temp": sometimes(round(random.normal(0, 10), 1)),
        "promo": sometimes(float(random.integers(2))),
        "weather": one_of([*WEATHER, "never seen"]),
        "colour": one_of(COLOURS),
    }
    if spec.classes:
        values["y"] = one_of(spec.classes)
    return values


def spoilt(record: dict[str, Any], spec: Spec, keep: Sequence[str]) -> dict[str, Any]:
    """A row with wrong values in the columns that are not to be kept."""
    wrong: dict[str, Any] = {
        "y": spec.classes[0] if spec.classes else 123456.5,
        "temp": -1e6,
        "promo": 99.0,
        "weather": WEATHER[0],
        "colour": COLOURS[0],
    }
    return record | {name: value for name, value in wrong.items() if name not in keep}
