"""Offset and exposure become part of a bundle, of its numbers and of its answers."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from app.bundling import PackagingRefused
from app.config import Config
from app.golden import Golden
from app.model_file import open_model_file
from app.package import PackageOptions, package
from app.reference import Scored, feature_impact
from app.training_data import TrainingDataRejected, read_table, spread
from app.validation import validate
from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.features import DataError, Decoder
from tests.insurance import FEATURES, Policy, people

CONFIG = Config()


def test_predictions_of_a_bundle_have_its_exposure_in_them(
    insurance: Mapping[str, Policy],
) -> None:
    for name in ("claims", "costs"):
        policy = insurance[name]
        predicted = policy.expected(policy.frame)
        held = np.sort(spread(len(policy.frame))[: len(policy.frame) // 5])
        bounds = np.quantile(predicted[held], (0.005, 0.995))
        np.testing.assert_allclose(policy.model.prediction_bounds, bounds)
        statistics = json.loads((policy.bundle / "statistics.json").read_text())
        target = pd.read_csv(policy.data)["target"].to_numpy()
        rmse = np.sqrt(np.mean((predicted - target)[held] ** 2))
        assert statistics["metrics"]["rmse"] == pytest.approx(rmse)
        assert [each["name"] for each in statistics["features"]] == FEATURES


def test_impact_is_of_predictions_with_offset(insurance: Mapping[str, Policy]) -> None:
    policy = insurance["costs"]
    backend = policy.backend("lightgbm")
    columns = Decoder.of(policy.model).from_table(read_table(policy.data))
    target = pd.read_csv(policy.data)["target"].to_numpy(float)
    held = np.sort(spread(len(target))[: len(target) // 5])
    statistics = json.loads((policy.bundle / "statistics.json").read_text())
    taken = columns.take(held)
    scored = Scored(taken, backend.predict(taken), target[held])
    assert statistics["impact"]["raw"] == feature_impact(backend, scored)["raw"]
    bare = Scored(
        replace(taken, offset=None, exposure=None), backend.predict(taken), target[held]
    )
    assert statistics["impact"]["raw"] != feature_impact(backend, bare)["raw"]


@pytest.mark.parametrize("name", ["claims", "costs", "price", "fraud"])
def test_golden_rows_have_offset_and_exposure_and_answers_with_them(
    insurance: Mapping[str, Policy], name: str
) -> None:
    policy = insurance[name]
    golden = Golden.read(policy.bundle)
    frame = pd.DataFrame(golden.rows)
    assert set(frame) == set(policy.model.columns)
    levels = policy.frame["town"].dtype
    frame["town"] = frame["town"].where(frame["town"].isin(levels.categories))
    frame = frame.astype({"town": levels, "age": float})
    expected = policy.expected(frame)[:, None]
    np.testing.assert_allclose(golden.values, expected, rtol=1e-13)
    for column in set(frame) - set(FEATURES):
        # Each is from another row than the features, and both ends are there.
        assert {policy.frame[column].min(), policy.frame[column].max()} <= set(
            frame[column]
        )
    rows = {tuple(row) for row in policy.frame[list(frame)].to_numpy()}
    assert not rows & {tuple(row) for row in frame.to_numpy()}


def test_reference_rows_keep_offset_and_exposure(
    insurance: Mapping[str, Policy],
) -> None:
    policy = insurance["costs"]
    kept = pq.read_table(policy.bundle / "reference.parquet")
    assert kept.column_names == [*FEATURES, "grade", "years", "target"]
    assert len(Decoder.of(policy.model).from_table(kept)) == kept.num_rows


def test_bundle_that_forgot_its_exposure_is_rejected(
    insurance: Mapping[str, Policy], tmp_path: Path
) -> None:
    policy = insurance["claims"]
    folder = tmp_path / "bundle"
    shutil.copytree(policy.bundle, folder)
    assert validate(folder, CONFIG).rows == len(Golden.read(folder).rows)
    bundle.write(folder, dataclasses.replace(policy.model, exposure=None, link=None))
    with pytest.raises(BundleRejected, match="prediction of the golden rows"):
        validate(folder, CONFIG)


def options(policy: Policy, out: Path, **changes: Any) -> PackageOptions:
    return PackageOptions(
        model=policy.data.with_name("model.txt"),
        data=changes.pop("data", policy.data),
        target="target",
        out=out,
        **changes,
    )


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("claims", {"exposure": "age"}, "--exposure 'age' is a feature of the model"),
        ("claims", {"offset": "target"}, "--offset 'target' is the target"),
        (
            "claims",
            {"offset": "years", "exposure": "years"},
            "--exposure 'years' is the column of --offset already",
        ),
        ("claims", {"exposure": "none"}, "data.csv has no column 'none'"),
        ("price", {"exposure": "years"}, "log link; this model's is identity"),
        ("fraud", {"exposure": "years"}, "log link; this model's is logit"),
    ],
)
def test_column_that_cannot_be_offset_or_exposure_is_refused(
    insurance: Mapping[str, Policy],
    tmp_path: Path,
    name: str,
    given: dict[str, str],
    said: str,
) -> None:
    with pytest.raises((PackagingRefused, TrainingDataRejected), match=said):
        package(options(insurance[name], tmp_path / "bundle", **given), CONFIG)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "a value is missing"),
        ("0", "a finite number above 0 is expected, not 0.0"),
        ("-2", "a finite number above 0 is expected, not -2.0"),
        ("inf", "a finite number above 0 is expected, not inf"),
        ("long", "a number is expected, not 'long'"),
    ],
)
def test_exposure_that_is_none_is_named_in_the_data(
    insurance: Mapping[str, Policy], tmp_path: Path, cell: str, said: str
) -> None:
    policy = insurance["claims"]
    data = pd.read_csv(policy.data, dtype=str, keep_default_na=False)
    data.loc[7, "years"] = cell
    data.to_csv(tmp_path / "data.csv", index=False)
    wanted = options(
        policy, tmp_path / "bundle", data=tmp_path / "data.csv", exposure="years"
    )
    with pytest.raises(DataError, match=f"column 'years', row 7: {said}"):
        package(wanted, CONFIG)


def squared(
    values: np.ndarray, data: lightgbm.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """An objective of the user's own."""
    return values - data.get_label(), np.ones(len(values))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"objective": "regression", "reg_sqrt": True}, "'regression sqrt'"),
        ({"objective": "binary", "sigmoid": 2}, "'binary sigmoid:2'"),
        ({"objective": "cross_entropy"}, "'cross_entropy'"),
        ({"objective": "multiclass", "num_class": 2}, "'multiclass num_class:2'"),
        ({"objective": squared}, "of its author's own"),
        (
            {
                "objective": "poisson",
                "boosting": "rf",
                "bagging_freq": 1,
                "bagging_fraction": 0.5,
            },
            "random forest",
        ),
    ],
)
def test_models_whose_link_cannot_take_an_offset_are_refused(
    tmp_path: Path, parameters: dict[str, Any], said: str
) -> None:
    frame, codes = people(), np.arange(300) % 2
    data = lightgbm.Dataset(frame[["age"]], codes)
    parameters = {"num_leaves": 3, "num_threads": 1, "verbosity": -1} | parameters
    lightgbm.train(parameters, data, num_boost_round=2).save_model(tmp_path / "m.txt")
    file = open_model_file(tmp_path / "m.txt", output=None, config=CONFIG)
    with pytest.raises(ModelFileRejected, match=said):
        file.link()


