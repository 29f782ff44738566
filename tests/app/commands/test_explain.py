"""`foretell explain`: what the server would answer of a row, and a picture of it."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from click.testing import Result

Run = Callable[..., Result]
RunJson = Callable[..., Any]

ELSEWHERE = "e" * 24


def served_rows(run: Run, model: object, data: Path, *options: object) -> list[Any]:
    """The rows of a whole file, as `score` writes them and a server answers them."""
    out = data.with_name("out.json")
    run("score", model, data, "--out", out, *options)
    rows: list[Any] = json.loads(out.read_text())["data"]
    return rows


@pytest.fixture
def data(models: Path, tmp_path: Path) -> Path:
    """The training data, and a row with nothing in it."""
    path = tmp_path / "data.csv"
    path.write_text((models / "data.csv").read_text() + ",,,,\n")
    return path


@pytest.mark.parametrize("algorithm", ["xemp", "shap"])
@pytest.mark.parametrize("row", [0, 299, 300])
def test_row_is_printed_as_the_server_answers_it(
    run: Run, run_json: RunJson, sale: str, data: Path, algorithm: str, row: int
) -> None:
    run("update", sale, "--set", "labels=names", "--set", "approval_workflow=true")
    many = ("--max-explanations", 2)
    rows = served_rows(run, sale, data, *many, "--explanation-algorithm", algorithm)
    arguments = ("explain", sale, data, "--row", row, "--algorithm", algorithm, *many)
    found = run_json(*arguments)
    assert list(found.items()) == list(rows[row].items())
    assert len(found["predictionExplanations"]) == 2
    assert found["rowId"] == row and "deploymentApprovalStatus" in found


def test_json_file_and_csv_file_are_explained_alike(
    run: Run, run_json: RunJson, models: Path, tmp_path: Path
) -> None:
    records = [{"age": 40, "income": 1e3, "city": "Berlin"}, {"age": None, "city": "x"}]
    (tmp_path / "rows.json").write_text(json.dumps(records))
    (tmp_path / "rows.csv").write_text("age,income,city\n40,1000.0,Berlin\n,,x\n")
    for row in (0, 1):
        answers = [
            run("explain", models / "sale", file, "--row", row, "--json").stdout
            for file in (tmp_path / "rows.json", tmp_path / "rows.csv")
        ]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("bundle", ["sale", "price", "cost"])
def test_shap_table_adds_up(run: Run, models: Path, data: Path, bundle: str) -> None:
    arguments = ("explain", models / bundle, data, "--row", 3, "--algorithm", "shap")
    lines = run(*arguments).stdout.splitlines()
    facts = dict(line.split() for line in lines if line.startswith("  "))
    head = next(i for i, line in enumerate(lines) if line.startswith("FEATURE"))
    strengths = [float(line.split()[-1]) for line in lines[head + 1 :]]
    assert lines[head].split() == ["FEATURE", "VALUE", "STRENGTH"]
    assert sum(strengths) + float(facts["base"]) + float(
        facts["remaining"]
    ) == pytest.approx(float(facts["total"]), abs=1e-8)
    assert np.abs(strengths).tolist() == sorted(np.abs(strengths))[::-1]


def test_xemp_table_names_classes_and_signs(run: Run, sale: str, data: Path) -> None:
    text = run("explain", sale, data, "--row", 0).stdout
    assert "XEMP, log-odds of yes" in text and "threshold   0.4" in text
    assert re.search(r"^FEATURE .*SIGN$", text, re.M) and re.search(r" --$", text, re.M)
    missing = run("explain", sale, data, "--row", 300).stdout
    assert "age      -  " in missing


def test_humility_rules_that_triggered_are_named(
    run: Run, sale: str, data: Path
) -> None:
    assert "humility" not in run("explain", sale, data, "--row", 300).stdout
    region = ("--low-observation", "city", "--level", "Berlin")
    run("humility", sale, "add", *region, "--override", "no", "--name", "Elsewhere")
    run("humility", sale, "add", *region, "--name", "Not Berlin")
    text = run("explain", sale, data, "--row", 300).stdout
    assert re.search(r"^prediction +no$", text, re.M)
    assert re.search(r"^humility +Elsewhere, Not Berlin$", text, re.M)


def test_shap_of_a_probability_is_named_so(run: Run, sale: str, data: Path) -> None:
    run("update", sale, "--set", "shap_output=probability")
    text = run("explain", sale, data, "--row", 0, "--algorithm", "shap").stdout
    assert "SHAP, probability of yes" in text
    facts = dict(re.findall(r"^ *(yes|total) +(\S+)$", text, re.M))
    assert float(facts["total"]) == pytest.approx(float(facts["yes"]), abs=1e-8)


@pytest.mark.parametrize("algorithm", ["xemp", "shap"])
def test_picture_is_drawn_of_any_names_and_always_the_same(
    run: Run, models: Path, data: Path, algorithm: str
) -> None:
    picture = data.with_name("a.png")
    arguments = ("explain", models / "sale", data, "--row", 300, "--plot", picture)
    arguments += ("--algorithm", algorithm, "--max-explanations", 2)
    first = run(*arguments).stdout, picture.read_bytes()
    assert first == (run(*arguments).stdout, picture.read_bytes())
    pixels = matplotlib.image.imread(io.BytesIO(first[1]))
    assert pixels.shape[1] == 800 and len(np.unique(pixels[..., 0])) > 10
    assert len(first[1]) < 60_000


def test_names_in_an_svg_are_read_as_they_are(
    run: Run, models: Path, tmp_path: Path
) -> None:
    text = "age,income,city\n1,2,$x^2$ and \\frac{1\x1b 価格 " + "long" * 30 + "\n"
    (tmp_path / "rows.csv").write_text(text)
    picture = tmp_path / "a.svg"
    for algorithm in ("xemp", "shap"):
        arguments = ("explain", models / "sale", tmp_path / "rows.csv", "--row", 0)
        run(*arguments, "--plot", picture, "--algorithm", algorithm)
        assert "<!-- city = $x^2$ and \\frac{1\\x1b" in picture.read_text()


def test_what_cannot_be_explained_or_drawn_is_named(
    run: Run, sale: str, data: Path, tmp_path: Path
) -> None:
    run("deploy", "--external", "--label", "elsewhere", "--id", ELSEWHERE)
    explain = ("explain", sale, data, "--row")
    assert "no row 301: it has 301 rows" in run(*explain, 301, code=1).stderr
    run(*explain, -1, code=2)
    run(*explain, 0, "--max-explanations", 0, code=2)
    run(*explain, 0, "--max-explanations", "all", code=2)
    run(*explain, 0, "--algorithm", "shap", "--max-explanations", "all")
    run(*explain, 0, "--algorithm", "SHAP", "--max-explanations", 2**31)
    run(*explain, 0, "--algorithm", "Xemp", "--max-explanations", 2**31)
    for picture in ("a.pdf", "a", "none/a.png"):
        run(*explain, 0, "--plot", tmp_path / picture, code=2)
    (tmp_path / "folder.png").mkdir()
    said = run(*explain, 0, "--plot", tmp_path / "folder.png", code=1).stderr
    assert "folder.png" in said
    said = run("explain", ELSEWHERE, data, "--row", 0, code=1).stderr
    assert "elsewhere" in said
    run("explain", sale, tmp_path / "none.csv", "--row", 0, code=1)
    (tmp_path / "empty.csv").write_text("")
    assert (
        "No data"
        in run("explain", sale, tmp_path / "empty.csv", "--row", 0, code=1).stderr
    )


@pytest.mark.parametrize("algorithm", ["xemp", "shap"])
def test_marks_keep_clear_of_names(
    run: Run, models: Path, tmp_path: Path, algorithm: str
) -> None:
    # Long names leave little room for the bars, and bars end at the very left.
    text = f"age,income,city\n89,1,{'long' * 30}\n"
    (tmp_path / "rows.csv").write_text(text)
    picture = tmp_path / "a.svg"
    rows = ("explain", models / "sale", tmp_path / "rows.csv", "--row", 0)
    run(*rows, "--plot", picture, "--algorithm", algorithm)
    drawn = picture.read_text()
    [left] = re.findall(r'<g id="patch_2">\s*<path d="M (\S+) ', drawn)
    # A text's place is its left end; the numbers below the axis have another minus.
    starts = re.findall(
        r"<!-- (?:-\d\S*|[- ]+|&lt;-) -->\s*<g [^>]*translate\((\S+) ", drawn
    )
    assert starts and min(map(float, starts)) > float(left)


def package_classes(run: Run, tmp_path: Path, labels: list[str]) -> tuple[Path, Path]:
    """A bundle of a model with three classes, and the rows that it was trained on."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=["a", "b"])
    parameters = {"objective": "multiclass", "num_class": 3, "num_threads": 1}
    codes = np.digitize(frame["a"] - frame["b"], [-1, 1])
    booster = lightgbm.train(
        {**parameters, "verbosity": -1}, lightgbm.Dataset(frame, codes), 5
    )
    booster.save_model(tmp_path / "model.txt")
    data, bundle = tmp_path / "data.csv", tmp_path / "bundle"
    frame.assign(size=np.array(labels)[codes]).to_csv(data, index=False)
    known = ("--labels", ",".join(labels), "--target", "size", "--data", data)
    run("package", tmp_path / "model.txt", *known, "--out", bundle)
    return bundle, data


