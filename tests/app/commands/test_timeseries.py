"""`foretell ts` over a small daily series of two shops."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from backends.timeseries import load_spec, training_frame

Run = Callable[..., Result]
RunJson = Callable[..., Any]

STEPS = 200
PARAMETERS = {
    "objective": "regression",
    "num_leaves": 4,
    "min_data_in_leaf": 5,
    "verbosity": -1,
    "num_threads": 1,
    "seed": 1,
}
SPEC = {
    "version": 1,
    "target": "sales",
    "targetType": "Regression",
    "datetimeColumn": "day",
    "datetimeFormat": "%Y-%m-%d",
    "seriesIdColumn": "shop",
    "timeUnit": "DAY",
    "featureDerivationWindow": {"start": -7, "end": 0},
    "forecastWindow": {"start": 1, "end": 2},
    "knownInAdvance": ["promo"],
    "features": [
        {"name": "sales (lag 0)", "op": "lag", "offset": 0},
        {"name": "sales (7 day mean)", "op": "rolling", "stat": "mean", "window": 7},
        {"name": "promo (actual)", "op": "known", "column": "promo"},
    ],
}


def make_data() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    days = pd.date_range("2024-01-01", periods=STEPS).strftime("%Y-%m-%d")
    parts = []
    for shop, level in (("007", 50), ("8", 80)):
        promo = rng.integers(0, 2, STEPS)
        sales = level + 10 * promo + rng.normal(0, 3, STEPS)
        part = {"shop": shop, "day": days, "sales": sales, "promo": promo}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, sample requests, specs and their models."""
    folder = tmp_path_factory.mktemp("shops")
    data = make_data()
    data.to_csv(folder / "data.csv", index=False)
    data[data["day"] < "2024-02-01"].to_csv(folder / "short.csv", index=False)
    newest = data[data["day"] >= "2024-07-09"].copy()
    newest.loc[newest["day"] >= "2024-07-17", "sales"] = np.nan
    newest.to_csv(folder / "sample.csv", index=False)
    newest[newest["day"] >= "2024-07-12"].to_csv(folder / "recent.csv", index=False)
    each = SPEC | {"models": {"1": "near.txt", "2": "far.txt"}}
    (folder / "spec.json").write_text(json.dumps(SPEC))
    (folder / "each.json").write_text(json.dumps(each))
    features, y, meta = training_frame(data, load_spec(SPEC))
    fit(features, y).save_model(folder / "model.txt")
    for name, distance in (("near.txt", 1), ("far.txt", 2)):
        here = meta["forecastDistance"].to_numpy() == distance
        fit(features[here], y[here]).save_model(folder / name)
    numbers = features.to_numpy(np.float32)
    graph = to_onnx(LinearRegression().fit(numbers, y), numbers[:1])
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return folder


def fit(features: pd.DataFrame, y: Any, **parameters: Any) -> lightgbm.Booster:
    data = lightgbm.Dataset(features, y)
    return lightgbm.train(PARAMETERS | parameters, data, num_boost_round=20)


def spec_file(folder: Path, **others: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps(SPEC | others))
    return path


