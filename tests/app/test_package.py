"""A model file and its training data become a bundle that answers as the model did."""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from itertools import chain
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
from app.model_file import open_model_file
from app.package import PackageOptions, package
from app.training_data import TrainingDataRejected, read_table, spread
from app.validation import validate
from backends import bundle, load
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.explanations import exemplars
from backends.features import DataError, Decoder
from backends.model import Feature

CONFIG = Config()
ROWS = 300


def houses() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    towns = ["Oslo", 'say "hi"', "New, York", "NA", " x "]
    frame = pd.DataFrame(
        {
            "size in m²": np.round(rng.normal(80, 20, ROWS), 1),
            "town": pd.Categorical(rng.choice(towns, ROWS)),
            "rooms": rng.integers(1, 6, ROWS),
            "zone": pd.Categorical(rng.choice([1, 2, 3], ROWS)),
            "is_new": pd.Categorical(rng.choice([True, False], ROWS)),
        }
    )
    for name in ("size in m²", "town"):
        frame.loc[rng.random(ROWS) < 0.1, name] = np.nan
    return frame


def values_of(frame: pd.DataFrame) -> np.ndarray:
    size = frame["size in m²"].fillna(50)
    codes = 15.0 * frame["zone"].cat.codes + 20 * (frame["town"] == "Oslo")
    return np.asarray(size + codes + 10 * frame["rooms"])


