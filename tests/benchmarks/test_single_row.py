import lightgbm as lgb
import numpy as np
import pytest

from benchmarks.single_row import LibraryFailed, addresses, prepared


@pytest.fixture(params=["regression", "multiclass"])
def booster(request):
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 4))
    target = np.digitize(rows[:, 0], [-0.5, 0.5]).astype(float)
    parameters = {"objective": request.param, "verbosity": -1, "num_threads": 1}
    if request.param == "multiclass":
        parameters["num_class"] = 3
    return lgb.train(parameters, lgb.Dataset(rows, target), 5)


def test_raw_scores_are_the_boosters(booster):
    rows = np.random.default_rng(2).normal(size=(50, 4))
    wanted = booster.predict(rows, raw_score=True).reshape(50, -1)
    with prepared(booster) as single:
        for row, address in zip(wanted, addresses(rows), strict=True):
            assert single.score(address) == 0
            np.testing.assert_array_equal(single.scores, row)


def test_library_that_refuses_is_noticed(booster, monkeypatch):
    monkeypatch.setattr(booster, "num_feature", lambda: -1)
    with pytest.raises(LibraryFailed):
        with prepared(booster):
            pass
