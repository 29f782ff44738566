"""Models with offset and exposure from `foretell package` to `foretell explain`."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from tests.insurance import Policy, people

Run = Callable[..., Result]
RunJson = Callable[..., Any]


def test_package_says_which_columns_it_took(
    run: Run, insurance: Mapping[str, Policy], tmp_path: Path
) -> None:
    policy = insurance["costs"]
    arguments = ["package", policy.data.with_name("model.txt"), "--data", policy.data]
    arguments += ["--target", "target", "--out", tmp_path / "bundle"]
    arguments += ["--offset", "grade", "--exposure", "years"]
    lines = run(*arguments).stdout.splitlines()
    assert [line.split() for line in lines if line.startswith(("off", "exp"))] == [
        ["offset", "grade"],
        ["exposure", "years"],
    ]
    found = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert (found["offset"], found["exposure"], found["link"]) == (
        "grade",
        "years",
        "log",
    )


def test_package_without_them_does_not_speak_of_them(
    insurance: Mapping[str, Policy], run_json: RunJson, tmp_path: Path
) -> None:
    policy = insurance["price"]
    arguments = ["package", policy.data.with_name("model.txt"), "--data", policy.data]
    arguments += ["--target", "target", "--out", tmp_path / "bundle"]
    assert not {"offset", "exposure"} & set(run_json(*arguments))


def test_package_refuses_exposure_without_a_log_link(
    run: Run, insurance: Mapping[str, Policy], tmp_path: Path
) -> None:
    policy = insurance["price"]
    arguments = ["package", policy.data.with_name("model.txt"), "--data", policy.data]
    arguments += ["--target", "target", "--out", tmp_path / "b", "--exposure", "years"]
    assert "log link" in run(*arguments, code=1).stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["claims", "costs", "price", "fraud"])
def test_deployed_by_trees_and_scored_with_offset_and_exposure(
    run: Run,
    run_json: RunJson,
    insurance: Mapping[str, Policy],
    tmp_path: Path,
    name: str,
) -> None:
    policy = insurance[name]
    run("validate", policy.bundle)
    run("user", "add", "ada", "--admin")
    deployment = run("deploy", policy.bundle, "--label", name).stdout.strip()
    frame = people(700, seed=8)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    found = run_json(
        "score", deployment, tmp_path / "rows.csv", "--out", tmp_path / "out.csv"
    )
    assert (found["rows"], found["engine"]) == (700, "trees")
    scored = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(
        scored.iloc[:, 0], policy.expected(frame), rtol=0, atol=0.51e-10
    )


def test_score_names_a_row_without_exposure(
    run: Run, insurance: Mapping[str, Policy], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("age,town,years\n30,Oslo,1\n30,Oslo,0\n")
    arguments = ("score", insurance["claims"].bundle, tmp_path / "rows.csv", "--out")
    stderr = run(*arguments, tmp_path / "out.csv", code=1).stderr
    assert "column 'years', row 1: a finite number above 0 is expected" in stderr


def test_explained_row_has_its_own_exposure(
    run: Run, insurance: Mapping[str, Policy], tmp_path: Path
) -> None:
    policy = insurance["claims"]
    rows = [["age", "town", "years"], [30, "Oslo", 1], [30, "Oslo", 2.5]]
    with (tmp_path / "rows.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    explained = [
        json.loads(
            run(
                *("explain", policy.bundle, tmp_path / "rows.csv"),
                *("--row", row, "--json"),
            ).stdout
        )
        for row in range(2)
    ]
    one, other = (
        {each["feature"]: each["strength"] for each in row["predictionExplanations"]}
        for row in explained
    )
    assert explained[1]["prediction"] == pytest.approx(2.5 * explained[0]["prediction"])
    # In target units: of longer exposure each feature counts more.
    assert {name: 2.5 * strength for name, strength in one.items()} == pytest.approx(
        other
    )
    assert any(one.values())