# ---- frame


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_frame_has_what_training_takes(
    run: Run, shops: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"frame{suffix}"
    printed = run("ts", "frame", shops / "spec.json", shops / "data.csv", "--out", out)
    assert printed.stdout == f"770 rows of 3 features derived into {out}\n"
    texts = {"shop": str}
    data = pd.read_csv(shops / "data.csv", dtype=texts)
    features, y, meta = training_frame(data, load_spec(SPEC))
    found = (
        pd.read_parquet(out)
        if suffix == ".parquet"
        else pd.read_csv(out, dtype={"series": str})
    )
    names = ["series", "rowId", "timestamp", "forecastPoint", "forecastDistance"]
    assert [*found.columns] == [*names, *features.columns, "y"]
    np.testing.assert_array_equal(found["y"], y)
    np.testing.assert_array_equal(found[features.columns], features)
    np.testing.assert_array_equal(found["series"], meta["series"])
    times = pd.to_datetime(found["forecastPoint"])
    np.testing.assert_array_equal(times, meta["forecastPoint"])


def test_frame_tells_machines_what_it_wrote(
    run_json: RunJson, shops: Path, tmp_path: Path
) -> None:
    out = tmp_path / "frame.csv"
    found = run_json(
        "ts", "frame", shops / "spec.json", shops / "data.csv", "--out", out
    )
    names = ["sales (lag 0)", "sales (7 day mean)", "promo (actual)"]
    assert found == {"rows": 770, "features": names, "out": str(out)}


def test_frame_is_csv_or_parquet(run: Run, shops: Path, tmp_path: Path) -> None:
    out = tmp_path / "frame.txt"
    arguments = (shops / "spec.json", shops / "data.csv", "--out", out)
    assert ".csv or .parquet" in run("ts", "frame", *arguments, code=2).stderr


def test_frame_does_not_take_a_name_twice(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    spec = spec_file(tmp_path, features=[{"name": "y", "op": "lag"}])
    out = tmp_path / "frame.csv"
    refused = run("ts", "frame", spec, shops / "data.csv", "--out", out, code=1)
    assert "'y'" in refused.stderr
    assert not out.exists()


def test_mistakes_in_a_spec_are_told_by_their_path(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    spec = spec_file(tmp_path, features=[{"name": "x", "op": "lag", "offset": 1}])
    out = tmp_path / "frame.csv"
    refused = run("ts", "frame", spec, shops / "data.csv", "--out", out, code=1)
    assert refused.stderr.startswith("Error: features[0] (x): reads steps 1..1")


def test_rows_that_no_request_could_have_are_refused(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.csv"
    data.write_text("shop,day,sales,promo\n7,2024-01-01,many,0\n")
    out = tmp_path / "frame.csv"
    refused = run("ts", "frame", shops / "spec.json", data, "--out", out, code=1)
    assert "the value 'many' (row 0), which is not numeric" in refused.stderr


# ---- check


@pytest.mark.parametrize(
    "spec, model",
    [("spec.json", "model.txt"), ("each.json", ""), ("each.json", "near.txt")],
)
def test_sample_is_forecast(
    run_json: RunJson, shops: Path, spec: str, model: str
) -> None:
    found = run_json("ts", "check", shops / spec, shops / model, shops / "sample.csv")
    forecasts = found["forecasts"]
    assert [each["series"] for each in forecasts] == ["007", "007", "8", "8"]
    assert {each["forecast_point"] for each in forecasts} == {"2024-07-16T00:00:00Z"}
    data = make_data()
    for place, each in enumerate(forecasts):
        distance = place % 2 + 1
        own = data[data["shop"] == each["series"]].set_index("day")
        day = f"2024-07-{16 + distance}"
        assert each["timestamp"] == f"{day}T00:00:00Z"
        assert each["distance"] == distance
        # Of each shop the sample has ten rows, of which eight are history.
        assert each["row_id"] == 10 * (place // 2) + 7 + distance
        past = own.loc["2024-07-10":"2024-07-16", "sales"]
        row = [[past.iloc[-1], past.sum() / 7, own.loc[day, "promo"]]]
        file = (
            "model.txt" if spec == "spec.json" else ("near.txt", "far.txt")[place % 2]
        )
        booster = lightgbm.Booster(model_file=shops / file)
        assert each["values"] == pytest.approx(booster.predict(row), rel=1e-12)


def test_check_says_what_requests_have_to_bring(
    run: Run, run_json: RunJson, shops: Path
) -> None:
    arguments = (shops / "spec.json", shops / "model.txt", shops / "sample.csv")
    lines = run("ts", "check", *arguments).stdout.splitlines()
    assert lines[:8] == [
        "target       sales (Regression)",
        "strategy     direct",
        "features     3",
        "models       1",
        "timestamps   day, %Y-%m-%d",
        "series       shop",
        "history      7 steps of 1 DAY to the forecast point: sales",
        "future rows  1 to 2 steps after it: promo",
    ]
    assert [line.split()[0] for line in lines[9:]] == ["SERIES", "007", "007", "8", "8"]
    found = run_json("ts", "check", *arguments)
    assert found["history_steps"] == 7
    assert found["known_in_advance"] == ["promo"]


def test_graph_is_checked(run_json: RunJson, shops: Path) -> None:
    spec, sample = shops / "spec.json", shops / "sample.csv"
    found = run_json("ts", "check", spec, shops / "model.onnx", sample)
    assert len(found["forecasts"]) == 4


def test_classes_are_forecast_by_their_probabilities(
    run: Run, run_json: RunJson, shops: Path, tmp_path: Path
) -> None:
    data = make_data()
    data["sales"] = np.where(data["sales"] > 65, "high", "low")
    features = [
        {"name": "high (lag 0)", "op": "lag", "offset": 0},
        *SPEC["features"][2:],
    ]
    spec = spec_file(
        tmp_path, targetType="Binary", classes=["low", "high"], features=features
    )
    matrix, y, _ = training_frame(data, load_spec(spec))
    fit(matrix, y, objective="binary").save_model(tmp_path / "model.txt")
    data.loc[data["day"] >= "2024-07-17", "sales"] = ""
    data.to_csv(tmp_path / "sample.csv", index=False)
    arguments = (spec, tmp_path / "model.txt", tmp_path / "sample.csv")
    found = run_json("ts", "check", *arguments)
    assert found["classes"] == ["high"]
    assert all(0 < each["values"][0] < 1 for each in found["forecasts"])
    assert "P(high)" in run("ts", "check", *arguments).stdout


def test_sample_with_too_short_a_history_is_refused(run: Run, shops: Path) -> None:
    arguments = (shops / "spec.json", shops / "model.txt", shops / "recent.csv")
    refused = run("ts", "check", *arguments, code=1)
    assert "historical values spanning more than 7 day(s)" in refused.stderr


def test_model_of_other_features_is_refused(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    spec = spec_file(tmp_path, features=SPEC["features"][:2])
    arguments = (spec, shops / "model.txt", shops / "sample.csv")
    refused = run("ts", "check", *arguments, code=1)
    assert "takes 3 features, the spec derives 2" in refused.stderr


@pytest.mark.parametrize("levels, code", [(["007", "8"], 0), (["8", "007"], 1)])
def test_model_may_have_learnt_the_levels_of_the_spec(
    run: Run, shops: Path, tmp_path: Path, levels: list[str], code: int
) -> None:
    series = {"name": "shop", "op": "series_code", "categories": ["007", "8"]}
    spec = spec_file(tmp_path, features=[SPEC["features"][0], series])
    features, y, meta = training_frame(make_data(), load_spec(spec))
    features["shop"] = pd.Categorical(meta["series"], categories=levels)
    fit(features, y).save_model(tmp_path / "model.txt")
    arguments = (spec, tmp_path / "model.txt", shops / "sample.csv")
    checked = run("ts", "check", *arguments, code=code)
    assert code == 0 or "codes are not the spec's" in checked.stderr


@pytest.mark.parametrize("levels", [None, ["007", "8"]])
def test_category_columns_are_packaged_by_their_codes(
    run: Run, shops: Path, tmp_path: Path, levels: list[str] | None
) -> None:
    series = {"name": "shop", "op": "series_code", "categories": ["007", "8"]}
    spec = spec_file(tmp_path, features=[SPEC["features"][0], series])
    features, y, meta = training_frame(make_data(), load_spec(spec))
    # The model has to look at it.
    features["sales (lag 0)"] = 0.0
    codes = features["shop"] if levels is None else meta["series"]
    features["shop"] = codes.astype("category")
    booster = fit(features, y)
    assert booster.feature_importance()[1] > 0
    booster.save_model(tmp_path / "model.txt")
    out = ("--data", shops / "data.csv", "--out", tmp_path / "bundle")
    run("package", tmp_path / "model.txt", "--time-series", spec, *out)


def test_missing_model_file_is_named(run: Run, shops: Path, tmp_path: Path) -> None:
    arguments = (shops / "each.json", tmp_path, shops / "sample.csv")
    assert "near.txt" in run("ts", "check", *arguments, code=1).stderr


# ---- intervals


def test_intervals_are_written_into_a_spec(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    out = tmp_path / "spec.json"
    arguments = (shops / "spec.json", shops / "model.txt", shops / "data.csv")
    printed = run("ts", "intervals", *arguments, "--out", out).stdout
    spec = load_spec(out)
    assert {size: {*bounds} for size, bounds in spec.intervals.items()} == {
        50: {1, 2},
        80: {1, 2},
        95: {1, 2},
    }
    for distance in (1, 2):
        low, high = spec.intervals[80][distance]
        # 80 % of the noise lie within 3.8, and the model adds to that.
        assert -8 < low < -3 and 3 < high < 8
    assert "held out" in printed
    assert "no\nguarantee" in printed
    assert printed.endswith(f"Intervals of 3 sizes written into {out}\n")
    before = json.loads((shops / "spec.json").read_bytes())
    after = json.loads(out.read_bytes())
    assert after.pop("predictionIntervals")["space"] == "model"
    assert after == before


def test_intervals_tell_machines_what_they_cover(
    run_json: RunJson, shops: Path, tmp_path: Path
) -> None:
    found = run_json(
        *("ts", "intervals", shops / "spec.json", shops / "model.txt"),
        *(shops / "data.csv", "--out", tmp_path / "out.json"),
        *("--sizes", "90,50", "--backtests", 2, "--horizon-steps", 30),
    )
    assert [each["start"] for each in (*found["backtests"], found["held_out"])] == [
        "2024-04-20T00:00:00Z",
        "2024-05-20T00:00:00Z",
        "2024-06-19T00:00:00Z",
    ]
    assert found["held_out"]["forecasts"] == 2 * (30 + 29)
    assert [each["size"] for each in found["coverage"]] == [50, 90]
    assert 30 < found["coverage"][0]["covered"] < 70
    assert 80 < found["coverage"][1]["covered"] < 100


def test_models_of_distances_are_trained_again_apart(
    run_json: RunJson, shops: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    run_json(
        *("ts", "intervals", shops / "each.json", shops, shops / "data.csv"),
        *("--out", out),
    )
    assert {*load_spec(out).intervals[80]} == {1, 2}


def test_graph_cannot_be_trained_again(run: Run, shops: Path, tmp_path: Path) -> None:
    arguments = (shops / "spec.json", shops / "model.onnx", shops / "data.csv")
    out = tmp_path / "out.json"
    refused = run("ts", "intervals", *arguments, "--out", out, code=1).stderr
    assert "backends.timeseries.intervals.backtest(spec, frame, fit)" in refused
    assert not out.exists()


def test_too_little_data_makes_no_intervals(
    run: Run, shops: Path, tmp_path: Path
) -> None:
    arguments = (shops / "spec.json", shops / "model.txt", shops / "short.csv")
    options = ("--out", tmp_path / "out.json", "--horizon-steps", 10)
    refused = run("ts", "intervals", *arguments, *options, code=1).stderr
    assert "4 blocks of 10 steps" in refused


@pytest.mark.parametrize("sizes", ["0,80", "80,100", "wide", ""])
def test_sizes_are_percents(run: Run, shops: Path, tmp_path: Path, sizes: str) -> None:
    arguments = (shops / "spec.json", shops / "model.txt", shops / "data.csv")
    options = ("--out", tmp_path / "out.json", "--sizes", sizes)
    run("ts", "intervals", *arguments, *options, code=2)


def test_spec_is_not_written_over(run: Run, shops: Path) -> None:
    spec = shops / "spec.json"
    arguments = (spec, shops / "model.txt", shops / "data.csv", "--out", spec)
    assert "is the input" in run("ts", "intervals", *arguments, code=1).stderr
