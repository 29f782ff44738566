"""What a model text says is read exactly; what is no whole model is refused."""

import json
import re
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest

from backends.base import ModelFileRejected
from backends.lightgbm_text import LightGBMFile, inspect, read

FAST = {"verbosity": -1, "num_threads": 1, "num_leaves": 4}


def train(frame: object, target: object = None, **parameters: object) -> bytes:
    if target is None:
        target = np.random.default_rng(1).integers(0, 2, len(frame))
    data = lightgbm.Dataset(frame, target, group=parameters.pop("group", None))
    booster = lightgbm.train({**FAST, **parameters}, data, num_boost_round=3)
    return booster.model_to_string().encode()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x y": rng.normal(size=300),
            "größe": rng.integers(0, 5, 300),
            "town": pd.Categorical(rng.choice(["São Paulo", 'a "b"', "c"], 300)),
            "flat": 1.0,
        }
    )


@pytest.fixture(scope="module")
def text(frame: pd.DataFrame) -> bytes:
    return train(frame, objective="binary")


def save(text: bytes, folder: Path) -> Path:
    (folder / "model.txt").write_bytes(text)
    return folder / "model.txt"


def test_model_text_is_read(text: bytes, frame: pd.DataFrame, tmp_path: Path) -> None:
    file = inspect(save(text, tmp_path))
    low, high = float(frame["x y"].min()), float(frame["x y"].max())
    assert file == LightGBMFile(
        feature_names=("x_y", "größe", "town", "flat"),
        objective="binary sigmoid:1",
        outputs=1,
        feature_infos=(f"[{low!r}:{high!r}]", "[0:4]", file.feature_infos[2], "none"),
        categorical=(2,),
        pandas_categorical=(("São Paulo", 'a "b"', "c"),),
        trees=3,
        average_output=False,
        linear_tree=False,
    )
    assert sorted(file.feature_infos[2].split(":"))[-3:] == ["0", "1", "2"]


def test_constant_category_is_still_known_for_one(frame: pd.DataFrame) -> None:
    frame = frame.assign(flat=pd.Categorical(["NO"] * len(frame)))
    assert read(train(frame, objective="binary")).categorical == (2, 3)


@pytest.mark.parametrize(
    ("parameters", "task", "outputs"),
    [
        ({"objective": "binary"}, "binary", 1),
        ({"objective": "multiclass", "num_class": 3}, "multiclass", 3),
        ({"objective": "multiclassova", "num_class": 2}, "multiclass", 2),
        ({"objective": "regression", "reg_sqrt": True}, "regression", 1),
        ({"objective": "l1"}, "regression", 1),
        ({"objective": "mape"}, "regression", 1),
        ({"objective": "xentropy"}, "regression", 1),
        ({"objective": "xentlambda"}, "regression", 1),
        ({"objective": lambda scores, data: (scores, scores**0)}, None, 1),
    ],
)
def test_objective_tells_the_task(
    parameters: dict[str, object], task: str | None, outputs: int, frame: pd.DataFrame
) -> None:
    file = read(train(frame, **parameters))
    assert (file.task, file.outputs) == (task, outputs)


def test_what_changes_the_sum_of_trees_is_told(frame: pd.DataFrame) -> None:
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    assert read(train(frame, objective="binary", **forest)).average_output
    assert read(train(frame, objective="regression", linear_tree=True)).linear_tree


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_ranking_is_refused(objective: str, frame: pd.DataFrame) -> None:
    text = train(frame, objective=objective, group=[150, 150])
    with pytest.raises(ModelFileRejected, match=f"'{objective}' ranks; served are"):
        read(text)


def test_model_without_trees_is_refused(frame: pd.DataFrame) -> None:
    booster = lightgbm.Booster(FAST, lightgbm.Dataset(frame, np.zeros(len(frame))))
    with pytest.raises(ModelFileRejected, match="no trees"):
        read(booster.model_to_string().encode())


@pytest.mark.parametrize("text", [b"", b"tre", b"\x80\x04\x95pickle", b"{}", b"tree\0"])
def test_other_files_are_refused(text: bytes) -> None:
    with pytest.raises(
        ModelFileRejected, match="not a LightGBM text model.*save_model"
    ):
        read(text)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.5, 0.8, 0.999])
def test_file_cut_short_is_refused(text: bytes, part: float) -> None:
    with pytest.raises(ModelFileRejected, match="cut or changed.*Save it again"):
        read(text[: int(part * len(text))])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\n", b"\r\n"),
        (b"leaf_value=", b"leaf_value= "),
        (b"feature_names=x_y", b"feature_names=x y"),
        (b"max_feature_idx=3", b"max_feature_idx=2"),
        (b"max_feature_idx=3", b"max_feature_idx=?"),
        (b"feature_infos", b"feature_info"),
        (b"tree_sizes=", b"tree_sizes=-1 "),
        ("größe".encode(), "größe".encode("latin-1")),
        (b'pandas_categorical:[["', b'pandas_categorical:[["\\'),
    ],
)
def test_changed_file_is_refused(text: bytes, old: bytes, new: bytes) -> None:
    assert old in text
    with pytest.raises(ModelFileRejected, match="cut or changed|not a LightGBM"):
        read(text.replace(old, new))


def test_header_that_the_trees_belie_is_refused(text: bytes, tmp_path: Path) -> None:
    changed = text.replace(b"num_tree_per_iteration=1", b"num_tree_per_iteration=3")
    with pytest.raises(ModelFileRejected, match="does not answer 3 values"):
        read(changed.replace(b"num_class=1", b"num_class=3"))
    changed = text.replace(b"_idx=3", b"_idx=1").replace(b"x_y gr", b"x_ygr")
    with pytest.raises(ModelFileRejected, match="cut or changed"):
        inspect(save(changed, tmp_path))


def change(text: bytes, key: str, words: str) -> bytes:
    """Change a list in the first tree that has it, and the sizes in the header."""
    head, *trees = re.split(r"(?=Tree=\d+\n)|(?=end of trees)", text.decode())
    place = next(i for i, tree in enumerate(trees) if f"\n{key}=" in tree)
    trees[place] = re.sub(f"\n{key}=.*", f"\n{key}={words}", trees[place])
    sizes = " ".join(str(len(tree)) for tree in trees[:-1])
    head = re.sub("tree_sizes=.*", f"tree_sizes={sizes}", head)
    return (head + "".join(trees)).encode()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("left_child", "0 0 0"),
        ("right_child", "1 2 1000"),
        ("right_child", "1 2"),
        ("right_child", ""),
        ("split_feature", "0 1 4"),
        ("split_feature", "0 -1 2"),
        ("split_feature", "0 x 2"),
        ("num_leaves", "3"),
        ("num_leaves", "1"),
        ("cat_boundaries", "0 9"),
        ("cat_threshold", ""),
        ("num_cat", "0"),
    ],
)
def test_trees_that_lead_astray_are_refused(
    key: str, words: str, frame: pd.DataFrame
) -> None:
    target = (frame["town"] == "c") + frame["x y"] / 10
    text = train(frame, target.to_numpy(), objective="regression", min_data_per_group=1)
    with pytest.raises(ModelFileRejected, match="one of its trees|cannot be read"):
        read(change(text, key, words))


def test_trees_of_one_leaf_are_trees(frame: pd.DataFrame) -> None:
    assert read(train(frame, objective="binary", min_data_in_leaf=1000)).trees > 0


def test_what_a_file_says_survives_json(text: bytes) -> None:
    file = read(text)
    assert LightGBMFile.from_json(json.loads(json.dumps(file.to_json()))) == file
