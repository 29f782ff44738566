"""A spec, model files and data become a bundle that forecasts as training did."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from app.bundling import PackageReport, PackagingRefused
from app.config import Config
from app.golden import Golden
from app.model_cache import load_served
from app.reference import GRID
from app.timeseries.card import TimeSeriesOptions
from app.timeseries.packaging import package
from app.training_data import TrainingDataRejected
from app.validation import validate
from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.explanations.materials import Materials
from backends.features import Columns
from backends.timeseries import known_series
from tests.forecasts import Forecaster, as_csv
from tests.training_files import write_training_files

CONFIG = Config()
NAMES = (
    *("sales", "stores", "passengers", "weather", "jobs", "visits"),
    *("by-distance", "onnx-power"),
)


def refused(
    forecasters: Mapping[str, Forecaster],
    name: str,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """What packaging says of a changed spec, or of other options."""
    given = write_training_files(folder / "given", forecasters[name], **changes) | dict(
        options or {}
    )
    with pytest.raises(
        (PackagingRefused, ModelFileRejected, TrainingDataRejected, BundleRejected)
    ) as error:
        package(TimeSeriesOptions(**given), CONFIG)
    assert not (folder / "given" / "bundle").exists()
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_card_is_the_one_made_by_hand(
    packaged: Callable[[str], PackageReport],
    forecasters: Mapping[str, Forecaster],
    name: str,
) -> None:
    model, made = packaged(name).model, forecasters[name].model
    # A graph's input is declared as float32.
    features = [
        dataclasses.replace(each, dtype=own.dtype)
        for each, own in zip(made.features, model.features, strict=True)
    ]
    assert list(model.features) == features
    for key in ("task", "target", "labels", "positive_label", "file", "files"):
        assert getattr(model, key) == getattr(made, key)
    assert (model.output, model.input_names) == (made.output, made.input_names)
    assert model.time_series == made.time_series
    assert "lightgbm" in model.versions or "onnxruntime" in model.versions


@pytest.mark.parametrize("name", NAMES)
def test_sample_is_the_least_request_and_answered_as_expected(
    packaged: Callable[[str], PackageReport],
    forecasters: Mapping[str, Forecaster],
    name: str,
) -> None:
    report, made = packaged(name), forecasters[name]
    spec = made.spec
    found = validate(report.folder, CONFIG)
    expected = json.loads((report.folder / "sample_expected.json").read_text())["data"]
    assert found.forecasts == len(expected) > 0
    assert report.warnings == ()
    sample = pd.read_csv(report.folder / "sample.csv", dtype=str)
    series = len({each["seriesId"] for each in expected})
    window = spec.forecast_window
    told = [each["forecastDistance"] for each in expected]
    assert told == [*range(window.start, window.end + 1)] * series
    ahead = len(told) // series
    if spec.strategy == "recursive":
        ahead = window.end
    assert len(sample) == series * (spec.history + ahead)
    future = sample.iloc[[each["rowId"] for each in expected]]
    blank = set(sample.columns[future.isna().all()])
    known = {spec.datetime_column, spec.series_id_column, *spec.known_in_advance}
    assert blank == set(sample.columns) - known
    last = sample.loc[sample[spec.target].notna(), spec.datetime_column]
    times = pd.to_datetime(last, format=spec.datetime_format)
    point = datetime.fromisoformat(expected[0]["forecastPoint"]).replace(tzinfo=None)
    if spec.feature_derivation_window.end == 0:
        assert times.max() == point
    else:
        assert times.max() < point


def test_metrics_and_bounds_are_of_the_newest_days_in_target_units(
    packaged: Callable[[str], PackageReport], forecasters: Mapping[str, Forecaster]
) -> None:
    report, made = packaged("stores"), forecasters["stores"]
    frame = pd.DataFrame(made.rows).astype({"sold": float})
    # A day of the week before: distances are up to three days.
    frame["before"] = frame.groupby("store")["sold"].shift(7)
    found = made.training
    rows = frame.iloc[found.pairs.rows]
    said = made.boosters[0].predict(found.matrix, num_threads=1)
    forecasts = said + rows["before"].to_numpy()
    days = np.sort(rows["day"].unique())
    held = (rows["day"] >= days[-round(len(days) * 0.2)]).to_numpy()
    error = (forecasts - rows["sold"].to_numpy())[held]
    assert report.holdout_rows == held.sum()
    assert report.metrics["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert report.metrics["mae"] == pytest.approx(np.abs(error).mean())
    expected = np.quantile(forecasts[held], (0.005, 0.995))
    assert report.model.prediction_bounds == pytest.approx(expected)
    statistics = json.loads((report.folder / "statistics.json").read_text())
    quantiles = np.quantile(rows["sold"], GRID)
    assert statistics["target"]["quantiles"] == pytest.approx(quantiles)
    assert statistics["training_rows"] == report.training_rows == len(found.y)


def test_holdout_of_its_own_brings_its_history(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    made = forecasters["jobs"]
    given = write_training_files(tmp_path, made)
    last = {row["month"] for row in made.rows[60:90]}
    rows = [row for row in made.rows if row["month"] in last]
    (tmp_path / "held.csv").write_bytes(as_csv(rows))
    options = TimeSeriesOptions(**given, holdout=tmp_path / "held.csv")
    report = package(options, CONFIG)
    # Of thirty months sixteen are the history of the first that is predicted.
    assert report.holdout_rows == 2 * 14
    assert 0 < report.metrics["rmse"] < 20


@pytest.mark.parametrize("name", ["passengers", "weather"])
def test_classes_are_told_by_their_codes(
    packaged: Callable[[str], PackageReport],
    forecasters: Mapping[str, Forecaster],
    name: str,
) -> None:
    report, made = packaged(name), forecasters[name]
    target = made.spec.target
    statistics = json.loads((report.folder / "statistics.json").read_text())
    told = pd.DataFrame(made.rows).iloc[made.training.pairs.rows][target]
    assert dict(statistics["target"]["labels"]) == told.value_counts().to_dict()
    assert report.metrics["auc" if name == "passengers" else "accuracy"] > 0.7
    expected = json.loads((report.folder / "sample_expected.json").read_text())["data"]
    for each in expected:
        chances = {told["label"]: told["value"] for told in each["predictionValues"]}
        assert list(chances) == list(made.spec.classes)
        assert sum(chances.values()) == pytest.approx(1)
        assert each["prediction"] == max(chances, key=lambda label: chances[label])


def test_bundle_has_materials_of_derived_rows(
    packaged: Callable[[str], PackageReport], forecasters: Mapping[str, Forecaster]
) -> None:
    report, made = packaged("sales"), forecasters["sales"]
    materials = Materials(report.folder, report.model)
    table = pq.read_table(report.folder / bundle.REFERENCE)
    assert table.column_names == ["sales", *made.spec.names]
    assert set(table["weather (actual)"].to_pylist()) == {"clear", "rain", "snow"}
    rows = {row.tobytes() for row in made.training.matrix}
    kept = materials.reference.matrix
    assert len(kept) == report.reference_rows == 1000
    assert all(row.tobytes() in rows for row in kept)
    names = [report.model.features[each].name for each in materials.exemplars.features]
    assert "weather (actual)" in names and "Forecast Distance" not in names
    assert known_series.read(report.folder) is None


def test_exemplars_and_golden_rows_of_several_files(
    packaged: Callable[[str], PackageReport],
) -> None:
    report = packaged("by-distance")
    model = report.model
    content = json.loads((report.folder / "exemplars.json").read_text())
    names = {entry["name"] for entry in content["features"]}
    assert names and "Forecast Distance" not in names
    golden = Golden.read(report.folder)
    assert {row["Forecast Distance"] for row in golden.rows} == {1, 2, 3}
    assert len(golden.rows) > 40
    assert known_series.read(report.folder) == {"north", "007", '12, "b"'}
    served = load_served(report.folder, None)
    matrix = Materials(report.folder, model).reference.matrix
    assert served.backend.predict(Columns(matrix)).shape == (len(matrix), 1)


def test_spec_may_name_the_files(
    packaged: Callable[[str], PackageReport],
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
) -> None:
    made = forecasters["by-distance"]
    files = {"1": "model-1.txt", "3": "model-3.txt", "2": "model-2.txt"}
    given = write_training_files(tmp_path / "several", made, models=files)
    report = package(TimeSeriesOptions(**given | {"models": (), "name": "m"}), CONFIG)
    assert report.model.files == made.model.files
    given = write_training_files(
        tmp_path / "one", forecasters["stores"], model={"file": "model.txt"}
    )
    report = package(TimeSeriesOptions(**given | {"models": ()}), CONFIG)
    assert report.model.file == "model.txt"
    assert report.model.name == "spec"


def test_feature_of_the_distances_name_gives_way(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    made = forecasters["stores"]
    given = write_training_files(tmp_path, made)
    report = package(
        TimeSeriesOptions(**given | {"models": given["models"] * 3}), CONFIG
    )
    assert report.model.features[-1].name == "Forecast Distance (model)"
    assert report.model.files == {1: "model-1.txt", 2: "model-2.txt", 3: "model-3.txt"}
    one, *_ = made.boosters.values()
    matrix = made.training.matrix[:9]
    served = load_served(report.folder, None)
    rows = np.column_stack([matrix, made.training.pairs.distances[:9]])
    np.testing.assert_array_equal(
        served.backend.predict(Columns(rows))[:, 0], one.predict(matrix)
    )


# ---- What is refused


def test_features_of_another_order_are_named(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    features = forecasters["stores"].spec.raw["features"]
    assert isinstance(features, list)
    swapped = [features[1], features[0], *features[2:]]
    said = refused(forecasters, "stores", tmp_path, features=swapped)
    assert "Feature 0 of the model is 'Forecast_Distance'" in said
    assert "'sold (7 day mean)'" in said


@pytest.mark.parametrize("name", ["stores", "onnx-power"])
def test_features_of_another_number_are_counted(
    forecasters: Mapping[str, Forecaster], tmp_path: Path, name: str
) -> None:
    features = forecasters[name].spec.raw["features"]
    assert isinstance(features, list)
    said = refused(forecasters, name, tmp_path, features=features[:-1])
    count = len(features)
    assert said == f"The model takes {count} features, the spec derives {count - 1}"


@pytest.mark.parametrize(
    ("name", "options", "changes", "words"),
    [
        ("stores", {"target": "promo"}, {}, "the spec's target is 'sold'"),
        ("stores", {}, {"version": 2}, "spec.json: version: 1 is expected"),
        ("passengers", {}, {"classes": ["low", "up"]}, "data.csv: .*'high'"),
        ("weather", {}, {"classes": ["dry", "wet"]}, "3 classes apart, the spec has 2"),
        (
            "passengers",
            {"positive_class": "up"},
            {},
            "'up' is none of the classes 'low', 'high'",
        ),
        ("stores", {"positive_class": "a"}, {}, "--positive-class is for binary"),
        ("stores", {"models": ()}, {}, "Name the MODEL, or in the spec"),
        ("stores", {"threshold": 2.0}, {}, "--threshold is from 0 to 1"),
        (
            "stores",
            {},
            {"featureDerivationWindow": {"start": -400, "end": 0}},
            "data.csv: .*400 day",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
    name: str,
    options: dict[str, Any],
    changes: dict[str, Any],
    words: str,
) -> None:
    said = refused(forecasters, name, tmp_path, options, **changes)
    assert re.search(words, said, re.DOTALL)


def test_several_files_are_one_for_each_distance(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    models = {f"{each}": f"model-{each}.txt" for each in (1, 2, 3)}
    one = (tmp_path / "given" / "model-1.txt",)
    said = refused(forecasters, "by-distance", tmp_path, {"models": one}, models=models)
    assert said == (
        "1 model files are given: one for each of the 3 forecast distances, is expected"
    )
    said = refused(forecasters, "by-distance", tmp_path, {"models": one * 2})
    assert "one for each of the 3 forecast distances, or one for all" in said
    given = {"models": (tmp_path / "given" / "model.txt",) * 6}
    said = refused(forecasters, "jobs", tmp_path, given)
    assert "recursive strategy has one model for all distances" in said


def test_files_are_of_one_format(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    graph = forecasters["onnx-power"]
    text, onnx = tmp_path / "model.txt", graph.folder / "model.onnx"
    matrix = graph.training.matrix
    data = lightgbm.Dataset(matrix, graph.training.y)
    lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 2).save_model(text)
    said = refused(
        forecasters, "onnx-power", tmp_path, {"models": (text, onnx, onnx, onnx)}
    )
    assert said == "The model files are of different formats"


@pytest.mark.parametrize(
    ("name", "target_type", "words"),
    [
        ("stores", "Binary", "which is regression, not binary"),
        ("passengers", "Regression", "which is binary, not regression"),
        ("onnx-power", "Multiclass", "no multiclass model answers"),
    ],
)
def test_task_is_that_of_the_target_type(
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
    name: str,
    target_type: str,
    words: str,
) -> None:
    made = forecasters[name]
    raw = dict(made.spec.raw) | {
        "targetType": target_type,
        "features": [{"name": "x", "op": "lag"}],
    }
    for key in ("targetTransform", "classes"):
        raw.pop(key, None)
    if target_type != "Regression":
        raw["classes"] = ["a", "b"]
    given = write_training_files(tmp_path, made)
    given["spec"].write_text(json.dumps(raw))
    with pytest.raises(ModelFileRejected, match=words):
        package(TimeSeriesOptions(**given), CONFIG)


@pytest.mark.parametrize("is_whole", [True, False])
def test_category_columns_of_pandas_have_the_codes_of_the_spec(
    forecasters: Mapping[str, Forecaster], tmp_path: Path, is_whole: bool
) -> None:
    made = forecasters["stores"]
    given = write_training_files(tmp_path, made)
    frame = pd.DataFrame(made.training.matrix, columns=made.spec.names)
    frame["store (actual)"] = frame["store (actual)"].astype(int).astype("category")
    rows = np.ones(len(frame), bool) if is_whole else frame["store (actual)"] != 1
    frame = frame[rows].copy()
    frame["store (actual)"] = frame["store (actual)"].cat.remove_unused_categories()
    data = lightgbm.Dataset(frame, made.training.y[rows])
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 5)
    booster.save_model(tmp_path / "model.txt")
    if is_whole:
        report = package(TimeSeriesOptions(**given), CONFIG)
        assert report.model.features[-1].categories == ("north", "007", '12, "b"')
    else:
        with pytest.raises(ModelFileRejected, match="category dtype"):
            package(TimeSeriesOptions(**given), CONFIG)


def test_each_distance_may_have_a_graph(
    forecasters: Mapping[str, Forecaster], tmp_path: Path
) -> None:
    graph = forecasters["onnx-power"]
    given = write_training_files(tmp_path, graph)
    models = given["models"] * 4
    report = package(TimeSeriesOptions(**given | {"models": models}), CONFIG)
    assert list(report.model.files) == [1, 2, 3, 4]
    assert report.model.file == "model-1.onnx"
    assert report.model.features[-2].dtype == "float32"
    assert report.model.features[-1].name == "Forecast Distance (model)"
    assert validate(report.folder, CONFIG).forecasts == 4


def test_docs_name_every_key_and_file(
    packaged: Callable[[str], PackageReport],
) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "bundle.md").read_text()
    for name in ("stores", "by-distance"):
        folder = packaged(name).folder
        card = json.loads((folder / "model.json").read_text())
        sample = json.loads((folder / "sample_expected.json").read_text())
        series = json.loads((folder / "series.json").read_text())
        for key in (*card, *(path.name for path in folder.iterdir())):
            assert f"`{key}`" in docs or re.match(r"model-\d", key), key
        for key in (*series, "rowId", "prediction", "derivedFeatures"):
            assert key in docs, key
        assert "derivedFeatures" in sample["data"][0]
