"""What deployment makes of a model, and what becomes of it when something is wrong."""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from app import compilation
from app.compilation import build, build_each, compile_deployed, compile_missing
from app.config import Config
from app.model_cache import load_served
from app.package import PackageOptions, package
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from backends import bundle, by_distance, compiled, load, sandbox
from backends.base import ModelFileRejected
from backends.compiled import TREES
from backends.explanations.materials import Materials
from backends.features import Columns
from backends.model import Model
from backends.trees import fingerprint
from backends.trees.backend import TreesBackend
from backends.trees.engine import Engine
from backends.trees.explainer import Explainer
from tests.by_distance import make_by_distance


def make(folder: Path, **parameters: Any) -> Path:
    """A bundle of a small model; columns with gaps and levels."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"x": random.normal(size=300), "n": random.normal(size=300)})
    frame.loc[random.random(300) < 0.1, "x"] = np.nan
    town = random.choice(["Oslo", "Rome", "Bern"], 300)
    target = frame["x"].fillna(2) * 3 + (town == "Rome") + frame["n"]
    if not parameters.get("linear_tree"):
        frame["town"] = pd.Categorical(town)
    parameters |= {"num_leaves": 7, "verbosity": -1, "num_threads": 1}
    data = lightgbm.Dataset(frame, target, params=parameters)
    booster = lightgbm.train(parameters, data, num_boost_round=8)
    folder.mkdir(exist_ok=True)
    booster.save_model(folder / "model.txt")
    frame.assign(y=target).to_csv(folder / "data.csv", index=False)
    options = PackageOptions(
        model=folder / "model.txt",
        data=folder / "data.csv",
        target="y",
        out=folder / "bundle",
    )
    return package(options, Config(home=folder)).folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("linear"), linear_tree=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(home=tmp_path / "home")


@pytest.fixture
def kept(config: Config) -> CompiledModels:
    return CompiledModels(config.home, fingerprint())


def deploy(folder: Path, kept: CompiledModels, config: Config) -> Any:
    return compile_deployed(folder, bundle.read(folder), kept, config)


def arrays(kept: CompiledModels, folder: Path) -> list[Path]:
    """The engine's files of a bundle's model."""
    found = kept.path(bundle.read(folder).id).iterdir()
    return [path for path in found if path.name != compiled.VERDICT]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets tests change what the child runs."""
    monkeypatch.setattr(sandbox, "run", lambda _, *given, **caps: build(*given))


