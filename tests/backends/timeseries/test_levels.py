"""Transforms of the target, what undoes them, and what that needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.timeseries.levels import (
    baseline_of,
    differenced_from,
    inverse,
    levels,
    scale,
    seasonal_offsets,
    undone_with,
)
from backends.timeseries.spec import Baseline, Difference, Log1p, Spec
from backends.timeseries.spec_json import load_spec
from tests.backends.trees.effort import effort


def spec_of(strategy: str, *transforms: dict[str, Any], **more: Any) -> Spec:
    return load_spec(
        {
            "version": 1,
            "target": "y",
            "targetType": "Regression",
            "datetimeColumn": "t",
            "datetimeFormat": "%Y-%m-%d",
            "featureDerivationWindow": {"start": -7, "end": 0},
            "forecastWindow": {"start": 1, "end": 3},
            "strategy": strategy,
            "targetTransform": list(transforms),
            "features": [{"name": "lag", "op": "lag", "source": "raw"}],
        }
        | more
    )


def differences(*periods: int) -> list[dict[str, Any]]:
    return [{"op": "difference", "period": each} for each in periods]


periods = st.lists(st.integers(1, 5), max_size=3)


@effort(60)
@given(periods, st.booleans(), st.integers(0, 2**32 - 1))
def test_levels_are_those_of_pandas(
    steps: list[int], is_logarithmic: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.gamma(2, 10, (3, 20))
    values[random.random(values.shape) < 0.1] = np.nan
    transforms = [Log1p()] * is_logarithmic + [Difference(each) for each in steps]
    found = levels(values, transforms)
    expected = [pd.DataFrame(values.T)]
    if is_logarithmic:
        expected.append(np.log1p(expected[-1]))
    for each in steps:
        expected.append(expected[-1].diff(each))
    assert len(found) == len(expected) == len(transforms) + 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other.to_numpy().T)


def test_baseline_is_no_level() -> None:
    values = np.array([[1.0, 2.0]])
    assert len(levels(values, [Baseline(1)])) == 1
    assert len(levels(values, [Log1p(), Baseline(1)])) == 2


def test_logarithm_is_undone() -> None:
    plain, logarithmic = spec_of("direct"), spec_of("direct", {"op": "log1p"})
    values = np.array([0.0, 1e-12, 1.0, 1e6, -0.5, np.nan])
    assert inverse(values, plain) is values
    assert scale(values, plain) is values
    np.testing.assert_allclose(
        inverse(scale(values, logarithmic), logarithmic), values, rtol=1e-14
    )
    assert scale(values, logarithmic)[1] == pytest.approx(1e-12, rel=1e-9)


@pytest.mark.parametrize("end", [0, -1, -3, -10])
@pytest.mark.parametrize("period", [1, 2, 5, 7])
def test_seasonal_offset_is_the_newest_at_the_phase(period: int, end: int) -> None:
    distances = np.arange(1, 30)
    found = seasonal_offsets(distances, period, end)
    for distance, offset in zip(distances.tolist(), found.tolist(), strict=True):
        phase = [each for each in range(end - period + 1, end + 1)]
        assert [each for each in phase if (distance - each) % period == 0] == [offset]


def test_baseline_is_found() -> None:
    spec = spec_of("direct", {"op": "log1p"}, {"op": "baseline", "period": 7})
    assert baseline_of(spec) == Baseline(7)
    assert baseline_of(spec_of("direct", {"op": "log1p"})) is None


def needed(steps: list[int], horizon: int) -> set[int]:
    """Offsets of targets that change what a recursion makes of constant answers.

    By putting a missing value in each place, one at a time.
    """
    reach = sum(steps) + max(steps, default=0)
    found = set()
    for hidden in range(-reach, 1):
        values = np.zeros(reach + 1 + horizon)
        values[hidden + reach] = np.nan
        kept = levels(values[None], [Difference(each) for each in steps])
        for ahead in range(1, horizon + 1):
            place = reach + ahead
            value = 1.0
            kept[-1][0, place] = value
            for level in range(len(steps) - 1, -1, -1):
                value += kept[level][0, place - steps[level]]
                kept[level][0, place] = value
            if np.isnan(value):
                found.add(hidden)
    return found


@effort(100)
@given(periods, st.integers(1, 6))
def test_targets_that_undo_differences_are_all_known_of(
    steps: list[int], horizon: int
) -> None:
    window = {"start": 1, "end": horizon}
    spec = spec_of("recursive", *differences(*steps), forecastWindow=window)
    found = undone_with(spec)
    assert found == sorted(set(found))
    assert set(found) == needed(steps, horizon)
    first = differenced_from(spec)
    assert first == (min(found) if steps else None)
    # A request has them, whatever the window.
    assert not found or spec.effective_start < found[0]


@pytest.mark.parametrize(
    ("feature", "first"),
    [
        ({"op": "lag", "source": "raw", "offset": -6}, -3),
        ({"op": "lag", "source": "transformed", "offset": 0}, -4),
        ({"op": "lag", "source": "transformed", "offset": -6}, -10),
        ({"op": "rolling", "stat": "mean", "window": 7, "source": "transformed"}, -10),
        ({"op": "diff", "period": 2, "source": "transformed"}, -6),
    ],
)
def test_differenced_features_need_a_longer_history(
    feature: dict[str, Any], first: int
) -> None:
    spec = spec_of("recursive", *differences(4), features=[{"name": "f"} | feature])
    assert differenced_from(spec) == first
