"""What proves explanations lets no wrong ones through, and no right ones fail."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest

from app.compilation import build
from app.config import Config
from app.package import PackageOptions, package
from backends import bundle
from backends.explanations.materials import Materials
from backends.trees.backend import TreesBackend
from backends.trees.explainer import Explainer


@pytest.fixture(scope="module")
def certain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a model whose probabilities are nearly all 0 or 1."""
    folder = tmp_path_factory.mktemp("certain")
    random = np.random.default_rng(5)
    frame = pd.DataFrame(random.normal(size=(600, 3)), columns=["a", "b", "c"])
    target = (3 * frame["a"] + frame["b"] > 0).astype(int)
    options = {"objective": "binary", "learning_rate": 1.0, "min_data_in_leaf": 5}
    booster = lightgbm.train(
        {**options, "num_leaves": 7, "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(frame, target),
        num_boost_round=60,
    )
    margins = booster.predict(frame, raw_score=True)
    # 1 less such a probability is 0, or has few digits left.
    assert (np.abs(margins) > 25).any() and (np.abs(margins) < 9).any()
    booster.save_model(folder / "model.txt")
    frame.assign(y=target).to_csv(folder / "data.csv", index=False)
    made = PackageOptions(
        model=folder / "model.txt",
        data=folder / "data.csv",
        target="y",
        out=folder / "bundle",
    )
    return package(made, Config(home=folder)).folder


def test_certain_predictions_keep_no_model_from_the_engine(
    certain: Path, tmp_path: Path
) -> None:
    assert build(str(certain), str(tmp_path)) == ("", "")


def test_wrong_strengths_of_certain_predictions_are_found(
    certain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Explainer.xemp

    def wrong(*given):
        return real(*given) * (1 + 1e-6)

    monkeypatch.setattr(Explainer, "xemp", wrong)
    reason, detail = build(str(certain), str(tmp_path))
    assert reason == ""
    assert "is not explained by the tree engine: the XEMP strengths" in detail
    assert not Explainer.is_in(tmp_path)


@pytest.mark.parametrize(
    "counted",
    [
        lambda line: line.replace("count", "other"),
        lambda line: re.sub(r"\d", "0", line),
    ],
    ids=["not told", "told to be none"],
)
def test_unknown_rows_of_paths_keep_no_model_from_the_engine(
    certain: Path, tmp_path: Path, counted: Callable[[str], str]
) -> None:
    folder, target = tmp_path / "bundle", tmp_path / "compiled"
    shutil.copytree(certain, folder)
    target.mkdir()
    model = bundle.read(folder)
    text = (folder / model.file).read_text()
    # Of the same length: the file says where each tree begins.
    counts = re.compile(r"^(?:leaf|internal)_count=.*\n", re.MULTILINE)
    changed = counts.sub(lambda line: counted(line[0]), text)
    assert changed != text
    (folder / model.file).write_text(changed)
    bundle.write(folder, model)
    assert build(str(folder), str(target)) == ("", "")
    trees, materials = TreesBackend(target, model), Materials(folder, model)
    found = trees.explain(materials.reference, "shap", materials)
    assert found.base is not None
    total = found.base + np.sum(found.values, axis=2)
    np.testing.assert_allclose(total, found.total, rtol=1e-9, atol=1e-9)