@dataclasses.dataclass
class Case:
    """A trained model with its files: model.txt and data.csv in a folder."""

    folder: Path
    booster: lightgbm.Booster
    frame: pd.DataFrame

    def package(self, **options: Any) -> PackageReport:
        wanted = {
            "model": self.folder / "model.txt",
            "data": self.folder / "data.csv",
            "target": "target",
            "out": Path(tempfile.mkdtemp(dir=self.folder)) / "bundle",
        }
        return package(PackageOptions(**(wanted | options)), CONFIG)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """Trains on `frame`; `target` as the data has it, `codes` as training does."""

    def train(
        target: Any,
        codes: Any = None,
        *,
        frame: pd.DataFrame | None = None,
        dataset: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> Case:
        folder = tmp_path_factory.mktemp("case")
        frame = houses() if frame is None else frame
        booster = lightgbm.train(
            {
                "num_leaves": 7,
                "min_data_per_group": 5,
                "verbosity": -1,
                "num_threads": 1,
                **parameters,
            },
            lightgbm.Dataset(
                frame, target if codes is None else codes, **dataset or {}
            ),
            num_boost_round=15,
        )
        booster.save_model(folder / "model.txt")
        data = frame.assign(target=target)
        data.to_csv(folder / "data.csv", index=False)
        return Case(folder, booster, frame)

    return train


@pytest.fixture(scope="module")
def churn(case: Callable[..., Case]) -> Case:
    """A binary model whose classes are texts."""
    values = values_of(houses())
    is_high = values > np.median(values)
    return case(np.where(is_high, "yes", "no"), is_high.astype(int), objective="binary")


@pytest.fixture(scope="module")
def packaged(churn: Case) -> PackageReport:
    """Its bundle."""
    return churn.package(
        name="Churn",
        threshold=0.3,
        reference_rows=20,
        out=churn.folder / "packaged",
        tar=churn.folder / "packaged.tar",
    )


@pytest.fixture(scope="module")
def price(case: Callable[..., Case]) -> Case:
    return case(values_of(houses()), objective="gamma")


def test_binary_bundle_answers_as_the_booster(
    churn: Case, packaged: PackageReport
) -> None:
    report, model = packaged, packaged.model
    assert model == bundle.read(report.folder)
    assert (model.name, model.format, model.task) == ("Churn", "lightgbm", "binary")
    assert (model.labels, model.positive_label) == (("no", "yes"), "yes")
    assert (model.target, model.threshold) == ("target", 0.3)
    assert model.features == (
        Feature("size in m²", "numeric"),
        Feature(
            "town",
            "categorical",
            categories=tuple(churn.frame["town"].cat.categories),
        ),
        Feature("rooms", "numeric"),
        Feature("zone", "categorical", categories=(1, 2, 3)),
        Feature("is_new", "categorical", categories=(False, True)),
    )
    table = read_table(churn.folder / "data.csv")
    columns = Decoder(model.features).from_table(table)
    answers = load(report.folder, model).predict(columns)
    expected = churn.booster.predict(churn.frame, num_threads=1)
    np.testing.assert_array_equal(answers[:, 0], expected)
    assert report.metrics["auc"] > 0.9
    assert report.warnings == ()


def test_files_of_a_bundle_are_data_only(churn: Case, packaged: PackageReport) -> None:
    report = packaged
    assert sorted(path.name for path in report.folder.iterdir()) == [
        "exemplars.json",
        "golden.json",
        "model.json",
        "model.txt",
        "reference.parquet",
        "statistics.json",
    ]
    kept = pq.read_table(report.folder / "reference.parquet")
    assert kept.num_rows == report.reference_rows == 20
    assert kept.column_names == [*churn.frame.columns, "target"]
    found = json.loads((report.folder / "statistics.json").read_text())
    assert found["training_rows"] == report.training_rows == ROWS
    assert found["holdout_rows"] == report.holdout_rows == ROWS // 5
    assert max(found["impact"]["normalised"]) == 1
    assert (report.folder / "model.txt").read_bytes() == (
        churn.folder / "model.txt"
    ).read_bytes()


def test_exemplars_are_values_of_the_holdout_in_order_of_impact(
    churn: Case, tmp_path: Path
) -> None:
    data = pd.read_csv(churn.folder / "data.csv", dtype=str, keep_default_na=False)
    held = data.tail(120)
    held.to_csv(tmp_path / "held.csv", index=False)
    report = churn.package(holdout=tmp_path / "held.csv")
    features = report.model.features
    found = exemplars.read(report.folder, features)
    assert found is not None
    statistics = json.loads((report.folder / "statistics.json").read_text())
    raw = np.array(statistics["impact"]["raw"])
    kept = np.flatnonzero(raw)
    assert found.features.tolist() == kept[np.argsort(-raw[kept])].tolist()
    columns = Decoder(features).from_table(read_table(tmp_path / "held.csv"))
    for place, position in enumerate(found.features.tolist()):
        weights = found.weights[:, place]
        values = found.columns.matrix[weights > 0, position]
        column = columns.matrix[:, position]
        assert weights.sum() == pytest.approx(1)
        assert set(values[~np.isnan(values)]) <= set(column)
        # What the bundle says is missing is as often missing in the rows.
        missing = weights[weights > 0][np.isnan(values)].sum()
        assert missing == pytest.approx(np.isnan(column).mean())
        if len(np.unique(column[~np.isnan(column)])) <= 10:
            shares = [(column == value).mean() for value in values if value == value]
            present = weights[weights > 0][~np.isnan(values)]
            assert present.tolist() == pytest.approx(shares)


def test_feature_that_the_model_does_not_use_is_not_explained(
    case: Callable[..., Case],
) -> None:
    frame = houses().assign(constant=1.0)
    trained = case(values_of(frame), frame=frame, objective="regression")
    report = trained.package()
    content = json.loads((report.folder / "exemplars.json").read_text())
    names = {entry["name"] for entry in content["features"]}
    assert "size in m²" in names and "constant" not in names


def test_holdout_without_targets_leaves_explanations_out(
    price: Case, tmp_path: Path
) -> None:
    data = pd.read_csv(price.folder / "data.csv")
    report = price.package()
    held = spread(ROWS)[: report.holdout_rows]
    data.loc[held, "target"] = np.nan
    data.to_csv(tmp_path / "gaps.csv", index=False)
    report = price.package(data=tmp_path / "gaps.csv")
    assert any("not initialized" in warning for warning in report.warnings)
    assert not (report.folder / "exemplars.json").exists()
    assert exemplars.read(report.folder, report.model.features) is None


def test_golden_rows_reach_the_edges(churn: Case, packaged: PackageReport) -> None:
    golden = Golden.read(packaged.folder)
    assert len(golden.rows) == packaged.golden_rows >= 45
    towns = {row["town"] for row in golden.rows}
    assert {None, "☃ unseen", "NA", 'say "hi"'} <= towns
    assert {4, None} <= {row["zone"] for row in golden.rows}
    people = [tuple(row) for row in churn.frame.astype(object).itertuples(index=False)]
    assert not {tuple(row.values()) for row in golden.rows} & set(people)
    sizes = {row["size in m²"] for row in golden.rows}
    assert {None, 0, -1, 1e30, churn.frame["size in m²"].max()} <= sizes


def test_same_input_makes_the_same_bundle(
    churn: Case, packaged: PackageReport, tmp_path: Path
) -> None:
    again = churn.package(
        name="Churn", threshold=0.3, reference_rows=20, tar=tmp_path / "again.tar"
    )
    assert again.model == packaged.model
    first = (churn.folder / "packaged.tar").read_bytes()
    assert (tmp_path / "again.tar").read_bytes() == first
    assert bundle.unpack(tmp_path / "again.tar", tmp_path / "copy") == packaged.model


def test_first_label_can_be_positive(churn: Case) -> None:
    report = churn.package(positive_class="no", reference_rows=0)
    assert (report.model.labels, report.model.positive_label) == (("no", "yes"), "no")
    table = read_table(churn.folder / "data.csv")
    columns = Decoder(report.model.features).from_table(table)
    answers = load(report.folder, report.model).predict(columns)
    np.testing.assert_array_equal(answers[:, 0], 1 - churn.booster.predict(churn.frame))
    assert report.metrics["auc"] > 0.9
    assert not (report.folder / "reference.parquet").exists()
    assert report.reference_rows == 0


def test_labels_in_the_wrong_order_and_unseen_levels_are_told(
    churn: Case, tmp_path: Path
) -> None:
    data = pd.read_csv(churn.folder / "data.csv", dtype=str, keep_default_na=False)
    data.loc[:6, "town"] = "Atlantis"
    data.to_csv(tmp_path / "data.csv", index=False)
    report = churn.package(labels=("yes", "no"), data=tmp_path / "data.csv")
    assert report.model.labels == ("yes", "no")
    assert "7 cells" in report.warnings[0]
    assert "worse than chance" in report.warnings[1]


def test_regression_bounds_come_from_the_holdout(price: Case, tmp_path: Path) -> None:
    held = houses().head(100)
    held.assign(target=values_of(held)).to_csv(tmp_path / "held.csv", index=False)
    report = price.package(holdout=tmp_path / "held.csv")
    predicted = price.booster.predict(held)
    expected = tuple(np.quantile(predicted, (0.005, 0.995)))
    assert report.model.prediction_bounds == expected
    assert report.holdout_rows == 100
    assert report.model.labels == () and report.model.positive_label is None
    error = predicted - values_of(held)
    assert report.metrics["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))


def test_multiclass_labels_are_numbers_as_numbers(case: Callable[..., Case]) -> None:
    values = values_of(houses())
    codes = np.digitize(values, np.quantile(values, [0.4, 0.8]))
    grades = np.array([2, 10, 30])[codes]
    trained = case(grades, codes, objective="multiclassova", num_class=3)
    report = trained.package()
    assert report.model.labels == (2, 10, 30)
    assert report.metrics["accuracy"] > 0.7


def test_parquet_makes_the_same_card_as_csv(
    churn: Case, packaged: PackageReport, tmp_path: Path
) -> None:
    data = churn.frame.assign(target=pd.read_csv(churn.folder / "data.csv")["target"])
    data.to_parquet(tmp_path / "data.parquet")
    report = churn.package(data=tmp_path / "data.parquet", name="Churn", threshold=0.3)
    model = dataclasses.replace(report.model, id=packaged.model.id)
    assert model == packaged.model
    kept = pq.read_table(report.folder / "reference.parquet")
    assert str(kept.schema.field("size in m²").type) == "double"


def test_integer_codes_are_packaged_as_whole_numbers(
    case: Callable[..., Case],
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS), "c": rng.integers(0, 9, ROWS)})
    target = frame["x"] + frame["c"] % 3
    dataset = {"categorical_feature": ["c"]}
    trained = case(target, frame=frame, dataset=dataset, objective="regression")
    report = trained.package()
    assert report.model.features[1] == Feature("c", "numeric", dtype="int64")
    with pytest.raises(DataError, match="whole number"):
        Decoder(report.model.features).from_table(
            read_table(trained.folder / "data.csv")
            .slice(0, 1)
            .set_column(1, "c", [["1.5"]])
        )