def test_classes_may_have_any_names(run: Run, tmp_path: Path) -> None:
    bundle, data = package_classes(run, tmp_path, ["row", "prediction", "x\x1by"])
    (tmp_path / "rows.csv").write_text("a,b\n3,-3\n")
    arguments = ("explain", bundle, tmp_path / "rows.csv", "--row", 0)
    lines = run(*arguments).stdout.splitlines()
    assert lines[:4] == ["row         0", r"prediction  x\x1by", "", "Predicted values"]
    names = [line.split()[0] for line in lines[4:7]]
    assert names == ["row", "prediction", r"x\x1by"]
    assert lines[8] == r"XEMP, centred log-probability of x\x1by"
    picture = tmp_path / "a.svg"
    run(*arguments, "--plot", picture)
    assert r"<!-- Row 0: x\x1by (" in picture.read_text()


def test_multiclass_is_explained_by_xemp_alone(run: Run, tmp_path: Path) -> None:
    bundle, data = package_classes(run, tmp_path, ["s", "m", "l"])
    explain = ("explain", bundle, data, "--row", 0)
    text = run(*explain, "--plot", tmp_path / "a.png").stdout
    predicted = re.search(r"^prediction +(\w)$", text, re.M)
    assert predicted and f"centred log-probability of {predicted[1]}" in text
    said = run(*explain, "--algorithm", "shap", code=1).stderr
    assert "Multiclass models cannot be used for Prediction Explanations" in said


QUIET = """
import sys
from app.cli import cli
cli(sys.argv[1:], standalone_mode=False)
"""


def test_picture_needs_no_display_no_home_and_says_nothing(
    models: Path, data: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "a.png"
    arguments = ["explain", models / "sale", data, "--row", 0, "--plot", picture]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET, *map(str, arguments)],
        cwd=Path(__file__).parents[3],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/proc/none",
            "FORETELL_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
