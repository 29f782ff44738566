import re
from dataclasses import replace

import lightgbm
import numpy as np
import pytest

from app.config import Config
from app.package import PackageOptions, package
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from backends.trees import fingerprint
from backends.trees.backend import TreesBackend
from benchmarks import explained, timing
from benchmarks.bars import shap_values, xemp
from benchmarks.specimens.base import TARGET
from benchmarks.specimens.made_up import MadeUp
from benchmarks.workspace import Workspace, WrongAnswer, WrongEngine
from tests.specimens import Specimen as Deployed
from tests.specimens import compile_specimen

BARS = frozenset({"P5", "P6"})
LEVELS = MadeUp(
    "levels",
    "binary",
    numeric=4,
    trees=60,
    level_counts=(5,),
    missing=0.1,
    leaves=4,
    training_rows=500,
    bars=BARS,
)
# With so few trees it leaves a column out.
NUMBERS = replace(
    LEVELS,
    name="numbers",
    objective="regression",
    trees=9,
    level_counts=(),
    missing=0.0,
)
NOT_EXPLAINED = MadeUp("other", "regression", 4, 9, bars=frozenset({"P1"}))
ROWS, SINGLE_ROWS = 130, 5


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """A workspace whose models are packaged and in the state folder."""
    folder = tmp_path_factory.mktemp("bench")
    specimens = {each.name: each for each in (LEVELS, NUMBERS, NOT_EXPLAINED)}
    deployments = {name: name for name in (LEVELS.name, NUMBERS.name)}
    workspace = Workspace(folder, specimens, "", deployments)
    for name in deployments:
        models = workspace.model(name).parent
        models.mkdir(parents=True)
        specimens[name].train(models)
        options = PackageOptions(
            model=workspace.model(name),
            data=models / "data.parquet",
            target=TARGET,
            out=workspace.bundle(name),
        )
        report = package(options, Config(home=folder))
        kept = Bundles(workspace.home).put(report.folder, report.model.id)
        deployed = Deployed(kept, report.model, specimens[name].frame(1, 1), None)
        compile_specimen(deployed, CompiledModels(workspace.home, fingerprint()))
    return workspace


@pytest.fixture
def workspace(bundled, monkeypatch):
    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    for module in (explained, shap_values, xemp):
        monkeypatch.setattr(module, "ROWS", ROWS)
        monkeypatch.setattr(module, "SINGLE_ROWS", SINGLE_ROWS)
    monkeypatch.setattr(xemp, "_CHECKED_ROWS", SINGLE_ROWS)
    return bundled


@pytest.fixture
def slightly_wrong(monkeypatch):
    """Lets the engine err in calls of so many rows, by so much."""
    explain = TreesBackend.explain

    def err(rows, by):
        def off(backend, columns, *given):
            found = explain(backend, columns, *given)
            if len(columns) == rows:
                found.values[-1, 0, 0] += by
            return found

        monkeypatch.setattr(TreesBackend, "explain", off)

    return err


def test_shap_is_judged_in_bulk_and_row_by_row(workspace):
    outcome = shap_values.measure(workspace)
    bars = [(part.name.split(",")[0], part.good, part.bar) for part in outcome.parts]
    assert bars == [
        ("model levels", ">=", 30.0),
        ("model levels", ">=", 1.0),
        ("model numbers", ">=", 30.0),
        ("model numbers", ">=", 1.0),
    ]
    assert all(part.ratio > 0 for part in outcome.parts)


def test_xemp_is_judged_against_the_library_and_shown_against_the_engine(workspace):
    outcome = xemp.measure(workspace)
    found = [(part.name, part.good, part.bar) for part in outcome.parts]
    used = {
        name: np.count_nonzero(
            lightgbm.Booster(model_file=workspace.model(name)).feature_importance()
        )
        for name in workspace.deployments
    }
    assert used["levels"] == 5
    assert used["numbers"] < 4
    own = "time ÷ the engine's own plain prediction"
    assert found == [
        (f"model {name}, {what}", good, bar)
        for name in used
        for what, good, bar in (
            (f"{used[name]} features, rows/s ÷ LightGBM's predict", ">=", 0.75),
            (own, "<=", None),
        )
    ]
    assert all(part.ratio > 0 for part in outcome.parts)


@pytest.mark.parametrize("bar", [shap_values, xemp])
def test_notes_tell_one_row_and_the_difference(workspace, bar):
    notes = bar.measure(workspace).details["notes"]
    for name, note in zip(("levels", "numbers"), notes, strict=True):
        assert re.match(rf"{name}: .* one row \d+ µs, LightGBM ", note)
        assert 0 < float(note.rpartition(" ")[2]) < 1e-9


@pytest.mark.parametrize(
    ("bar", "rows", "what"),
    [
        (shap_values, ROWS, "SHAP values"),
        (shap_values, 1, "SHAP values row by row"),
        (xemp, 1, "XEMP strengths row by row"),
    ],
)
@pytest.mark.parametrize("by", [2e-9, np.nan])
def test_wrong_values_are_not_timed(workspace, slightly_wrong, bar, rows, what, by):
    slightly_wrong(rows, by)
    with pytest.raises(WrongAnswer, match=f"model levels, {what}: .* off"):
        bar.measure(workspace)


def test_wrong_strengths_of_many_rows_are_not_timed(
    workspace, slightly_wrong, monkeypatch
):
    monkeypatch.setattr(xemp, "_CHECKED_ROWS", ROWS)
    slightly_wrong(ROWS, 2e-9)
    with pytest.raises(WrongAnswer, match="model levels, XEMP strengths: 2e-09 off"):
        xemp.measure(workspace)


def test_values_of_too_few_features_are_not_timed(workspace):
    model = explained.Explained.load(workspace, "levels")
    with pytest.raises(WrongAnswer, match=r"what: \(2, 3\), not \(2, 4\)"):
        model.check("what", np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("bar", [shap_values, xemp])
def test_other_engine_is_not_timed(workspace, tmp_path, bar):
    for name in workspace.deployments:
        bundle = workspace.bundle(name)
        Bundles(tmp_path / "home").put(bundle, workspace.model_ids[name])
    elsewhere = replace(workspace, folder=tmp_path)
    (tmp_path / "bundles").symlink_to(workspace.folder / "bundles")
    with pytest.raises(WrongEngine, match="model levels in process is served by light"):
        bar.measure(elsewhere)
