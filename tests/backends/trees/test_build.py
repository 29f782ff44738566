"""Tables say what their ensemble says."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from backends.trees.build import _singles

FLOAT32 = st.floats(width=32, allow_nan=True)
FLOAT64 = st.one_of(FLOAT32, st.floats(allow_nan=False)).filter(lambda x: x == x)


@example(np.array([-np.finfo(np.float32).max, np.finfo(np.float32).max, -0.0, 5e-324]))
@given(arrays.arrays(np.float64, 20, elements=FLOAT64))
def test_rounded_thresholds_part_float32_values_alike(thresholds):
    rounded = _singles(thresholds)
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    assert np.array_equal(rounded.astype(np.float32), rounded)
    for values in (near, *(np.nextafter(near, np.float32(to)) for to in (-9e9, 9e9))):
        assert np.array_equal(values > thresholds, values > rounded)
