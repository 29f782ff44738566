"""Models trained again, by what their files say of their training."""

from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from app.config import Config
from app.timeseries.backtesting import Recipe, backtest_files, read_recipe
from backends.base import ModelFileRejected
from backends.timeseries import load_spec
from backends.timeseries.intervals import IntervalsUnavailable

PARAMETERS = {"verbosity": -1, "num_threads": 1, "seed": 7}


def rows(count=600):
    """Three features, of which the last is a category code, and a target."""
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(count, 3))
    matrix[:, 2] = rng.integers(0, 6, count)
    matrix[rng.random((count, 3)) < 0.05] = np.nan
    noise = rng.normal(0, 0.1, count)
    y = np.nan_to_num(matrix[:, 0] + np.isin(matrix[:, 2], (1, 4))) + noise
    return matrix, y


def save(path, objective="regression", rounds=30, **parameters):
    matrix, y = rows()
    data = lightgbm.Dataset(matrix, y, categorical_feature=[2])
    parameters = PARAMETERS | {"objective": objective} | parameters
    booster = lightgbm.train(parameters, data, num_boost_round=rounds)
    booster.save_model(path)
    return booster


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"num_leaves": 5, "min_data_in_leaf": 3, "lambda_l2": 2, "max_bin": 31},
        {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.6},
        {"boosting": "dart", "drop_rate": 0.3},
        {"boosting": "rf", "bagging_fraction": 0.6, "bagging_freq": 1},
        {"extra_trees": True, "force_row_wise": True},
        {"linear_tree": True, "objective": "regression"},
        {"objective": "quantile", "alpha": 0.3},
        {"monotone_constraints": [1, 0, 0]},
    ],
)
def test_same_rows_make_the_same_model(tmp_path, parameters):
    path = tmp_path / "model.txt"
    booster = save(path, **parameters)
    recipe = read_recipe(path, 3, Config())
    matrix, y = rows()
    again = recipe.train(matrix, y)
    np.testing.assert_array_equal(again(matrix), booster.predict(matrix))


def test_trees_are_as_many_as_the_file_holds(tmp_path):
    path = tmp_path / "model.txt"
    save(path, rounds=40).save_model(path, num_iteration=13)
    stopped = "[early_stopping_round: 5]"
    path.write_text(path.read_text().replace("[early_stopping_round: 0]", stopped))
    recipe = read_recipe(path, 3, Config())
    assert recipe.trees == 13
    assert recipe.categorical == (2,)
    matrix, y = rows()
    expected = lightgbm.Booster(model_file=path).predict(matrix)
    np.testing.assert_array_equal(recipe.train(matrix, y)(matrix), expected)


def test_files_of_the_training_are_not_read_again(tmp_path):
    path = tmp_path / "model.txt"
    save(path)
    text = path.read_text().replace("[data: ]", "[data: /etc/passwd]")
    path.write_text(text.replace("[machines: ]", "[machines: 10.0.0.1:1]"))
    kept = read_recipe(path, 3, Config()).parameters
    assert not {"data", "machines", "num_iterations", "metric"} & {*kept}


def test_forced_splits_are_not_in_the_file(tmp_path):
    path = tmp_path / "model.txt"
    save(path)
    given = "[forcedsplits_filename: splits.json]"
    path.write_text(path.read_text().replace("[forcedsplits_filename: ]", given))
    with pytest.raises(IntervalsUnavailable, match="forcedsplits_filename"):
        read_recipe(path, 3, Config())


def squares(predictions, data):
    return predictions - data.get_label(), np.ones_like(predictions)


def test_objective_of_the_authors_own_is_not_in_the_file(tmp_path):
    path = tmp_path / "model.txt"
    save(path, objective=squares)
    with pytest.raises(IntervalsUnavailable, match="objective of its author's own"):
        read_recipe(path, 3, Config())


def test_model_of_another_width_is_refused(tmp_path):
    path = tmp_path / "model.txt"
    save(path)
    with pytest.raises(IntervalsUnavailable, match="takes 3 features, and the spec"):
        read_recipe(path, 4, Config())


def test_other_formats_do_not_say_how_they_were_trained(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07")
    with pytest.raises(IntervalsUnavailable, match="in Python where it is trained"):
        read_recipe(path, 3, Config())


def test_damaged_file_is_refused(tmp_path):
    path = tmp_path / "model.txt"
    save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ModelFileRejected):
        read_recipe(path, 3, Config())


def test_what_lightgbm_does_not_train_on_is_told():
    recipe = Recipe({"objective": "poisson"}, 5, ())
    with pytest.raises(IntervalsUnavailable, match="LightGBM does not train"):
        recipe.train(np.zeros((50, 1)), np.full(50, -1.0))


def test_each_distance_is_trained_by_its_own_file(tmp_path):
    spec = load_spec(
        {
            "version": 1,
            "target": "y",
            "targetType": "Regression",
            "datetimeColumn": "day",
            "datetimeFormat": "%Y-%m-%d",
            "featureDerivationWindow": {"start": -3, "end": 0},
            "forecastWindow": {"start": 1, "end": 2},
            "features": [
                {"name": "a", "op": "lag"},
                {"name": "b", "op": "lag", "offset": -1},
                {"name": "c", "op": "date", "part": "dayofweek"},
            ],
            "models": {"1": "near.txt", "2": "far.txt"},
        }
    )
    # One leaf says the mean, and the other model the median.
    save(
        tmp_path / "near.txt",
        rounds=1,
        min_data_in_leaf=10_000,
        boost_from_average=True,
    )
    save(
        tmp_path / "far.txt",
        objective="regression_l1",
        rounds=1,
        min_data_in_leaf=10_000,
        boost_from_average=True,
    )
    days = np.datetime_as_string(np.datetime64("2024-01-01") + np.arange(200))
    y = np.random.default_rng(1).exponential(size=200)
    table = pa.table({"day": days, "y": y})
    for path in (tmp_path, tmp_path / "near.txt"):
        found = backtest_files(spec, path, table, Config(), steps=20)
        block = found.held_out
        # From the third day on there is the history that requests have.
        for distance, middle in ((1, np.mean), (2, np.median)):
            said = middle(y[2 + distance : 180])
            errors = block.residuals[block.distances == distance]
            np.testing.assert_allclose(errors, y[179 + distance :] - said, atol=1e-6)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recipe(Path(tmp_path) / "model.txt", 3, Config())