def test_rows_without_a_target_count_for_statistics_only(
    price: Case, tmp_path: Path
) -> None:
    data = pd.read_csv(price.folder / "data.csv")
    data.loc[::3, "target"] = np.nan
    data.to_csv(tmp_path / "gaps.csv", index=False)
    report = price.package(data=tmp_path / "gaps.csv")
    found = json.loads((report.folder / "statistics.json").read_text())
    assert found["target"]["missing"] == 100
    assert found["training_rows"] == ROWS
    assert report.metrics["rmse"] is not None


def test_own_objective_is_served_as_raw_scores_only_on_demand(
    case: Callable[..., Case],
) -> None:
    def squares(scores: Any, data: Any) -> tuple[Any, Any]:
        return scores - data.get_label(), np.ones_like(scores)

    trained = case(values_of(houses()), objective=squares)
    file = open_model_file(trained.folder / "model.txt", output=None, config=CONFIG)
    with pytest.raises(
        ModelFileRejected, match="objective of its author's own.*--task"
    ):
        file.task(None)
    assert file.task("regression") == "regression"


def test_cross_entropy_is_a_probability_on_demand(case: Callable[..., Case]) -> None:
    values = values_of(houses())
    target = (values > np.median(values)).astype(int)
    trained = case(target, objective="cross_entropy")
    report = trained.package(task="binary")
    assert report.model.labels == (0, 1)
    file = open_model_file(trained.folder / "model.txt", output=None, config=CONFIG)
    assert file.task(None) == "regression"
    with pytest.raises(ModelFileRejected, match="regression, not multiclass"):
        file.task("multiclass")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "prize"}, TrainingDataRejected, "no column 'prize'; it has 'size"),
        ({"target": "zone"}, ModelFileRejected, "no column for the model's 'zone'"),
        ({"task": "regression"}, ModelFileRejected, "'binary', .*not regression"),
        ({"labels": ("a", "b", "c")}, ModelFileRejected, "2 classes .* names 3"),
        ({"labels": ("a", "b")}, TrainingDataRejected, "'target' holds '(yes|no)'"),
        ({"positive_class": "maybe"}, PackagingRefused, "none of the classes 'no'"),
        ({"categorical": ("town",)}, ModelFileRejected, "--categorical names 1"),
        ({"features": ("town",)}, ModelFileRejected, "--features names 1"),
        ({"holdout_fraction": 1.0}, PackagingRefused, "between 0 and 1"),
        ({"holdout_fraction": float("nan")}, PackagingRefused, "between 0 and 1"),
        ({"threshold": 1.5}, PackagingRefused, "--threshold"),
        ({"reference_rows": -1}, PackagingRefused, "--reference-rows"),
        ({"model": Path("nowhere.txt")}, OSError, "nowhere.txt"),
        ({"data": Path("nowhere.csv")}, OSError, "nowhere.csv"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_options_are_refused_and_leave_nothing(
    churn: Case,
    tmp_path: Path,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        churn.package(**({"out": tmp_path / "bundle"} | options))
    assert not list(tmp_path.iterdir())


def test_options_that_belong_to_another_task_are_refused(price: Case) -> None:
    with pytest.raises(PackagingRefused, match="--labels is for classes"):
        price.package(labels=("a", "b"))
    with pytest.raises(PackagingRefused, match="--positive-class is for binary"):
        price.package(positive_class="a")


def test_class_that_the_data_lacks_needs_labels(case: Callable[..., Case]) -> None:
    codes = np.arange(ROWS) % 3
    trained = case(
        np.array(["a", "b", "c"])[codes], codes, objective="multiclass", num_class=4
    )
    with pytest.raises(ModelFileRejected, match="4 classes .* holds 3: 'a'.*--labels"):
        trained.package()


def test_text_as_a_regression_target_is_refused(price: Case, tmp_path: Path) -> None:
    data = pd.read_csv(price.folder / "data.csv", dtype=str)
    data.loc[5, "target"] = "much"
    data.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(DataError, match="column 'target', row 5.*'much'"):
        price.package(data=tmp_path / "data.csv")


def test_target_without_values_is_refused(price: Case, tmp_path: Path) -> None:
    data = pd.read_csv(price.folder / "data.csv", dtype=str)
    data.assign(target="").to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(TrainingDataRejected, match="'target' has no value in data.csv"):
        price.package(data=tmp_path / "data.csv")


def test_holdout_without_the_columns_is_refused(churn: Case, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("town,target\nOslo,yes\n")
    with pytest.raises(
        TrainingDataRejected, match="held.csv has no column 'size in m²'"
    ):
        churn.package(holdout=tmp_path / "held.csv", out=tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["held.csv"]


def test_nothing_is_written_over(churn: Case, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(PackagingRefused, match="not empty"):
        churn.package(out=tmp_path)
    with pytest.raises(PackagingRefused, match="not empty"):
        churn.package(out=tmp_path / "precious")
    (tmp_path / "empty").mkdir()
    churn.package(out=tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "empty"}


def test_pickles_are_not_even_opened(churn: Case, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelFileRejected, match="neither a LightGBM text model.*nor"):
        churn.package(model=path)


@pytest.mark.parametrize("zipmap", [True, False])
def test_graph_is_packaged_with_its_own_labels(tmp_path: Path, zipmap: bool) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b c", "d"])
    target = np.where(frame["a"] + frame["d"] > 0, "up", "down")
    fitted = LogisticRegression().fit(frame.to_numpy(), target)
    graph = to_onnx(fitted, frame.to_numpy(np.float32)[:1], options={"zipmap": zipmap})
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    frame.assign(target=target).to_csv(tmp_path / "data.csv", index=False)
    options = PackageOptions(
        model=tmp_path / "model.onnx",
        data=tmp_path / "data.csv",
        target="target",
        out=tmp_path / "bundle",
    )
    report = package(options, CONFIG)
    assert (report.model.labels, report.model.positive_label) == (("down", "up"), "up")
    assert report.model.features[0] == Feature("a", "numeric", dtype="float32")
    assert report.metrics["auc"] > 0.95
    table = read_table(tmp_path / "data.csv")
    columns = Decoder(report.model.features).from_table(table)
    answers = load(report.folder, report.model).predict(columns)
    # The graph computes in float32.
    expected = fitted.predict_proba(frame.to_numpy())[:, 1]
    np.testing.assert_allclose(answers[:, 0], expected, atol=1e-6)
    assert validate(report.folder, CONFIG).rows == report.golden_rows


def test_file_that_is_no_graph_is_refused(tmp_path: Path, churn: Case) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelFileRejected, match="model.onnx is not an ONNX file"):
        churn.package(model=tmp_path / "model.onnx")


def test_weights_beside_a_graph_come_along(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def save(location: str) -> PackageOptions:
        weights = numpy_helper.from_array(np.ones((2, 1), np.float32), "weights")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "weights"], ["y"])],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
            [weights],
        )
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        path = tmp_path / "model.onnx"
        external = {"location": location, "size_threshold": 0}
        onnx.save_model(model, path, save_as_external_data=True, **external)
        return PackageOptions(
            model=path,
            data=tmp_path / "data.csv",
            target="y",
            out=tmp_path / "bundle",
            task="regression",
        )

    (tmp_path / "data.csv").write_text("a,b,y\n1,2,3\n4,5,9\n")
    with pytest.raises(
        ModelFileRejected, match="'golden.json' has a name of the bundle"
    ):
        package(save("golden.json"), CONFIG)
    report = package(save("weights.bin"), CONFIG)
    assert (report.folder / "weights.bin").stat().st_size == 8
    assert report.metrics["rmse"] == 0
    (report.folder / "weights.bin").write_bytes(bytes(8))
    with pytest.raises(BundleRejected, match="'weights.bin' was changed"):
        validate(report.folder, CONFIG)


def test_docs_name_every_key(packaged: PackageReport) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text()
    card = json.loads((packaged.folder / "model.json").read_text())
    found = json.loads((packaged.folder / "statistics.json").read_text())
    golden = json.loads((packaged.folder / "golden.json").read_text())
    values = json.loads((packaged.folder / "exemplars.json").read_text())
    tables = [card, card["features"][0], card["files"], found, golden, values]
    for key in chain(*tables, values["features"][0]):
        assert f"`{key}`" in docs, key
