from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from benchmarks.bars import BARS
from benchmarks.specimens import adult, known
from benchmarks.specimens.base import matrix
from benchmarks.specimens.made_up import MADE_UP, MadeUp

TINY = MadeUp(
    "tiny",
    "multiclass",
    numeric=4,
    trees=9,
    level_counts=(5,),
    missing=0.1,
    classes=3,
    leaves=4,
    training_rows=500,
    bars=frozenset({"P1"}),
)
ADULT_ROWS = (
    "age,workclass,income\n39,State-gov,<=50K\n50,,>50K\n17,Private,<=50K\n",
    "age,workclass,income\n20,Private,<=50K\n30,Never-seen,>50K\n",
)

each_specimen = pytest.mark.parametrize(
    "specimen", MADE_UP, ids=lambda specimen: specimen.name
)


@pytest.fixture
def real_data(tmp_path):
    for name, text in zip(adult.FILES, ADULT_ROWS, strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


@each_specimen
def test_same_seed_makes_the_same_rows(specimen):
    assert specimen.frame(20, 1).equals(specimen.frame(20, 1))
    assert not specimen.frame(20, 1).equals(specimen.frame(20, 2))


@each_specimen
def test_bars_of_a_specimen_exist(specimen):
    assert specimen.bars <= set(BARS)


def test_every_bar_has_models_a_and_b():
    # That of forecasts has a model of its own.
    bars = set(BARS) - {"P7"}
    assert [each.name for each in MADE_UP if each.bars == bars] == ["a", "b"]
    assert {each.name for each in MADE_UP if each.is_deployed} == {"a", "b"}


def test_columns_are_as_described():
    specimens = {each.name: each for each in MADE_UP}
    widths = {name: len(each.frame(1, 1).columns) for name, each in specimens.items()}
    assert widths["a"] == 50 and widths["b"] == 30
    assert len(specimens["a"].levels) == 12
    assert [len(each) for each in specimens["3000 levels"].levels.values()] == [
        3000
    ] * 2


def test_matrix_has_the_models_category_numbers():
    frame = pd.DataFrame({"x": [1, 2], "c": pd.Categorical(["b", None], ["a", "b"])})
    np.testing.assert_array_equal(matrix(frame), [[1.0, 1.0], [2.0, np.nan]])


def test_matrix_is_scored_as_the_frame_is(tmp_path):
    TINY.train(tmp_path)
    booster = lgb.Booster(model_file=tmp_path / "model.txt")
    frame = TINY.frame(200, 5)
    np.testing.assert_array_equal(
        booster.predict(matrix(frame)), booster.predict(frame)
    )


def test_next_model_has_one_iteration_less(tmp_path):
    TINY.train(tmp_path)
    trees = [
        lgb.Booster(model_file=tmp_path / name).num_trees()
        for name in ("model.txt", "next.txt")
    ]
    assert trees == [9, 6]


def test_trees_without_all_their_leaves_are_refused(tmp_path):
    too_few_rows = MadeUp("x", "regression", numeric=2, trees=3, training_rows=50)
    with pytest.raises(RuntimeError, match="model x has only 0 full trees"):
        too_few_rows.train(tmp_path)


def test_real_data_make_a_specimen_where_they_are(real_data, tmp_path_factory):
    assert "adult" in known(real_data)
    (real_data / adult.FILES[1]).unlink()
    assert "adult" not in known(real_data)
    assert "adult" not in known(Path("no such folder"))


def test_real_rows_come_again_in_another_order(real_data):
    frame = known(real_data)["adult"].frame(6, seed=2)
    ages = frame["age"].tolist()
    passes = [sorted(ages[start : start + 2]) for start in (0, 2, 4)]
    assert passes == [[20, 30]] * 3
    assert ages != ages[:2] * 3


def test_real_columns_are_those_of_the_training_file(real_data):
    specimen = known(real_data)["adult"]
    assert specimen.numbers == ["age"]
    assert specimen.levels == {"workclass": ["Private", "State-gov"]}
    frame, target = specimen.training()
    assert target.tolist() == [0, 1, 0]
    unseen = specimen.frame(2, seed=1)
    assert unseen.dtypes.equals(frame.dtypes)
    assert unseen["workclass"].isna().sum() == 1
