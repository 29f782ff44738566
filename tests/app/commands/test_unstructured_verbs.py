"""Unstructured models on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli
from backends.unstructured.confinement import can_isolate
from tests.tensors import columns_graph, save, text_to_text
from tests.unstructured_models import HOOKS

CODE = HOOKS / "text_statistics.py"
WORDS = HOOKS / "stop_words.json"
DEPLOYED = "3a0d" * 6


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A folder with the bundles of a hook and of a graph."""
    folder = tmp_path_factory.mktemp("unstructured-verbs")
    source = save(columns_graph(), folder / "matrix.onnx")
    for arguments in (
        (CODE, "--unstructured", "--with", WORDS, "--out", folder / "hook"),
        (source, "--unstructured", "--out", folder / "graph"),
    ):
        result = CliRunner().invoke(cli, ["package", *map(str, arguments)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def hook(bundles, tmp_path):
    """Path of a hook's bundle."""
    return Path(shutil.copytree(bundles / "hook", tmp_path / "hook"))


@pytest.fixture
def graph(bundles, tmp_path):
    return Path(shutil.copytree(bundles / "graph", tmp_path / "graph"))


@pytest.fixture(scope="session")
def deployed_home(bundles, tmp_path_factory):
    """A state folder with a deployment of the hook."""
    home = tmp_path_factory.mktemp("words") / "home"
    runner = CliRunner(env={"FORETELL_HOME": str(home)})
    for arguments in (
        ("user", "add", "ada", "--admin"),
        ("deploy", str(bundles / "hook"), "--label", "words", "--id", DEPLOYED),
    ):
        assert runner.invoke(cli, arguments).exit_code == 0
    return home


@pytest.fixture
def deployed(home, deployed_home):
    shutil.copytree(deployed_home, home)
    return DEPLOYED


def test_graph_becomes_a_bundle(run, graph):
    assert (graph / "model.onnx").exists()
    card = json.loads((graph / "model.json").read_text())
    assert (card["task"], card["format"]) == ("unstructured", "onnx")
    assert "golden rows" in run("validate", graph).stdout


def test_wrong_golden_answer_is_refused(run, graph, tmp_path):
    from app.config import Config
    from app.validation import validate
    from backends import bundle

    path = graph / "golden.json"
    content = json.loads(path.read_text())
    content["requests"][1]["answer"]["outputs"]["y"]["values"][0] += 1
    path.write_text(json.dumps(content))
    bundle.write(graph, bundle_model(graph))
    with pytest.raises(bundle.BundleRejected, match="golden request 1"):
        validate(graph, Config(home=tmp_path))


def bundle_model(folder):
    from backends.model import Model

    card = json.loads((folder / "model.json").read_text())
    del card["files"], card["checksum"]
    return Model.from_json(card, "0" * 24)


def test_samples_become_golden_requests(run, tmp_path):
    source = save(text_to_text(), tmp_path / "echo.onnx")
    samples = tmp_path / "samples.json"
    rows = [{"text": "good day"}]
    answers = {"rows": [{"reply": "good evening"}]}
    samples.write_text(json.dumps({"rows": rows, "answers": answers}))
    options = ("--unstructured", "--samples", samples)
    run("package", source, *options, "--out", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "golden.json").read_text())
    types = [each["content_type"] for each in content["requests"]]
    assert types == ["application/json", "text/plain; charset=utf-8"]
    answers["rows"][0]["reply"] = "no"
    samples.write_text(json.dumps({"rows": rows, "answers": answers}))
    done = run("package", source, *options, "--out", tmp_path / "no", code=1)
    assert "the model answers 'good evening'" in done.stderr
    assert not (tmp_path / "no").exists()


def test_hook_is_parsed_and_not_run(run, tmp_path):
    trap = tmp_path / "trap.py"
    mark = tmp_path / "mark"
    trap.write_text(
        f"open({str(mark)!r}, 'w')\n\ndef score_unstructured(*a, **k):\n    pass\n"
    )
    done = run("package", trap, "--unstructured", "--out", tmp_path / "out")
    assert "was parsed, and not run" in done.stderr
    done = run("validate", tmp_path / "out")
    assert "its Python hook was not run" in done.stdout
    run("user", "add", "ada", "--admin")
    run("deploy", tmp_path / "out", "--label", "trap")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def score(", "is no Python module"),
        ("x = 1\n", "has no function score_unstructured"),
        ("\0", "is no Python module"),
        ("(" * 5000, "is no Python module"),
    ],
)
def test_what_is_no_hook_is_refused(run, tmp_path, text, reason):
    source = tmp_path / "hook.py"
    source.write_text(text)
    done = run("package", source, "--unstructured", "--out", tmp_path / "o", code=1)
    assert reason in done.stderr
    assert not (tmp_path / "o").exists()


