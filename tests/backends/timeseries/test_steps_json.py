"""A spec's steps of time: units, windows, transforms, events."""

from __future__ import annotations

from typing import Any

import pytest

from backends.timeseries.spec_json import load_spec
from tests.backends.timeseries.specs import (
    CLASSES,
    DIRECT,
    GONE,
    RECURSIVE,
    changed,
    refusal,
)


def test_row_basis_is_read() -> None:
    assert load_spec({**DIRECT, "windowsBasisUnit": "ROW"}).is_row_based


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("strategy", 1, "strategy: unknown 1; the known ones are direct, recursive"),
    (
        "timeUnit",
        "DAYS",
        "timeUnit: unknown 'DAYS'; the known ones are SECOND, MINUTE,",
    ),
    ("timeStep", 0, "timeStep: a whole number from 1 is expected, not 0"),
    ("timeStep", 10**9, "timeStep: at most 132,220 is allowed, not 1000000000"),
    ("timeStep", 10**4, "featureDerivationWindow: 35 steps are more than the years"),
    (
        "windowsBasisUnit",
        "HOUR",
        "windowsBasisUnit: unknown 'HOUR'; the known ones are DA",
    ),
    (
        "featureDerivationWindow.start",
        0,
        "featureDerivationWindow: needs start < end <= 0",
    ),
    (
        "featureDerivationWindow.end",
        1,
        "featureDerivationWindow: needs start < end <= 0",
    ),
    ("featureDerivationWindow.end", GONE, "featureDerivationWindow.end: missing"),
    (
        "featureDerivationWindow",
        [],
        "featureDerivationWindow: an object is expected, no",
    ),
    (
        "featureDerivationWindow.start",
        -(10**6),
        "featureDerivationWindow.start: a whole nu",
    ),
    ("forecastWindow.start", 0, "forecastWindow: needs 1 <= start <= end"),
    ("forecastWindow.start", 3, "forecastWindow: needs 1 <= start <= end"),
    (
        "forecastWindow.end",
        10_001,
        "forecastWindow.end: at most 10,000 is allowed, not 1",
    ),
    (
        "forecastWindow.step",
        1,
        "forecastWindow.step: unknown key; the known ones are star",
    ),
    (
        "targetTransform.1",
        {"op": "log1p"},
        "targetTransform[1]: log1p has to be the first",
    ),
    (
        "targetTransform.0",
        {"op": "baseline", "period": 1},
        "targetTransform[1]: at most one",
    ),
    (
        "targetTransform.1.op",
        "difference",
        "targetTransform[1].op: 'difference' is not all",
    ),
    (
        "targetTransform.1.op",
        "boxcox",
        "targetTransform[1].op: unknown 'boxcox'; the known",
    ),
    (
        "targetTransform.1.period",
        36,
        "targetTransform[1]: reads steps -35..0, outside the",
    ),
    ("targetTransform.1.period", GONE, "targetTransform[1].period: missing"),
    (
        "targetTransform.0.period",
        1,
        "targetTransform[0].period: unknown key; the known on",
    ),
    (
        "calendar.0",
        "2012-02-30",
        "calendar[0]: a day like 2012-12-25 is expected, not '20",
    ),
    (
        "calendar.0",
        "20121225",
        "calendar[0]: a day like 2012-12-25 is expected, not '2012",
    ),
    ("calendar.1", "2013-01-01", "calendar[1]: '2013-01-01' is there twice"),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_mistake_is_named_by_its_path(place: str, value: Any, message: str) -> None:
    assert refusal(changed(DIRECT, place, value)).startswith(message)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (
            "featureDerivationWindow.end",
            -1,
            "featureDerivationWindow: the recursive str",
        ),
        (
            "models",
            {},
            "models: the recursive strategy has one model for all distances",
        ),
        (
            "targetTransform.1.op",
            "baseline",
            "targetTransform[1].op: 'baseline' is not",
        ),
        (
            "targetTransform.1",
            {"op": "log1p"},
            "targetTransform[1]: log1p has to be the",
        ),
        (
            "targetTransform",
            [0] * 11,
            "targetTransform: at most 10 are allowed, not 11",
        ),
        (
            "targetTransform.0.period",
            99_999,
            "featureDerivationWindow: with its differences the model needs 100,023",
        ),
    ],
)
def test_recursive_strategy_has_rules_of_its_own(
    place: str, value: Any, message: str
) -> None:
    assert refusal(changed(RECURSIVE, place, value)).startswith(message)


def test_class_target_has_no_transforms() -> None:
    spec = {**CLASSES, "targetTransform": [{"op": "log1p"}]}
    assert (
        refusal(spec) == "targetTransform: only a target of Regression has transforms"
    )


def test_window_of_many_columns_has_not_too_many_cells() -> None:
    features = [
        {"name": f"f{each}", "op": "lag", "column": f"x{each}", "offset": -12}
        for each in range(167)
    ]
    spec = {**CLASSES, "timeUnit": "DAY", "features": features}
    window = "featureDerivationWindow.start"
    load_spec(changed(spec, window, -(2**24 // 168)))
    assert refusal(changed(spec, window, -(2**24 // 168) - 1)) == (
        "featureDerivationWindow: features look back 99,865 steps at 168 columns, which"
        " are more than 16,777,216 cells"
    )
