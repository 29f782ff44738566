"""Probe rows lie on the edges of an ensemble's splits, and can be decoded."""

import dataclasses

import numpy as np
import pytest

from app.compilation import read_ensemble
from app.probes import probe_rows


@pytest.fixture(scope="module")
def churn(specimens):
    specimen = specimens["churn"]
    return specimen.model, read_ensemble(specimen.folder, specimen.model)


def usual(model):
    return np.full((3, len(model.features)), 1.25)


def test_thresholds_and_their_neighbours_are_met(churn):
    model, ensemble = churn
    rows = probe_rows(ensemble, model.features, usual(model))
    for feature in (0, 1):
        of_feature = (ensemble.feature == feature) & (ensemble.category_set < 0)
        thresholds = np.unique(ensemble.threshold[of_feature])
        near = [thresholds] + [np.nextafter(thresholds, to) for to in (-9e9, 9e9)]
        met = np.isin(np.concatenate(near), rows[:, feature])
        assert met.mean() > 0.95


def test_odd_values_are_met(churn):
    model, ensemble = churn
    column = probe_rows(ensemble, model.features, usual(model))[:, 1]
    assert np.isnan(column).any() and np.isinf(column).any()
    assert {0.0, 1e-35, 1e-36, 5e-324, 2.0**63} <= set(column.tolist())
    assert (np.signbit(column) & (column == 0)).any()


def test_categories_are_met_with_unseen_ones(churn):
    model, ensemble = churn
    column = probe_rows(ensemble, model.features, usual(model))[:, 3]
    assert {0.0, 1.0, 32.0, 0.5, -1.0, 2.0**31} <= set(column.tolist())


def test_half_of_the_rows_are_nearly_usual(churn):
    model, ensemble = churn
    rows = probe_rows(ensemble, model.features, usual(model))
    half = rows[: len(rows) // 2]
    assert 0.5 < (half == 1.25).mean() < 0.9
    assert (rows[len(rows) // 2 :] == 1.25).mean() < 0.1


def test_rows_are_the_same_in_every_run(churn):
    model, ensemble = churn
    one, other = (probe_rows(ensemble, model.features, usual(model)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_whole_numbers_stay_what_a_decoder_lets_through(churn):
    model, ensemble = churn
    features = [
        dataclasses.replace(
            each, kind="numeric", categories=None, dtype="int64", missing="error"
        )
        for each in model.features
    ]
    rows = probe_rows(ensemble, features, np.zeros((1, len(features))))
    assert (rows == np.trunc(rows)).all()
    assert np.abs(rows).max() <= 2.0**53


def test_wide_models_get_fewer_rows(churn):
    _, ensemble = churn
    wide = dataclasses.replace(ensemble, features=20_000)
    names = [
        dataclasses.replace(churn[0].features[0], name=str(i)) for i in range(20_000)
    ]
    assert len(probe_rows(wide, names, np.zeros((1, 20_000)))) < 500
