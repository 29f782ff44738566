import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
RunJson = Callable[..., Any]

UNKNOWN = "0" * 24


def test_deployment_and_bundle_score_alike(
    run: Run, models: Path, sale: str, tmp_path: Path
) -> None:
    texts = []
    for model in (sale, models / "sale", models / "sale.tar"):
        out = tmp_path / "out.csv"
        run("score", model, models / "data.csv", "--out", out, "--passthrough", "city")
        texts.append(out.read_text())
    assert texts[0] == texts[1] == texts[2]
    head, *rows = texts[0].splitlines()
    assert head == (
        "sale_yes_PREDICTION,sale_no_PREDICTION,sale_PREDICTION,THRESHOLD,"
        "POSITIVE_CLASS,city"
    )
    assert len(rows) == 300 and ",0.4,yes," in rows[0]


def test_score_takes_the_deployments_settings(
    run: Run, models: Path, sale: str, tmp_path: Path
) -> None:
    run("update", sale, "--threshold", "0.9", "--set", "labels=names")
    out = tmp_path / "out.json"
    result = run("score", sale, models / "data.csv", "--out", out, "--json")
    assert json.loads(result.stdout)["rows"] == 300
    rows = json.loads(out.read_text())["data"]
    assert rows[0]["predictionThreshold"] == 0.9
    assert rows[0]["predictionValues"][0]["label"] == "yes"


def test_humility_rule_that_refuses_is_named(
    run: Run, run_json: RunJson, models: Path, sale: str, tmp_path: Path
) -> None:
    region = ("--low-observation", "city", "--level", "Berlin")
    add = ("humility", sale, "add", *region, "--name", "Not Berlin", "--error", "Stop!")
    rule = run_json(*add)["id"]
    out = tmp_path / "out.csv"
    for arguments in (
        ("score", sale, models / "data.csv", "--out", out),
        ("explain", sale, models / "data.csv", "--row", 1),
    ):
        said = run(*arguments, code=1).stderr
        assert said == f"Error: Stop! (humility rule 'Not Berlin', {rule})\n"
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age,income\n1,2\n", "city"),
        ("age,income,city\n1,2,x\n1,much,x\n", "row 1"),
        ("age,age,city\n1,2,x\n", "age"),
        ("", "No data"),
        ("age,income,city\n1,2\n", "fields"),
    ],
)
def test_score_names_what_is_wrong_with_the_rows(
    run: Run, sale: str, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "rows.csv").write_text(text)
    arguments = ("score", sale, tmp_path / "rows.csv", "--out")
    assert said in run(*arguments, tmp_path / "out.csv", code=1).stderr
    assert not (tmp_path / "out.csv").exists()


def test_score_refuses_what_it_cannot_read_or_write(
    run: Run, models: Path, external: str, tmp_path: Path
) -> None:
    data, out = models / "data.csv", tmp_path / "out.csv"
    run("score", models / "sale", data, "--out", tmp_path / "out.txt", code=2)
    run("score", models / "sale", data, code=2)
    both = ("--passthrough", "city", "--passthrough-all")
    run("score", models / "sale", data, "--out", out, *both, code=2)
    run("score", models / "sale", tmp_path / "none.csv", "--out", out, code=1)
    run("score", models / "none", data, "--out", out, code=1)
    run("score", UNKNOWN, data, "--out", out, code=1)
    stderr = run("score", external, data, "--out", out, code=1).stderr
    assert "elsewhere" in stderr


def test_score_tells_the_engine(
    run: Run, models: Path, sale: str, tmp_path: Path
) -> None:
    engines = []
    for model in (sale, models / "sale"):
        arguments = ("score", model, models / "data.csv", "--out", tmp_path / "out.csv")
        engines.append(json.loads(run(*arguments, "--json").stdout)["engine"])
    assert engines == ["trees", "lightgbm"]


def test_rows_are_scored_with_explanations(
    run: Run, models: Path, sale: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    arguments = ("score", sale, models / "data.csv", "--out")
    run(*arguments, out, "--max-explanations", 2)
    head, *rows = out.read_text().splitlines()
    assert head.split(",")[5:] == [
        f"EXPLANATION_{i}_{name}"
        for i in (1, 2)
        for name in ("FEATURE_NAME", "STRENGTH", "ACTUAL_VALUE", "QUALITATIVE_STRENGTH")
    ]
    assert len(rows) == 300 and all("," in row for row in rows)
    out = tmp_path / "out.json"
    run(*arguments, out, "--explanation-algorithm", "shap", "--max-explanations", "all")
    for row in json.loads(out.read_text())["data"]:
        assert len(row["predictionExplanations"]) == 3
    run(*arguments, out, "--max-explanations", 0)
    assert "predictionExplanations" not in out.read_text()
    run(*arguments, out, "--max-explanations", "all", code=2)
    run(*arguments, out, "--max-explanations", -1, code=2)
    run(*arguments, out, "--explanation-algorithm", "lime", code=2)