@pytest.mark.parametrize(
    ("objective", "link"),
    [
        *((each, "identity") for each in ("regression", "regression_l1", "huber")),
        *((each, "identity") for each in ("fair", "quantile", "mape")),
        *((each, "log") for each in ("poisson", "gamma", "tweedie")),
        ("binary", "logit"),
    ],
)
def test_link_is_that_of_the_objective(
    tmp_path: Path, objective: str, link: str
) -> None:
    codes = np.arange(300) % 2 + (objective == "gamma")
    data = lightgbm.Dataset(people()[["age"]], codes)
    parameters = {"num_leaves": 3, "num_threads": 1, "verbosity": -1}
    trained = lightgbm.train(parameters | {"objective": objective}, data, 2)
    trained.save_model(tmp_path / "m.txt")
    file = open_model_file(tmp_path / "m.txt", output=None, config=CONFIG)
    assert file.link() == link


def test_graph_takes_no_offset(tmp_path: Path) -> None:
    fitted = LinearRegression().fit(np.eye(2), [1.0, 2.0])
    graph = to_onnx(fitted, np.eye(2, dtype=np.float32)).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(graph)
    file = open_model_file(tmp_path / "m.onnx", output=None, config=CONFIG)
    with pytest.raises(ModelFileRejected, match="for LightGBM models"):
        file.link()
