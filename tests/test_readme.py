"""The README: short, true, and its commands work as printed."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from app.config import environment_name, settings
from app.error_handlers import _ROWS, _ROWS_CODES
from backends.tensors import io_json
from backends.tensors.spec import (
    TYPES,
    Activation,
    Color,
    Encoding,
    Fit,
    Layout,
    Resample,
)
from backends.timeseries import feature_json, spec_json
from backends.timeseries.spec import DATE_PARTS, STATISTICS, UNITS, TargetType
from tests.mlforecast.environment import mlforecast_python

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXPLANATIONS = (ROOT / "docs" / "explanations.md").read_text()
TIME_SERIES = (ROOT / "docs" / "timeseries.md").read_text()
BUNDLES = (ROOT / "docs" / "bundle.md").read_text()
ROWS = (ROOT / "docs" / "rows.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language, page=README):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)
    return [text for name, text in fenced if name == language]


def test_readme_is_short():
    assert README.count("\n") < 150


def test_settings_table_lists_every_setting_with_its_default():
    table = re.findall(r"^\| `(FORETELL_\w+)` \| (.*?) \| (.*?) \|$", README, re.M)
    assert table == [
        (
            environment_name(field.name),
            f"`{field.default}`" if str(field.default) else "",
            field.metadata["meaning"]
            + (f" ({field.metadata['unit']})" if field.metadata["unit"] else ""),
        )
        for field in settings()
    ]


def test_tree_names_what_is_there():
    [tree] = [block for block in blocks("") if "wsgi.py" in block]
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT
        assert (folder / name).exists(), name
        if not line.startswith(" "):
            folder = ROOT / name


def test_commands_are_make_targets():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"`?make (\w+)", README)) <= set(targets)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`make serve` in a home of its own; yields environment, address and output."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("FORETELL_")},
        "FORETELL_KERNELS": os.environ["FORETELL_KERNELS"],
        "FORETELL_HOME": str(tmp_path_factory.mktemp("home")),
        "FORETELL_BIND": f"127.0.0.1:{free_port()}",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "examples.serve"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    printed = []
    for line in server.stdout:
        if not line.startswith("{"):
            printed.append(line)
        if "the rows API" in line:
            printed.append(server.stdout.readline())
            break
    yield environment, environment["FORETELL_BIND"], "".join(printed)
    server.send_signal(signal.SIGTERM)
    # The access log goes on in the same pipe; it is read so that nothing waits for it.
    server.communicate(timeout=300)


def run(script, environment, folder=ROOT, seconds=300):
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_printed_curl_lines_work_as_printed(served):
    environment, _, printed = served
    lines = [line for line in printed.splitlines() if line.startswith("curl")]
    assert len(lines) == 6
    assert all(shlex.split(line) for line in lines)
    first, second, third, fourth, fifth, sixth = (
        run(line, environment) for line in lines
    )
    assert [row["rowId"] for row in json.loads(first)["data"]] == [0, 1]
    assert json.loads(second)["data"][0]["prediction"] == "Gentoo"
    assert third.startswith("sex_male_PREDICTION,sex_female_PREDICTION,sex_PREDICTION")
    rows = json.loads(fourth)["data"]
    assert [len(row["predictionExplanations"]) for row in rows] == [3, 3]
    rows = json.loads(fifth)["data"]
    assert [row["seriesId"] for row in rows] == ["construction"] * 6 + [
        "government"
    ] * 6
    assert [row["forecastDistance"] for row in rows] == [1, 2, 3, 4, 5, 6] * 2
    for row in rows:
        [(size, interval)] = row["predictionIntervals"].items()
        assert size == "80"
        assert interval["low"] < row["prediction"] < interval["high"]
    scores = json.loads(sixth)["digit"]
    assert max(scores, key=scores.get) == "8"


def test_readme_commands_answer_what_is_printed(served):
    environment, address, _ = served
    setup, *commands = blocks("sh")
    expected = [json.loads(block) for block in blocks("json")]
    assert len(commands) == len(expected) == 3
    for command, answer in zip(commands, expected, strict=True):
        script = (setup + command).replace("127.0.0.1:8080", address)
        script = script.replace("$HOME/.foretell", environment["FORETELL_HOME"])
        found = json.loads(run(script, environment))
        assert found == approximately(answer)


def approximately(answer):
    """What is told of rows, its numbers nearly: mathematical libraries differ."""
    if "digit" in answer:
        return {"digit": pytest.approx(answer["digit"], rel=1e-5)}
    for row in answer["data"]:
        for value in row["predictionValues"]:
            value["value"] = pytest.approx(value["value"], abs=1e-9)
    return answer


def test_explanations_are_those_of_their_page(served, tmp_path):
    environment, address, _ = served
    setup, *commands, draw = blocks("sh", EXPLANATIONS)
    expected = [json.loads(block) for block in blocks("json", EXPLANATIONS)]
    assert len(commands) == len(expected) == 2
    for command, answer in zip(commands, expected, strict=True):
        script = (setup + command).replace("127.0.0.1:8080", address)
        assert nearly(json.loads(run(script, environment))) == nearly(answer)
    [rows] = {re.search(r"^'(species.*?)'$", each, re.M | re.S)[1] for each in commands}
    (tmp_path / "penguin.csv").write_text(rows)
    draw = draw.replace("penguin.", f"{tmp_path}/penguin.")
    assert "2.80265666" in run(setup + draw, environment)
    picture = (ROOT / "docs" / "penguin.png").read_bytes()
    assert len(picture) < 60_000
    # Fonts are drawn a little differently by other releases of what draws them.
    drawn = (tmp_path / "penguin.png").read_bytes()
    assert picture[:24] == drawn[:24]


def commands(page):
    """What a page runs, language and text, each with what it prints after that."""
    found = []
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S):
        if language in ("sh", "python"):
            found.append((language, text, ""))
        elif found:
            found[-1] = (*found[-1][:2], text)
    return found


def scripted(page):
    """The commands of a page in one shell, each followed by a mark of its end."""
    lines = []
    for language, text, _ in commands(page):
        if language == "python":
            text = f"python - <<'END'\n{text}END\n"
        lines.append(f"{text}printf '\\035'\n")
    return "".join(lines)


def rounded(text):
    """A text without its spaces, ids the same, and its numbers to seven digits."""
    text = re.sub(r"\b[0-9a-f]{24}\b", "ID", " ".join(text.split()))
    pieces = re.split(r"(?<![\w.-])(-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)(?!\w)", text)
    pieces[1::2] = [
        pytest.approx(float(each), rel=1e-7, abs=1e-9) for each in pieces[1::2]
    ]
    return pieces


def own_section(title, page=TIME_SERIES):
    """The section of a page that has a title, and the others."""
    parts = re.split(r"^(?=## )", page, flags=re.M)
    [own] = [part for part in parts if part.startswith(f"## {title}\n")]
    return own, "".join(part for part in parts if part != own)


def check_page(page, served, folder):
    """Run what a page runs, in a folder, and compare what it prints."""
    environment, address, _ = served
    page = page.replace("127.0.0.1:8080", address)
    page = page.replace("~/.foretell", environment["FORETELL_HOME"])
    environment = {**environment, "TMPDIR": str(folder)}
    *printed, rest = run(scripted(page), environment, seconds=300).split("\035")
    assert rest == ""
    for (_, text, expected), found in zip(commands(page), printed, strict=True):
        assert rounded(found) == rounded(expected), text


def test_time_series_are_forecast_as_on_their_page(served, tmp_path):
    check_page(own_section("From mlforecast")[1], served, tmp_path)


def test_rows_are_answered_as_on_their_page(served, tmp_path):
    # What stands behind is no walk, and its command has a placeholder.
    check_page(ROWS.partition("## Values")[0], served, tmp_path)


def test_page_of_bundles_names_all_that_an_io_json_may_say():
    keys = BUNDLES.partition("### Named tensors")[2].partition("\n## ")[0]
    named = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", keys, re.M)))
    )
    known = {*io_json._KEYS}
    for table in (io_json._INPUT_KEYS, io_json._OUTPUT_KEYS):
        for required, optional in table.values():
            known |= {*required, *optional}
    assert named == known
    for word in (*TYPES, *get_args(Layout), *get_args(Color), *get_args(Fit)):
        assert f"`{word}`" in keys
    for word in (*get_args(Resample), *get_args(Encoding), *get_args(Activation)):
        assert f"`{word}`" in keys


def test_page_of_rows_names_every_code_of_an_error():
    errors, _ = own_section("Errors", ROWS)
    table = re.findall(r"^\| ([0-9]{3}) \| `(\w+)` \|", errors, re.M)
    assert len(table) == len(set(table))
    told = {(code, int(status)) for status, code in table}
    others = {(code, status) for status, code in _ROWS_CODES.items()}
    assert told == {*_ROWS.values(), *others}


def test_page_of_rows_quotes_what_is_raised():
    errors, _ = own_section("Errors", ROWS)
    for path in (ROOT / "app" / "rows").glob("*.py"):
        if path.stem not in ("body", "forward", "tabular"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                for part in ast.walk(node.exc):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        assert part.value.strip() in errors, part.value


def test_state_of_an_older_release_gets_the_new_example(served):
    environment, _, printed = served
    run("foretell delete 5e7000000000000000000003 --yes", environment)
    folder = f"{environment['FORETELL_HOME']}/examples"
    run(f"rm {folder}/employment*.* && rm -r {folder}/employment-bundle", environment)
    start = "from pathlib import Path; from examples.serve import _deploy"
    run(f"python -c '{start}; _deploy(Path(\"{folder}\"))'", environment)
    [forecasts] = [line for line in printed.splitlines() if "employment" in line]
    assert len(json.loads(run(forecasts, environment))["data"]) == 12


def test_mlforecast_becomes_a_spec_as_on_the_page(served, tmp_path):
    environment, _, _ = served
    page, _ = own_section("From mlforecast")
    (_, train, trained), (_, check, checked) = commands(page)
    for name in ("employment.csv", "employment-request.csv"):
        data = Path(environment["FORETELL_HOME"], "examples", name)
        shutil.copy(data, tmp_path)
    python = mlforecast_python()
    done = subprocess.run(
        [python, "-c", train],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert rounded(done.stdout) == rounded(trained)
    assert rounded(run(check, environment, tmp_path)) == rounded(checked)


def test_page_of_time_series_names_all_that_a_spec_may_say():
    spec, _ = own_section("The spec, key by key")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", spec, re.M))
    required, ops = spec_json._REQUIRED, feature_json._OPS
    assert {*rows} == {*required, *spec_json._OPTIONAL, *ops}
    must_be_given = [key for key, default in rows.items() if default == "must be given"]
    assert {*must_be_given} == {*required}
    for op, (_, needed, optional) in ops.items():
        keys = re.findall(r"`(\w+)`", rows[op])
        # Told below the table, for all features that have them.
        below = {"source", "categories"} - {*needed}
        assert {*keys} == {*needed, *optional} - below, op
    for word in (*UNITS, *STATISTICS, *DATE_PARTS, *get_args(TargetType)):
        assert f"`{word}`" in spec, word


def nearly(value):
    """The value with its numbers to eight digits: mathematical libraries differ."""
    if isinstance(value, dict):
        return {key: nearly(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(nearly, value))
    return round(value, 8) if isinstance(value, float) else value