def test_options_of_the_other_kind_are_refused(run, tmp_path, graph):
    source = save(columns_graph(), tmp_path / "m.onnx")
    out = ("--unstructured", "--out", tmp_path / "o")
    done = run("package", source, "--with", CODE, *out, code=1)
    assert "--with goes with a Python hook" in done.stderr
    done = run("package", CODE, "--samples", WORDS, *out, code=1)
    assert "--samples goes with an ONNX graph" in done.stderr
    done = run("package", CODE, "--data", CODE, *out, code=2)
    assert "--data does not go with" in done.stderr
    out = ("--out", tmp_path / "o", "--data", CODE)
    done = run("package", CODE, "--with", CODE, *out, code=2)
    assert "--with goes with --unstructured" in done.stderr


def test_files_of_one_name_are_refused(run, tmp_path):
    out = ("--unstructured", "--out", tmp_path / "o")
    done = run("package", CODE, "--with", CODE, *out, code=1)
    assert "is there twice" in done.stderr
    card = tmp_path / "model.json"
    card.write_text("{}")
    done = run("package", CODE, "--with", card, *out, code=1)
    assert "the bundle's own" in done.stderr


def test_hook_is_off_until_it_is_allowed(run, run_json, deployed):
    assert run_json("show", deployed)["settings"]["python_hook"] is None
    assert "python hook  off" in run("show", deployed).stdout
    done = run("update", deployed, "--allow-python-hook")
    assert "WARNING" in done.stderr and "AS THE USER OF THE SERVICE" in done.stderr
    shown = run_json("show", deployed)
    assert shown["settings"]["python_hook"] == shown["model_id"]
    assert "ALLOWED" in run("show", deployed).stdout
    run("update", deployed, "--forbid-python-hook")
    assert run_json("show", deployed)["settings"]["python_hook"] is None


def test_deploying_a_hook_says_that_it_is_off(run, hook):
    run("user", "add", "ada", "--admin")
    done = run("deploy", hook, "--label", "words")
    assert f"foretell update {done.stdout.strip()} --allow-python-hook" in done.stderr


def test_replacement_is_off_and_says_so(run, run_json, deployed, tmp_path):
    run("update", deployed, "--allow-python-hook")
    options = ("--unstructured", "--name", "other", "--with", WORDS)
    run("package", CODE, *options, "--out", tmp_path / "other")
    done = run("replace-model", deployed, tmp_path / "other")
    assert "is off" in done.stderr
    assert "python hook  off" in run("show", deployed).stdout


def test_only_hooks_can_be_allowed(run, graph, external):
    done = run("update", external, "--allow-python-hook", code=1)
    assert "is scored elsewhere" in done.stderr
    deployment = run("deploy", graph, "--label", "m").stdout.strip()
    done = run("update", deployment, "--allow-python-hook", code=1)
    assert "is no Python hook" in done.stderr


def test_setting_alone_does_not_allow_it(run, deployed):
    done = run("update", deployed, "--set", f"python_hook={'a' * 24}", code=2)
    assert "is not KEY=VALUE with one of these keys" in done.stderr


def test_audit_tells_who_allowed_it(run, deployed):
    run("update", deployed, "--allow-python-hook")
    assert "python_hook" in run("audit", "--object", deployed).stdout


def test_doctor_tells_of_hooks_that_may_run(run, deployed):
    one = {"env": {"FORETELL_WORKERS": "1"}}
    assert "Python hooks" not in run("doctor", **one).stdout
    run("update", deployed, "--allow-python-hook")
    # 1 where the kernel does not keep them from the network.
    code = 0 if can_isolate() else 1
    found = " ".join(run("doctor", code=code, **one).stdout.split())
    assert f"{deployed} runs the Python code of its model as the user" in found


def test_urls_are_those_of_unstructured_predictions(run_json, run, graph):
    run("user", "add", "ada", "--admin")
    deployment = run("deploy", graph, "--label", "m").stdout.strip()
    urls = run_json("show", deployment)["urls"]
    assert set(urls) == {"legacy", "serverless"}
    assert all(url.endswith("/predictionsUnstructured") for url in urls.values())


def test_other_verbs_refuse_unstructured_models(run, deployed, hook, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n1\n")
    done = run("score", hook, rows, "--out", tmp_path / "out.csv", code=1)
    assert "is unstructured" in done.stderr
    done = run("humility", deployed, "add", "--uncertain", "--no-operation", code=1)
    assert "Humility rules are for" in done.stderr
