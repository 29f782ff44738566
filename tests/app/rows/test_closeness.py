"""How near an output's numbers must come to those that are wanted."""

import numpy as np
import pytest

from app.rows.closeness import allowed, first_beyond

TOLERANCE = (1e-4, 1e-5)
WANTED = np.array([0.0, 1.0, -100.0])


def test_allowance_grows_with_the_number_and_with_the_largest():
    assert allowed(WANTED, "float32", TOLERANCE) == pytest.approx([1e-3, 1.1e-3, 0.011])


def test_half_floats_may_be_further_off():
    assert allowed(WANTED, "float16", TOLERANCE) == pytest.approx([0.1, 0.11, 1.1])


def test_no_numbers_have_no_allowance():
    assert allowed(np.empty(0), "float32", TOLERANCE).shape == (0,)


@pytest.mark.parametrize(
    ("found", "first"),
    [([0.0, 1.0, -100.0], None), ([0.5, 1.5, -99.5], None), ([0.0, 1.6, 0.0], 1)],
)
def test_first_number_that_is_too_far_off_is_found(found, first):
    assert first_beyond(np.array(found), WANTED, np.full(3, 0.5)) == first


def test_what_is_not_a_number_is_too_far_off():
    assert first_beyond(np.array([0, np.nan, 0]), WANTED, np.full(3, 1e9)) == 1
