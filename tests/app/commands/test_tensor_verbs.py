"""Verbs on graphs of named tensors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from tests.tensors import columns_graph, many_sided, picture_classifier, save

Run = Callable[..., Result]
RunJson = Callable[..., Any]

DIGITS = "d161" * 6
LABELS = [str(digit) for digit in range(10)]
IO = {"inputs": {"image": {"type": "image"}}, "outputs": {"digit": {}}}


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of graphs, their io.json, and bundles of them.

    digits: pictures to classes. renamed: the same with another name. many: several
    inputs and outputs.
    """
    folder = tmp_path_factory.mktemp("graphs")
    save(picture_classifier(), folder / "digits.onnx")
    save(picture_classifier(), folder / "renamed.onnx")
    save(many_sided(), folder / "many.onnx")
    renamed = {"inputs": {"picture": {"type": "image"}}, "outputs": {"digit": {}}}
    for name, content in (("digits", IO), ("renamed", renamed), ("many", {})):
        write(folder / f"{name}.json", content)
        arguments = [folder / f"{name}.onnx", "--io", folder / f"{name}.json"]
        arguments += ["--out", folder / name, "--tar", folder / f"{name}.tar"]
        result = CliRunner().invoke(cli, ["package", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
    return folder


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def digits_home(graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a deployment of the pictures' model."""
    home = tmp_path_factory.mktemp("digits") / "home"
    runner = CliRunner(env={"FORETELL_HOME": str(home)})
    for arguments in (
        ("user", "add", "ada", "--admin"),
        ("deploy", str(graphs / "digits.tar"), "--label", "Digits", "--id", DIGITS),
    ):
        result = runner.invoke(cli, arguments)
        assert (result.exit_code, result.stderr) == (0, "")
    return home


@pytest.fixture
def digits(home: Path, digits_home: Path) -> str:
    """Id of that deployment."""
    shutil.copytree(digits_home, home)
    return DIGITS


def test_template_is_an_io_json(run: Run, graphs: Path, tmp_path: Path) -> None:
    text = run("io", graphs / "many.onnx").stdout
    content = json.loads(text)
    assert content == json.loads(run("io", graphs / "many.onnx", "--json").stdout)
    assert list(content["inputs"]) == ["series", "sizes", "count", "flag", "word"]
    assert content["outputs"]["chance"]["type"] == "binary"
    assert len(text.splitlines()) == 5 + 1 + 5 + 5
    card = json.loads((graphs / "many" / "model.json").read_text())
    for side, fields in content.items():
        listed = [{"name": name, **field} for name, field in fields.items()]
        assert card["io"][side] == listed


@pytest.mark.parametrize("name", ["digits.json", "none.onnx"])
def test_template_of_no_graph_is_refused(run: Run, graphs: Path, name: str) -> None:
    assert name in run("io", graphs / name, code=1).stderr


def test_card_has_what_io_json_says(graphs: Path) -> None:
    card = json.loads((graphs / "digits" / "model.json").read_text())
    assert (card["task"], card["features"], card["target"]) == ("tensors", [], "")
    assert card["io"]["inputs"][0]["layout"] == "NCHW"
    assert card["io"]["outputs"][0]["labels"] == LABELS
    assert set(card["versions"]) == {"foretell", "onnxruntime"}


def test_report_names_inputs_and_outputs(
    run_json: RunJson, graphs: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "x", "--name", "Digits")
    io = ("--io", graphs / "digits.json")
    found = run_json("package", graphs / "digits.onnx", *io, *out)
    assert (found["inputs"], found["outputs"]) == (["image"], ["digit"])
    assert (found["name"], found["task"]) == ("Digits", "tensors")
    assert found["golden_rows"] >= 8


@pytest.mark.parametrize(
    "options, text",
    [
        (["--data", "x.csv"], "--data does not go with --io"),
        (["--target", "y"], "--target does not go with --io"),
        (["--threshold", "0.5"], "--threshold does not go with --io"),
        (["--reference-rows", "0"], "--reference-rows does not go with --io"),
        (["--time-series", "s.json"], "--time-series does not go with --io"),
        (["more.onnx"], "Give one MODEL"),
    ],
)
def test_options_that_do_not_go_with_io_are_wrong_usage(
    run: Run, graphs: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    arguments = [graphs / "digits.onnx", "--io", graphs / "digits.json"]
    out = ("--out", tmp_path / "x")
    assert text in run("package", *arguments, *out, *options, code=2).stderr


def test_data_or_io_is_needed(run: Run, graphs: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x")
    assert "'--data' or '--io'" in run("package", "m.onnx", *out, code=2).stderr
    alone = ("--samples", "r.json", "--data", "d.csv", *out)
    assert "--samples goes with" in run("package", "m.onnx", *alone, code=2).stderr


def test_mistake_in_io_json_is_one_sentence(
    run: Run, graphs: Path, tmp_path: Path
) -> None:
    io = write(tmp_path / "io.json", {"inputs": {"x": {"type": "picture"}}})
    arguments = ("package", graphs / "digits.onnx", "--io", io)
    stderr = run(*arguments, "--out", tmp_path / "x", code=1).stderr
    assert stderr.startswith("Error: inputs.x.type: unknown 'picture'")
    assert not (tmp_path / "x").exists()


def test_bundle_is_validated(run: Run, run_json: RunJson, graphs: Path) -> None:
    assert "golden rows" in run("validate", graphs / "many.tar").stdout
    found = run_json("validate", graphs / "many")
    assert set(found) == {"model_id", "rows", "largest_difference"}
    assert found["rows"] >= 8


def test_bundle_that_answers_otherwise_is_refused(
    run: Run, graphs: Path, tmp_path: Path
) -> None:
    from backends import bundle

    folder = Path(shutil.copytree(graphs / "digits", tmp_path / "digits"))
    save(picture_classifier(channels=1, size=8), folder / "model.onnx")
    golden = json.loads((folder / "golden.json").read_text())
    golden["answers"][3]["digit"]["values"][1] += 0.001
    write(folder / "golden.json", golden)
    bundle.write(folder, bundle_model(folder))
    stderr = run("validate", folder, code=1).stderr
    assert "output 'digit' of golden row 3, with the others, differs" in stderr


def bundle_model(folder: Path) -> Any:
    from backends.model import Model

    card = json.loads((folder / "model.json").read_text())
    return Model.from_json(
        {key: card[key] for key in card if key not in ("files", "checksum")}, ""
    )


def test_deployment_is_shown_with_its_tensors(
    run: Run, run_json: RunJson, digits: str
) -> None:
    found = run_json("show", digits)
    assert (found["task"], found["engine"]) == ("tensors", "onnxruntime")
    assert found["engine_reason"] is None
    assert found["model"]["io"]["inputs"][0]["shape"] == [8, 8, 1]
    text = run("show", digits).stdout
    assert "because" not in text
    [_, table] = text.split("\nInputs\n")
    assert table.splitlines() == [
        "NAME   TYPE   DTYPE    SHAPE      LABELS",
        "image  image  float32  [8, 8, 1]",
        "",
        "Outputs",
        "NAME   TYPE         DTYPE    SHAPE  LABELS",
        "digit  categorical  float32  [10]   '0', '1', '2', '3', '4' and 5 more",
    ]
    assert f"http://127.0.0.1:8080/deployment/{digits}/forward" in text
    assert "predApi" not in text


def test_deployment_is_listed(run: Run, digits: str) -> None:
    row = run("list").stdout.splitlines()[1].split()
    assert row[:5] == [digits, "Digits", "digits", "tensors", "-"]


def test_same_tensors_may_replace_one_another(
    run: Run, digits: str, graphs: Path, tmp_path: Path
) -> None:
    io = ("--io", graphs / "digits.json", "--name", "better")
    graph = save(picture_classifier(rows=1), tmp_path / "m.onnx")
    run("package", graph, *io, "--out", tmp_path / "better")
    assert (
        "answers with model" in run("replace-model", digits, tmp_path / "better").stdout
    )


def test_other_tensors_do_not_replace_them(run: Run, digits: str, graphs: Path) -> None:
    stderr = run("replace-model", digits, graphs / "renamed", code=1).stderr
    assert "The input 'image' would become nothing, from image [8, 8, 1]" in stderr
    assert "clients would have to send other rows" in stderr


def test_columns_do_not_replace_tensors(run: Run, digits: str, models: Path) -> None:
    stderr = run("replace-model", digits, models / "sale", code=1).stderr
    assert "The task would become binary, from tensors" in stderr


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["score", DIGITS, "IO", "--out", "OUT.csv"], "named tensors"),
        (["explain", DIGITS, "IO", "--row", 0], "named tensors"),
        (["humility", DIGITS, "add", "--uncertain"], "named tensors"),
        (["humility", DIGITS, "recommend"], "named tensors"),
        (["update", DIGITS, "--threshold", 0.4], "the model's task is tensors"),
        (["update", DIGITS, "--set", "prediction_intervals=true"], "no prediction int"),
    ],
)
def test_what_tensors_do_not_have_is_refused(
    run: Run, digits: str, graphs: Path, tmp_path: Path, arguments: Any, text: str
) -> None:
    places = {"IO": graphs / "digits.json", "OUT.csv": tmp_path / "o.csv"}
    stderr = run(*(places.get(each, each) for each in arguments), code=1).stderr
    assert text in stderr


def test_threshold_is_not_for_a_bundle_of_tensors(
    run: Run, digits: str, graphs: Path
) -> None:
    arguments = ("deploy", graphs / "many", "--label", "x", "--threshold", 0.4)
    assert "task is tensors" in run(*arguments, code=1).stderr


def test_doctor_finds_nothing_wrong_with_tensors(
    run: Run, digits: str, no_formats: None
) -> None:
    found = json.loads(run("doctor", "--json", env={"FORETELL_WORKERS": "1"}).stdout)
    assert found["engines"]["onnxruntime"] == 1
    assert found["problems"] == []


def test_columns_of_one_matrix_may_have_names(
    run_json: RunJson, tmp_path: Path
) -> None:
    content = {
        "inputs": {
            "age": {"tensor": "x"},
            "place": {"tensor": "x", "shape": [2]},
            "kind": {"tensor": "x", "labels": ["p", "q"], "encoding": "one-hot"},
            "is new": {"tensor": "x", "type": "binary"},
        },
        "outputs": {
            "class": {"tensor": "y", "labels": "classes.txt", "activation": "softmax"},
            "risk": {"tensor": "y", "type": "binary", "activation": "sigmoid"},
        },
    }
    (tmp_path / "classes.txt").write_text("ä\nb\nc\nd\n")
    io = write(tmp_path / "io.json", content)
    graph = save(columns_graph(), tmp_path / "columns.onnx")
    out = ("--out", tmp_path / "bundle")
    found = run_json("package", graph, "--io", io, *out)
    assert found["golden_rows"] >= 8
    golden = json.loads((tmp_path / "bundle" / "golden.json").read_text())
    for answer in golden["answers"]:
        assert sum(answer["class"]["values"]) == pytest.approx(1, abs=1e-6)
        assert 0 < answer["risk"]["values"][0] < 1
