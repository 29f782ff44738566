import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.forecasts import Forecaster, as_csv

Run = Callable[..., Result]
RunJson = Callable[..., Any]


def test_package_says_what_it_made(run: Run, models: Path, tmp_path: Path) -> None:
    arguments = ["package", models / "sale.txt", "--data", models / "data.csv"]
    arguments += ["--target", "sale", "--out", tmp_path / "a", "--positive-class", "no"]
    arguments += ["--tar", tmp_path / "a.tar", "--name", "Sales", "--json"]
    found = json.loads(run(*arguments).stdout)
    assert found["task"] == "binary"
    assert (found["labels"], found["positive_label"]) == (["no", "yes"], "no")
    assert (found["name"], found["features"]) == ("Sales", 3)
    assert (found["training_rows"], found["holdout_rows"]) == (300, 60)
    assert found["bundle"] == str(tmp_path / "a")
    assert Path(found["tar"]).is_file()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--target", "none"], 1, "'none'"),
        (["--target", "sale", "--data", "none.csv"], 1, "none.csv"),
        (["--target", "sale", "--task", "regression"], 1, "regression"),
        (["--target", "sale", "--positive-class", "x"], 1, "'x'"),
        (["--target", "sale", "--labels", "a,b,c"], 1, "--labels"),
        (["--target", "sale", "--labels", '"a'], 2, "--labels"),
        (["--target", "sale", "--task", "guess"], 2, "--task"),
        (["--target", "sale", "--reference-rows", "-1"], 2, "--reference-rows"),
        (["--target", "sale", "--holdout-fraction", "1"], 1, "--holdout-fraction"),
        (["--target", "s", "--holdout", "x", "--holdout-fraction", ".1"], 2, "both"),
        ([], 2, "--target"),
    ],
)
def test_package_refuses_what_cannot_be(
    run: Run, models: Path, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    arguments = ["package", models / "sale.txt", "--data", models / "data.csv"]
    arguments += ["--out", tmp_path / "bundle", *options]
    assert said in run(*arguments, code=code).stderr
    assert not (tmp_path / "bundle").exists()


def test_package_warns_on_standard_error(
    run: Run, models: Path, tmp_path: Path
) -> None:
    arguments = ["package", models / "sale.txt", "--data", models / "data.csv"]
    arguments += ["--target", "sale", "--labels", "yes,no", "--out", tmp_path / "a"]
    result = run(*arguments, "--json")
    [warning] = json.loads(result.stdout)["warnings"]
    assert "worse than chance" in warning
    assert result.stderr == f"Warning: {warning}\n"


@pytest.mark.parametrize("name", ["sale.tar", "price", "cost"])
def test_whole_bundle_is_valid(run: Run, models: Path, name: str) -> None:
    found = json.loads(run("validate", models / name, "--json").stdout)
    # In units of the price, which is some tens.
    assert found["largest_difference"] < 1e-4


def test_validate_counts_the_golden_rows(run: Run, models: Path) -> None:
    stdout = run("validate", models / "sale").stdout
    assert re.search(r"answers its \d+ golden rows", stdout)


def test_tar_that_leads_out_of_its_folder_is_refused(run: Run, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        member = tarfile.TarInfo("../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    assert "evil.txt" in run("validate", tmp_path / "bad.tar", code=1).stderr
    assert not (tmp_path.parent / "evil.txt").exists()


def series_arguments(
    folder: Path, made: Forecaster, *, names_files: bool = False
) -> list[object]:
    """What packages a time series model; names_files: the spec does."""
    raw = dict(made.spec.raw)
    if not names_files:
        raw.pop("models", None)
    (folder / "spec.json").write_text(json.dumps(raw))
    (folder / "data.csv").write_bytes(as_csv(made.rows))
    files = list(made.model.files.values()) or [made.model.file]
    for name in files:
        (folder / name).write_bytes((made.folder / name).read_bytes())
    models = [] if names_files else [folder / name for name in files]
    return [
        *("package", *models, "--time-series", folder / "spec.json"),
        *("--data", folder / "data.csv", "--out", folder / "bundle"),
    ]


@pytest.mark.parametrize("names_files", [True, False])
def test_time_series_are_packaged_by_their_spec(
    run: Run,
    run_json: RunJson,
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
    names_files: bool,
) -> None:
    made = forecasters["by-distance"]
    arguments = series_arguments(tmp_path, made, names_files=names_files)
    found = run_json(*arguments)
    assert (found["target"], found["task"]) == ("sold", "regression")
    assert (found["model_files"], found["features"]) == (3, 5)
    assert found["training_rows"] == len(made.training.y)
    assert found["warnings"] == []
    found = run_json("validate", tmp_path / "bundle")
    assert found["forecasts"] == 9 and found["rows"] > 40
    said = run("validate", tmp_path / "bundle").stdout
    assert "golden rows and 9 forecasts of samples as it did" in said


def test_time_series_are_deployed_and_shown(
    run: Run,
    run_json: RunJson,
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
) -> None:
    run(*series_arguments(tmp_path, forecasters["by-distance"]))
    run("user", "add", "ada", "--admin")
    deployed = run("deploy", tmp_path / "bundle", "--label", "stores")
    assert deployed.stderr == ""
    id = deployed.stdout.strip()
    found = run_json("show", id)
    assert (found["engine"], found["engine_reason"]) == ("trees", None)
    assert found["model"]["time_series"]["target"] == "sold"
    assert list(found["model"]["models"]) == ["1", "2", "3"]
    lines = run("show", id).stdout
    for words in (
        r"file +3 files, one for each forecast distance",
        r"timestamps +day, as %Y-%m-%d",
        r"series +store",
        r"step +1 DAY",
        r"derived from +after -14 to 0",
        r"forecast +1 to 3",
        r"known in advance +promo",
        r"strategy +direct",
    ):
        assert re.search(words, lines), words


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--task", "regression"], 2, "--task does not go with --time-series"),
        (["--labels", "a,b"], 2, "--labels does not go with --time-series"),
        (["--features", "a"], 2, "--features does not go with --time-series"),
        (["--exposure", "a"], 2, "--exposure does not go with --time-series"),
        (["--target", "promo"], 1, "the spec's target is 'sold'"),
        (["--time-series", "none.json"], 1, "none.json"),
        (["--holdout", "none.csv"], 1, "none.csv"),
        (["--data", "spec"], 1, "spec.json: No data"),
    ],
)
def test_time_series_refuse_what_cannot_be(
    run: Run,
    forecasters: Mapping[str, Forecaster],
    tmp_path: Path,
    options: list[object],
    code: int,
    said: str,
) -> None:
    arguments = series_arguments(tmp_path, forecasters["stores"])
    options = [tmp_path / "spec.json" if each == "spec" else each for each in options]
    assert re.search(said, run(*arguments, *options, code=code).stderr)
    assert not (tmp_path / "bundle").exists()


def test_package_takes_one_model(run: Run, models: Path, tmp_path: Path) -> None:
    arguments = ["--data", models / "data.csv", "--target", "sale", "--out", tmp_path]
    for given in ([], [models / "sale.txt"] * 2):
        assert "one MODEL" in run("package", *given, *arguments, code=2).stderr
