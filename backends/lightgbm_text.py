"""What a LightGBM text model says of itself, read before it is packaged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.lightgbm import Booster
from backends.model import Label, Task

TASKS: Mapping[str, Task] = {
    "binary": "binary",
    "multiclass": "multiclass",
    "multiclassova": "multiclass",
    "regression": "regression",
    "regression_l1": "regression",
    "huber": "regression",
    "fair": "regression",
    "poisson": "regression",
    "quantile": "regression",
    "mape": "regression",
    "gamma": "regression",
    "tweedie": "regression",
    "cross_entropy": "regression",
    "cross_entropy_lambda": "regression",
}

_CODES = re.compile(r"-?\d+(:-?\d+)*")


@dataclass(frozen=True, slots=True)
class LightGBMFile:
    """What a model text says, as plain data.

    objective: its name and parameters, "binary sigmoid:1"; empty when the model was
        trained with a function of the user's own.
    outputs: values in a row's answer.
    feature_infos: for each feature what training saw of it: "[low:high]" of a number,
        "0:2:1" of category codes, "none" of a constant.
    categorical: positions of the features that training took for categorical.
    pandas_categorical: for each category column of the training frame, in its order,
        the levels in the order of their codes.
    """

    feature_names: tuple[str, ...]
    objective: str
    outputs: int
    feature_infos: tuple[str, ...]
    categorical: tuple[int, ...]
    pandas_categorical: tuple[tuple[Label, ...], ...]
    trees: int
    average_output: bool
    linear_tree: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LightGBMFile:
        """Read what `to_json` wrote and JSON carried."""
        lists = {key: _as_tuple(value) for key, value in values.items()}
        return cls(**lists)

    @property
    def task(self) -> Task | None:
        """What the objective predicts; None without a known objective."""
        return TASKS.get(self.objective.partition(" ")[0])


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def inspect(path: Path) -> LightGBMFile:
    """Read a model text, load it in the library and score one row.

    Meant for a process that may be killed: a file can be made to take any amount of
    time and memory.

    Raises ModelFileRejected with the reason and the remedy.
    """
    text = path.read_bytes()
    file = read(text)
    booster = Booster(text)
    if (booster.features, booster.outputs) != (len(file.feature_names), file.outputs):
        raise _damaged("its header and its trees do not agree")
    for row in (
        np.zeros((1, booster.features)),
        np.full((1, booster.features), np.nan),
    ):
        booster.score(row)
    return file


def read(text: bytes) -> LightGBMFile:
    """Read a model text without loading it. Raises ModelFileRejected."""
    if not text.startswith(b"tree\n") or b"\0" in text:
        raise ModelFileRejected(
            "The file is not a LightGBM text model: save it with"
            " booster.save_model('model.txt'); of a scikit-learn wrapper take"
            " its booster_"
        )
    try:
        keys, trees, tail = parts(text)
        file = _read(keys, text, tail)
        for tree in trees:
            _check_tree(tree, len(file.feature_names))
        return file
    except (IndexError, KeyError, ValueError) as error:
        if isinstance(error, ModelFileRejected):
            raise
        raise _damaged(f"it cannot be read ({error!r})") from error


def parts(text: bytes) -> tuple[dict[str, str], list[bytes], str]:
    """The keys before the first tree, the trees, and what follows the last.

    The sizes of the trees, which the header tells, must lead from one to the other.
    """
    head, blank, _ = text.partition(b"\n\n")
    keys = keys_of(head)
    sizes = [int(size) for size in keys.get("tree_sizes", "").split()]
    ends = list(accumulate(sizes, initial=len(head) + len(blank)))
    tail = text[ends[-1] :]
    if min(sizes, default=0) < 0 or not tail.startswith(b"end of trees"):
        raise _damaged("its trees do not end where the header says")
    if not tail.endswith(b"\n") or (
        b"\nparameters:\n" in tail and b"\nend of parameters\n" not in tail
    ):
        raise _damaged("it has no end")
    return keys, [text[i:j] for i, j in pairwise(ends)], _decoded(tail)


def keys_of(lines: bytes) -> dict[str, str]:
    found = {}
    for line in _decoded(lines).split("\n"):
        key, _, value = line.partition("=")
        found[key] = value
    return found


def _check_tree(text: bytes, features: int) -> None:
    """Refuse a tree that would lead a row in circles or out of the tree's memory."""
    keys = keys_of(text)
    children = [_integers(keys, "left_child"), _integers(keys, "right_child")]
    splits = _integers(keys, "split_feature")
    leaves = int(keys["num_leaves"])
    # Every node but the root, and every leaf, has one parent.
    expected = np.concatenate([np.arange(-leaves, 0), np.arange(1, leaves - 1)])
    if leaves == 1 and not splits.size:
        return
    if (
        any(len(each) != leaves - 1 for each in (*children, splits))
        or not np.array_equal(np.sort(np.concatenate(children)), expected)
        or splits.min() < 0
        or splits.max() >= features
    ):
        raise _damaged("one of its trees is none")
    _check_categories(keys)


