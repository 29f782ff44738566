import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

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
