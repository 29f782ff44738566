"""Transforms do what they are called, to a unit in the last place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.trees.ensemble import Transform
from backends.trees.transforms import CODES, finish
from tests.backends.trees import reference

# numpy's exp in float64 and the C library's differ by a unit, which each step after it
# may double.
UNITS = 4

PAIRS = [name for name in CODES if name.endswith(("opposites", "complements"))]
SINGLE = [name for name in CODES if name.startswith("float")]
SPECIAL = [0.0, -0.0, 1e-45, -1e-8, 1e-7, 2e-7, 1.0, -30.0, 88.0, -88.0, 104.0, -104.0]


def finished(
    name: str, sums: NDArray[np.float64], parameter: float
) -> NDArray[np.float64]:
    answer = np.empty((len(sums), 2 if name in PAIRS else sums.shape[1]))
    for row, of_row in zip(sums, answer, strict=True):
        finish(row, CODES[name], parameter, of_row)
    return answer


def some_sums(name: str) -> NDArray[np.float64]:
    random = np.random.default_rng(7)
    sums = random.normal(scale=5, size=(300, 1 if name in PAIRS else 3))
    sums[:40] = random.choice(SPECIAL, sums[:40].shape)
    return sums.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("parameter", [1.0, 0.3])
def test_finish_is_the_transform(name: str, parameter: float) -> None:
    sums = some_sums(name)
    found = finished(name, sums, parameter)
    # SOFTMAX_ZERO divides zeros by zero.
    with np.errstate(all="ignore"):
        wanted = reference.finish(sums, Transform(name, parameter))
    kind = np.float32 if name in SINGLE else np.float64
    with np.errstate(invalid="ignore"):
        unit = np.spacing(np.abs(wanted).astype(kind))
    # One minus a probability near one has the last place of one.
    unit = np.maximum(unit, np.finfo(kind).epsneg if "logistic" in name else 0)
    with np.errstate(invalid="ignore"):
        is_near = np.isnan(found) & np.isnan(wanted)
        is_near |= np.abs(found - wanted) <= (2 if name in SINGLE else UNITS) * unit
    assert (is_near | (found == wanted)).all()


@pytest.mark.parametrize("name", SINGLE)
def test_single_transforms_answer_float32(name: str) -> None:
    found = finished(name, some_sums(name), 0.3)
    assert np.array_equal(found, found.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("name", ["float_scale", "float_complements"])
def test_sums_in_float64_are_rounded_once(name: str) -> None:
    sums = np.random.default_rng(7).random((100, 1))
    wanted = reference.finish(sums, Transform(name)).astype(np.float32)
    assert (finished(name, sums, 1.0) == wanted).all()


@pytest.mark.parametrize("name", CODES)
def test_missing_sums_are_missing_answers(name: str) -> None:
    sums = np.full((1, 1 if name in PAIRS else 3), np.nan)
    answer = finished(name, sums, 1.0)
    assert np.isnan(answer).all() or name == "float_softmax_zero"


@pytest.mark.parametrize("name", ["softmax", "float_softmax"])
def test_softmax_adds_up_to_one_however_large_the_sums(name: str) -> None:
    sums = np.array([[3e38, 3e38, -3e38], [-1e30, -1e30, -1e30]])
    assert finished(name, sums, 1.0).sum(axis=1) == pytest.approx([1.0, 1.0])


def test_every_code_is_a_number_of_its_own() -> None:
    assert sorted(CODES.values()) == list(range(len(CODES)))