def _check_categories(keys: Mapping[str, str]) -> None:
    """Refuse splits whose categories lie outside the tree's list of them."""
    is_categorical = _integers(keys, "decision_type") & 1 == 1
    places = np.array(keys["threshold"].split(), np.float64)[is_categorical]
    bounds, words = _integers(keys, "cat_boundaries"), keys.get("cat_threshold", "")
    if len(places) and (
        places.min() < 0
        or places.max() >= int(keys["num_cat"])
        or len(bounds) != int(keys["num_cat"]) + 1
        or bounds[0] != 0
        or (np.diff(bounds) < 0).any()
        or bounds[-1] != len(words.split())
    ):
        raise _damaged("one of its trees splits by categories that it does not have")


def _integers(keys: Mapping[str, str], key: str) -> NDArray[np.int64]:
    return np.array(keys.get(key, "").split(), np.int64)


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _damaged("it is not UTF-8 text") from error


def _damaged(reason: str) -> ModelFileRejected:
    return ModelFileRejected(
        f"The model file was cut or changed after it was saved: {reason}."
        " Save it again, and copy it as a binary file"
    )


def _read(keys: Mapping[str, str], text: bytes, tail: str) -> LightGBMFile:
    names = tuple(keys["feature_names"].split(" "))
    infos = tuple(keys["feature_infos"].split(" "))
    if not len(names) == len(infos) == int(keys["max_feature_idx"]) + 1:
        raise _damaged("it does not name each feature once")
    objective = keys.get("objective", "")
    _refuse_objective(objective.partition(" ")[0])
    outputs = int(keys["num_tree_per_iteration"])
    if outputs != 1 and TASKS.get(objective.partition(" ")[0]) in (
        "binary",
        "regression",
    ):
        raise _damaged(f"its objective does not answer {outputs} values")
    trees = len(keys["tree_sizes"].split())
    if not trees:
        raise ModelFileRejected("The model has no trees: train it for some iterations")
    stated = re.search(r"^\[categorical_feature: ([\d,]+)\]$", tail, re.MULTILINE)
    categorical = {i for i, info in enumerate(infos) if _CODES.fullmatch(info)}
    if stated is not None:
        categorical |= set(map(int, stated[1].strip(",").split(",")))
    return LightGBMFile(
        feature_names=names,
        objective=objective,
        outputs=outputs,
        feature_infos=infos,
        categorical=tuple(sorted(i for i in categorical if i < len(names))),
        pandas_categorical=_pandas_categorical(tail),
        trees=trees,
        average_output="average_output" in keys,
        linear_tree=b"\nis_linear=1\n" in text,
    )


def _refuse_objective(name: str) -> None:
    if name and name not in TASKS:
        kind = "ranks" if name in ("lambdarank", "rank_xendcg") else "is not known here"
        raise ModelFileRejected(
            f"The model's objective {name!r} {kind}; served are binary, multiclass,"
            " multiclassova and the regression objectives"
        )


def _pandas_categorical(tail: str) -> tuple[tuple[Label, ...], ...]:
    _, key, rest = tail.rpartition("\npandas_categorical:")
    levels = json.loads(rest.partition("\n")[0]) if key else None
    return tuple(tuple(each) for each in levels or ())