@pytest.fixture
def in_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for models of several files."""
    monkeypatch.setattr(sandbox, "run", lambda _, *given, **caps: build_each(*given))


def test_plain_model_gets_the_engine(
    plain: Path, kept: CompiledModels, config: Config
) -> None:
    verdict = deploy(plain, kept, config)
    assert (verdict.engine, verdict.reason) == (TREES, "")
    model = bundle.read(plain)
    folder = kept.path(model.id)
    assert compiled.examine(folder, "lightgbm") == verdict
    assert TreesBackend(folder, model).nbytes > 0


def test_linear_trees_stay_with_the_library(
    linear: Path, kept: CompiledModels, config: Config
) -> None:
    verdict = deploy(linear, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm", "not covered")
    assert "linear trees" in verdict.detail
    assert arrays(kept, linear) == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", ["raw_scores", "predict"])
@pytest.mark.parametrize("rows", ["one", "many"])
def test_difference_keeps_the_model_with_the_library(
    plain: Path, kept: CompiledModels, config: Config, monkeypatch, kind, rows
) -> None:
    real = getattr(TreesBackend, kind)

    def wrong(backend: TreesBackend, columns: Any) -> Any:
        answer = real(backend, columns).copy()
        if (len(columns) == 1) == (rows == "one"):
            answer[-1] += np.spacing(np.abs(answer[-1])) * 2
        return answer

    monkeypatch.setattr(TreesBackend, kind, wrong)
    verdict = deploy(plain, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm", "differs")
    word = "raw score" if kind == "raw_scores" else "prediction"
    assert f"the {word} of the golden rows as CSV" in verdict.detail
    assert ("one by one" in verdict.detail) == (rows == "one")
    assert arrays(kept, plain) == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("odd", [-np.inf, np.nan, 2.0**31])
def test_difference_in_odd_values_alone_is_found(
    plain: Path, kept: CompiledModels, config: Config, monkeypatch, odd: float
) -> None:
    real = TreesBackend.raw_scores

    def wrong(backend: TreesBackend, columns: Any) -> Any:
        cells = columns.matrix[:, 1]
        is_odd = np.isnan(cells) if np.isnan(odd) else cells == odd
        return real(backend, columns) + is_odd[:, None]

    monkeypatch.setattr(TreesBackend, "raw_scores", wrong)
    verdict = deploy(plain, kept, config)
    assert verdict.reason == "differs" and "row" in verdict.detail


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("trouble", ["other values", "too much memory"])
def test_model_that_is_not_explained_alike_is_explained_by_its_library(
    plain: Path, kept: CompiledModels, config: Config, monkeypatch, trouble: str
) -> None:
    def wrong(explainer: Explainer, matrix: Any, deadline: float) -> Any:
        return np.full((len(matrix), 1, len(explainer.used)), 0.1)

    def fail(tables: Explainer, ensemble: Any) -> None:
        raise MemoryError

    if trouble == "other values":
        monkeypatch.setattr(Explainer, "shap", wrong)
    else:
        monkeypatch.setattr(Explainer, "__init__", fail)
    verdict = deploy(plain, kept, config)
    assert (verdict.engine, verdict.reason) == (TREES, "")
    assert "is not explained by the tree engine" in verdict.detail
    model = bundle.read(plain)
    folder = kept.path(model.id)
    assert compiled.examine(folder, "lightgbm") == verdict
    assert not Explainer.is_in(folder)
    columns = Columns(np.array([[1.0, 0.5, 2.0], [np.nan, 0.1, 0.0]]))
    materials = Materials(plain, model)
    trees, library = TreesBackend(folder, model), load(plain, model)
    for algorithm in ("shap", "xemp"):
        found = trees.explain(columns, algorithm, materials)
        expected = library.explain(columns, algorithm, materials)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-12)


def test_model_beyond_the_caps_stays_with_the_library(
    plain: Path, kept: CompiledModels, tmp_path: Path
) -> None:
    config = Config(home=tmp_path / "home", model_seconds=0.001)
    verdict = deploy(plain, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm", "failed")
    assert "FORETELL_MODEL_SECONDS" in verdict.detail


def test_what_failed_is_tried_again_and_what_is_good_stays(
    plain: Path, kept: CompiledModels, config: Config, tmp_path: Path
) -> None:
    strict = Config(home=config.home, model_seconds=0.001)
    assert deploy(plain, kept, strict).reason == "failed"
    assert deploy(plain, kept, config).engine == TREES
    # Not compiled again: it would fail.
    assert deploy(plain, kept, strict).engine == TREES


@pytest.mark.usefixtures("in_process")
def test_full_disk_says_nothing_of_the_model(
    plain: Path, kept: CompiledModels, config: Config, monkeypatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("51504 requested and 16384 written")

    monkeypatch.setattr(Engine, "write", full)
    with pytest.raises(OSError, match="cannot be written: 51504 requested"):
        deploy(plain, kept, config)
    # A server compiles it when it starts.
    assert compiled.is_missing(kept.path(bundle.read(plain).id))


def test_damaged_arrays_are_made_again(
    plain: Path, kept: CompiledModels, config: Config
) -> None:
    deploy(plain, kept, config)
    tables = arrays(kept, plain)[0]
    content = tables.read_bytes()
    tables.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert deploy(plain, kept, config).engine == TREES
    assert tables.read_bytes() == content


@pytest.mark.usefixtures("in_process")
def test_format_of_another_package_stays_with_it(
    plain: Path, kept: CompiledModels, config: Config, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(plain, tmp_path / "bundle"))
    model = bundle.read(other)
    card = {**model.to_json(), "format": "lists"}
    changed = bundle.write(other, Model.from_json(card, ""))
    verdict = compile_deployed(other, changed, kept, config)
    assert (verdict.engine, verdict.reason) == ("lists", "not covered")


def test_missing_models_are_compiled_with_a_line_each(
    plain: Path, linear: Path, kept: CompiledModels, config: Config, caplog
) -> None:
    bundles = Bundles(config.home)
    ids = []
    for folder in (plain, linear):
        ids.append(bundle.read(folder).id)
        bundles.put(folder, ids[-1])
    with caplog.at_level(logging.INFO):
        compile_missing([*ids, "0" * 24], bundles, kept, config)
    lines = [each.getMessage() for each in caplog.records]
    assert lines[0] == f"model {ids[0]} is compiled for trees"
    assert lines[1].startswith(f"model {ids[1]} is compiled for lightgbm: ")
    assert lines[2].startswith(f"model {'0' * 24} is not compiled: ")
    assert [compiled.is_missing(kept.path(each)) for each in ids] == [False, False]


@pytest.mark.parametrize("format", ["lightgbm", "onnx"])
def test_each_file_of_a_model_is_compiled_under_an_id_of_its_own(
    kept: CompiledModels, config: Config, tmp_path: Path, format: str
) -> None:
    made = make_by_distance(tmp_path / "bundle", format)
    verdict = deploy(made.folder, kept, config)
    assert (verdict.engine, verdict.reason, verdict.detail) == (TREES, "", "")
    folder = kept.path(made.model.id)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("1", "10", "2", compiled.VERDICT)
    ]
    for distance in made.model.files:
        compiled.check_model(
            folder / str(distance), by_distance.member(made.model, distance).id
        )
        assert (folder / str(distance)).stat().st_mode & 0o777 == 0o700
        for path in (folder / str(distance)).iterdir():
            assert path.stat().st_mode & 0o777 == 0o600
    assert compiled.examine(folder, format) == verdict
    assert load_served(made.folder, folder).backend.engine == TREES


def test_file_that_is_not_covered_is_its_librarys_alone(
    kept: CompiledModels, config: Config, tmp_path: Path
) -> None:
    made = make_by_distance(tmp_path / "bundle", linear=(2, 10))
    verdict = deploy(made.folder, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm and trees", "not covered")
    assert verdict.detail.startswith("at the forecast distance 2 and 1 more, the tree")
    folder = kept.path(made.model.id)
    assert [path.name for path in (folder / "2").iterdir()] == [compiled.VERDICT]
    assert len(list((folder / "1").iterdir())) > 1
    assert compiled.examine(folder, "lightgbm") == verdict
    assert load_served(made.folder, folder).backend.engine == "lightgbm and trees"


@pytest.mark.usefixtures("in_process_each")
def test_difference_of_one_file_keeps_that_with_the_library(
    kept: CompiledModels, config: Config, tmp_path: Path, monkeypatch
) -> None:
    made = make_by_distance(tmp_path / "bundle")
    real, odd = TreesBackend.predict, by_distance.member(made.model, 10).id

    def wrong(backend: TreesBackend, columns: Any) -> Any:
        return real(backend, columns) + (backend.model.id == odd)

    monkeypatch.setattr(TreesBackend, "predict", wrong)
    verdict = deploy(made.folder, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm and trees", "differs")
    assert verdict.detail.startswith("at the forecast distance 10, the prediction of")


def test_files_beyond_the_caps_stay_with_the_library(
    kept: CompiledModels, tmp_path: Path
) -> None:
    made = make_by_distance(tmp_path / "bundle")
    config = Config(home=tmp_path / "home", model_seconds=0.001)
    verdict = deploy(made.folder, kept, config)
    assert (verdict.engine, verdict.reason) == ("lightgbm", "failed")
    assert arrays(kept, made.folder) == []


@pytest.mark.parametrize(("files", "seconds"), [(3, 360), (168, 1200)])
def test_many_files_share_the_time_of_ten(
    config: Config, tmp_path: Path, monkeypatch, files: int, seconds: float
) -> None:
    given = []

    def run(name: str, *arguments: Any, **caps: Any) -> None:
        given.append(caps["seconds"])
        raise ModelFileRejected("it took longer")

    monkeypatch.setattr(sandbox, "run", run)
    made = make_by_distance(tmp_path / "bundle")
    names = {each: f"h{each}.txt" for each in range(1, files + 1)}
    model = dataclasses.replace(made.model, files=names, file="h1.txt")
    kept = CompiledModels(config.home, fingerprint())
    compile_deployed(made.folder, model, kept, config)
    assert given == [seconds]


def test_full_disk_stops_nothing(
    plain: Path, kept: CompiledModels, config: Config, caplog, monkeypatch
) -> None:
    bundles = Bundles(config.home)
    model_id = bundle.read(plain).id
    bundles.put(plain, model_id)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compilation, "_compile", full)
    compile_missing([model_id], bundles, kept, config)
    assert "No space left" in caplog.text
