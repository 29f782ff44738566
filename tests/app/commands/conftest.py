"""The command line, run in this process over a state folder of its own."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from app.cli import cli
from app.doctor import examination

Run = Callable[..., Result]
RunJson = Callable[..., Any]

SALE = "5a1e" * 6


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    """Runs a verb; expects exit code 0 unless told otherwise."""
    runner = CliRunner(env={"FORETELL_HOME": str(home)})

    def invoked(*arguments: object, code: int = 0, **options: Any) -> Result:
        result = runner.invoke(cli, [*map(str, arguments)], **options)
        assert result.exit_code == code, result.output + repr(result.exception)
        if code == 1:
            assert re.fullmatch(r"Error: [^\n]+\n", result.stderr), result.stderr
        return result

    return invoked


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """Runs a verb with --json and reads what it prints."""
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def external(run: Run) -> str:
    """Id of a deployment without a model."""
    run("user", "add", "ada", "--admin")
    return run("deploy", "--external", "--label", "elsewhere").stdout.strip()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model files with their training data, and bundles of them.

    sale: binary. sale-2: the same target from fewer features. price: regression.
    cost: ONNX, regression.
    """
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 300).astype(float),
            "income": np.round(rng.normal(3000, 900, 300), 2),
            "city": rng.choice(["Berlin", "Łódź", "a, b"], 300),
        }
    )
    lean = data["income"] / 900 - data["age"] / 30 + (data["city"] == "Berlin")
    data["price"] = np.round(lean * 10, 3)
    data["sale"] = np.where(lean > lean.median(), "yes", "no")
    data.to_csv(folder / "data.csv", index=False)
    frame = data[["age", "income", "city"]].astype({"city": "category"})
    sold = (data["sale"] == "yes").astype(int)
    train(frame, sold, "binary", folder / "sale.txt")
    train(frame[["age", "income"]], sold, "binary", folder / "sale-2.txt")
    train(frame, data["price"], "regression", folder / "price.txt")
    numbers = data[["age", "income"]].to_numpy(np.float32)
    fitted = LinearRegression().fit(numbers, data["price"])
    graph = to_onnx(fitted, numbers[:1]).SerializeToString()
    (folder / "cost.onnx").write_bytes(graph)
    package = ["package", "--data", folder / "data.csv", "--reference-rows", 20]
    for file, target, options in (
        ("sale.txt", "sale", ["--threshold", 0.4, "--tar", folder / "sale.tar"]),
        ("sale-2.txt", "sale", []),
        ("price.txt", "price", []),
        ("cost.onnx", "price", ["--features", "age,income"]),
    ):
        out = folder / Path(file).stem
        arguments = [*package, folder / file, "--target", target, "--out", out]
        result = CliRunner().invoke(cli, [*map(str, arguments), *map(str, options)])
        assert result.exit_code == 0, result.output
    return folder


def train(frame: pd.DataFrame, values: pd.Series, objective: str, file: Path) -> None:
    parameters = {"objective": objective, "num_leaves": 5, "verbosity": -1}
    parameters |= {"num_threads": 1, "seed": 1, "deterministic": True}
    data = lightgbm.Dataset(frame, values)
    lightgbm.train(parameters, data, num_boost_round=10).save_model(file)


@pytest.fixture(scope="session")
def sale_home(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a deployment of the binary model."""
    home = tmp_path_factory.mktemp("sale") / "home"
    runner = CliRunner(env={"FORETELL_HOME": str(home)})
    for arguments in (
        ("user", "add", "ada", "--admin"),
        ("deploy", str(models / "sale"), "--label", "Sale", "--id", SALE),
    ):
        assert runner.invoke(cli, arguments).exit_code == 0
    return home


@pytest.fixture
def sale(home: Path, sale_home: Path) -> str:
    """Id of a deployment of the binary model."""
    shutil.copytree(sale_home, home)
    return SALE


@pytest.fixture
def no_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the doctor from loading libraries, which takes seconds."""
    monkeypatch.setattr(examination, "FORMATS", {})
