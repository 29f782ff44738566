"""Slopes between log-odds are exact, however near or far these are."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.explanations.probability import logistic, slopes


def _exact_slope(own: float, other: float) -> float:
    with localcontext(prec=800):
        one, a, b = Decimal(1), Decimal(own), Decimal(other)
        first, second = one / (one + (-a).exp()), one / (one + (-b).exp())
        return float((first - second) / (a - b) if a != b else first * (one - first))


@given(
    st.floats(-40, 40),
    st.sampled_from([0.0, 1e-16, 1e-15, 1e-12, 1e-9, 1e-4, 0.1, 1.9, 2.0, 2.1, 30.0])
    | st.floats(-60, 60),
)
def test_slopes_are_exact_however_close_the_margins(own: float, apart: float) -> None:
    """Also where the difference of two probabilities is nothing but rounding."""
    other = own + apart
    found = slopes(np.array([[own]]), np.array([other]))
    wanted = _exact_slope(own, other)
    assert found[0, 0] == pytest.approx(wanted, rel=1e-12, abs=2e-16)


def test_slopes_of_margins_far_apart_are_finite() -> None:
    margins = np.array([-1e300, -2000.0, -1.0, 0.0, 3.0, 2000.0, 1e300])
    steep = slopes(margins[:, None], margins)
    assert np.isfinite(steep).all() and (steep >= 0).all()
    change = margins[:, None] - margins
    chances = logistic(margins)
    wanted = chances[:, None] - chances
    np.testing.assert_allclose(steep * change, wanted, rtol=0, atol=1e-15)


def test_equal_log_odds_are_as_steep_as_the_logistic_function() -> None:
    own, others = np.array([[0.5]]), np.array([0.5, 0.5 + 1e-7])
    exact, near = slopes(own, others)[0]
    np.testing.assert_allclose(near, exact, rtol=1e-6)
