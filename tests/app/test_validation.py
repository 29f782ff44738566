"""A bundle that does not answer as it did when it was packaged is refused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from app.config import Config
from app.package import PackageOptions, package
from app.validation import measure_difference, validate
from backends import bundle
from backends.bundle import BundleRejected
from backends.model import Feature, Model

CONFIG = Config()


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaged")
    rng = np.random.default_rng(0)
    town = rng.choice(["Oslo", "Rome"], 200)
    frame = pd.DataFrame({"x": rng.normal(size=200), "town": pd.Categorical(town)})
    target = frame["x"] + (town == "Rome")
    booster = lightgbm.train(
        {"num_leaves": 4, "verbosity": -1, "num_threads": 1, "objective": "poisson"},
        lightgbm.Dataset(frame, np.exp(target)),
        num_boost_round=5,
    )
    booster.save_model(folder / "model.txt")
    frame.assign(y=np.exp(target)).to_csv(folder / "data.csv", index=False)
    options = PackageOptions(
        model=folder / "model.txt",
        data=folder / "data.csv",
        target="y",
        out=folder / "bundle",
    )
    return package(options, CONFIG).folder


@pytest.fixture
def folder(packaged: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return Path(shutil.copytree(packaged, tmp_path / "bundle"))


def change(
    folder: Path, edit: Callable[[dict[str, Any]], None], *, file: str = "golden.json"
) -> None:
    """Change the golden rows and sum the bundle up again, as its maker could."""
    model = bundle.read(folder)
    content = json.loads((folder / file).read_text())
    edit(content)
    (folder / file).write_text(json.dumps(content))
    bundle.write(folder, model)


def test_packaged_bundle_is_valid(folder: Path) -> None:
    report = validate(folder, CONFIG)
    assert report.model == bundle.read(folder)
    assert report.rows > 40
    assert report.largest_difference == 0


def test_changed_file_is_refused_before_it_is_loaded(folder: Path) -> None:
    (folder / "model.txt").write_bytes(b"tree\n")
    with pytest.raises(BundleRejected, match="'model.txt' was changed after packaging"):
        validate(folder, CONFIG)


def test_changed_golden_answer_is_refused_with_its_row(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["values"][7][0] *= 1 + 1e-9

    change(folder, edit)
    with pytest.raises(BundleRejected, match="prediction of .* differs in row 7: "):
        validate(folder, CONFIG)


def test_changed_golden_row_is_refused(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        raw = np.array(content["raw"])
        other = int(np.argmax(np.abs(raw - raw[3])))
        content["rows"][3] = content["rows"][other]

    change(folder, edit)
    with pytest.raises(BundleRejected, match="raw score of .* as CSV differs in row 3"):
        validate(folder, CONFIG)


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["values"].pop(),
        lambda content: content["rows"].clear(),
        lambda content: content.pop("raw"),
        lambda content: content.update(rows=[1]),
        lambda content: content.update(values=[["x"]]),
    ],
)
def test_golden_rows_that_are_none_are_refused(
    folder: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    change(folder, edit)
    with pytest.raises(BundleRejected, match="golden.json|could not convert"):
        validate(folder, CONFIG)


def test_bundle_without_golden_rows_is_refused(folder: Path) -> None:
    model = bundle.read(folder)
    (folder / "golden.json").unlink()
    bundle.write(folder, model)
    with pytest.raises(BundleRejected, match="golden.json does not hold golden rows"):
        validate(folder, CONFIG)


def test_exemplars_that_are_none_of_the_model_are_refused(folder: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["features"][0]["name"] = "nobody"

    change(folder, edit, file="exemplars.json")
    message = "exemplars.json: the model takes no feature 'nobody'"
    with pytest.raises(BundleRejected, match=message):
        validate(folder, CONFIG)


def test_bundle_without_exemplars_is_valid(folder: Path) -> None:
    model = bundle.read(folder)
    (folder / "exemplars.json").unlink()
    bundle.write(folder, model)
    assert validate(folder, CONFIG).rows > 40


def test_other_model_under_the_same_card_is_refused(folder: Path) -> None:
    model = bundle.read(folder)
    text = (folder / "model.txt").read_text()
    place = text.index("leaf_value=") + len("leaf_value=")
    digit = str((int(text[place + 3]) + 1) % 10)
    (folder / "model.txt").write_text(text[: place + 3] + digit + text[place + 4 :])
    bundle.write(folder, model)
    with pytest.raises(BundleRejected, match="differs in row"):
        validate(folder, CONFIG)


def test_swapped_categories_are_refused(folder: Path) -> None:
    model = bundle.read(folder)
    x, town = model.features
    swapped = dataclasses.replace(town, categories=("Rome", "Oslo"))
    bundle.write(folder, dataclasses.replace(model, features=(x, swapped)))
    with pytest.raises(BundleRejected, match="differs in row"):
        validate(folder, CONFIG)


def test_refusal_tells_of_other_versions(folder: Path) -> None:
    model = bundle.read(folder)
    versions = {**model.versions, "lightgbm": "4.5.0"}
    bundle.write(folder, dataclasses.replace(model, versions=versions))
    assert validate(folder, CONFIG).rows
    (folder / "golden.json").unlink()
    bundle.write(folder, dataclasses.replace(model, versions=versions))
    with pytest.raises(BundleRejected, match="made with lightgbm 4.5.0 there and 4"):
        validate(folder, CONFIG)


def test_model_that_takes_too_long_is_refused(folder: Path) -> None:
    with pytest.raises(BundleRejected, match="more than the 0.001 seconds"):
        validate(folder, Config(model_seconds=0.001))


def test_model_that_takes_too_much_memory_is_refused(folder: Path) -> None:
    with pytest.raises(BundleRejected, match="more than the 1000 bytes|crashed"):
        validate(folder, Config(model_memory=1000))


def test_graphs_may_differ_by_what_float32_rounds() -> None:
    graph = Model(
        "", "m", "onnx", "m.onnx", "regression", "y", (Feature("x", "numeric"),)
    )
    booster = dataclasses.replace(graph, format="lightgbm")
    expected = np.array([[100.0], [1.0], [1e-9]])
    answered = expected + np.array([[5e-4], [-5e-6], [5e-7]])
    assert measure_difference(graph, "", expected, answered) == pytest.approx(5e-4)
    with pytest.raises(ValueError, match="differs in row 0"):
        measure_difference(booster, "", expected, answered)
    with pytest.raises(ValueError, match="differs in row 1"):
        measure_difference(graph, "", expected, expected + [[0], [3e-5], [0]])
    with pytest.raises(ValueError, match="differs in row 2"):
        measure_difference(graph, "", expected, expected + [[0], [0], [np.nan]])


def test_module_checks_a_folder_from_the_command_line(folder: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.validation", str(folder)],
            capture_output=True,
            text=True,
            env={key: os.environ[key] for key in os.environ if "FORETELL" not in key},
        )

    done = run()
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"] == bundle.read(folder).id
    (folder / "more").touch()
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "'more' is not part of the bundle\n"
