"""`foretell humility`: rules are added, listed, moved, removed and recommended."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.commands import deployments, humility
from app.commands.state import State
from app.store.humility_totals import HumilityCount, HumilityTotals
from app.store.store import Store
from backends.bundle import SERIES
from backends.model import Model
from backends.timeseries import known_series
from tests.app.commands.conftest import SALE, Run, RunJson

PRICE = "9a1e" * 6
UNCERTAIN = ("humility", SALE, "add", "--uncertain")


@pytest.fixture(scope="session")
def price_home(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a deployment of the regression model."""
    home = tmp_path_factory.mktemp("price") / "home"
    runner = CliRunner(env={"FORETELL_HOME": str(home)})
    for arguments in (
        ("user", "add", "ada", "--admin"),
        ("deploy", str(models / "price"), "--label", "Price", "--id", PRICE),
    ):
        assert runner.invoke(cli, arguments).exit_code == 0
    return home


@pytest.fixture
def price(home: Path, price_home: Path) -> str:
    """Id of a deployment of the regression model."""
    shutil.copytree(price_home, home)
    return PRICE


def store_of(home: Path) -> Store:
    return Store(f"sqlite:///{home / 'foretell.db'}", home)


def statistics(models: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (models / name / "statistics.json").read_text()
    )
    return content


def test_added_rule_prints_its_id_and_is_listed(
    run: Run, run_json: RunJson, sale: str
) -> None:
    added = run(*UNCERTAIN, "--lower", 0.2, "--upper", 0.3, "--name", "close")
    assert re.fullmatch("[0-9a-f]{24}\n", added.stdout)
    assert added.stderr == "Rule 1: probability is from 0.2 to 0.3; no operation\n"
    assert run_json("humility", sale, "list") == [
        {
            "position": 1,
            "id": added.stdout.strip(),
            "name": "close",
            "trigger": {"type": "uncertain_prediction", "lower": 0.2, "upper": 0.3},
            "action": {"type": "no_operation"},
            "triggered": 0,
            "rows": 0,
        }
    ]
    line = run("humility", sale, "list").stdout.splitlines()[1]
    assert re.split("  +", line) == [
        *("1", added.stdout.strip(), "close", "probability is from 0.2 to 0.3"),
        *("no operation", "0", "0"),
    ]
    assert "close" in run("show", sale).stdout


def test_binary_bounds_are_around_the_deployments_threshold(
    run: Run, run_json: RunJson, sale: str
) -> None:
    trigger = run_json(*UNCERTAIN)["trigger"]
    assert (trigger["lower"], trigger["upper"]) == (0.3, 0.5)
    run("update", sale, "--threshold", 0.7)
    trigger = run_json(*UNCERTAIN, "--lower", 0.65)["trigger"]
    assert (trigger["lower"], trigger["upper"]) == (0.65, 0.8)


def test_regression_bounds_are_those_of_the_holdout(
    run_json: RunJson, models: Path, price: str
) -> None:
    trigger = run_json("humility", price, "add", "--uncertain")["trigger"]
    card = json.loads((models / "price" / "model.json").read_text())
    assert [trigger["lower"], trigger["upper"]] == card["prediction_bounds"]


def test_outlying_bounds_are_quantiles_of_the_training_data(
    run_json: RunJson, models: Path, sale: str
) -> None:
    made = run_json("humility", sale, "add", "--outlying", "income", "--error")
    known = pd.read_csv(models / "data.csv")["income"]
    assert made["name"] == "Outlying Input: income"
    assert made["action"]["message"] == "Humility ReturnError action triggered."
    found = [made["trigger"]["lower"], made["trigger"]["upper"]]
    assert statistics(models, "sale")["training_rows"] == len(known)
    assert found == pytest.approx(known.quantile([0.005, 0.995]).tolist())


def test_levels_and_classes_are_found(run_json: RunJson, sale: str) -> None:
    region = ("--low-observation", "city", "--level", "Berlin", "--level", "a, b")
    made = run_json("humility", sale, "add", *region, "--override", "yes")
    assert made["trigger"]["levels"] == ["Berlin", "a, b"]
    assert made["action"] == {"type": "override", "value": "yes"}


@pytest.mark.parametrize("which", ["min", "max", "mean"])
def test_override_takes_what_the_target_was_in_training(
    run_json: RunJson, models: Path, price: str, which: str
) -> None:
    made = run_json("humility", price, "add", "--uncertain", "--override", which)
    target = statistics(models, "price")["target"]
    quantiles = target["quantiles"]
    told = {"min": quantiles[0], "max": quantiles[-1], "mean": target["mean"]}
    assert made["action"]["value"] == told[which]
    assert quantiles == sorted(quantiles)


def test_override_takes_a_number(run_json: RunJson, run: Run, price: str) -> None:
    run_json("humility", price, "add", "--uncertain", "--override", "-5")
    [found] = run_json("humility", price, "list")
    assert found["action"] == {"type": "override", "value": -5.0}
    refused = run("humility", price, "add", "--uncertain", "--override", "x", code=1)
    assert "the prediction is a number" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Give one trigger"),
        (("--uncertain", "--outlying", "age"), "Give one trigger"),
        (("--uncertain", "--error", "--no-operation"), "Give one action"),
        (("--uncertain", "--error", "x", "--override", "yes"), "Give one action"),
        (("--low-observation", "city"), "go together"),
        (("--uncertain", "--level", "Berlin"), "go together"),
        (("--new-series", "--uncertain"), "Give one trigger"),
        (("--new-series", "--level", "Berlin"), "go together"),
        (("--new-series", "--upper", 1), "--lower and --upper go with"),
        (
            ("--low-observation", "city", "--level", "Berlin", "--lower", 1),
            "--lower and --upper go with",
        ),
        (("--uncertain", "--lower", "much"), "not a valid float"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    run: Run, sale: str, arguments: tuple[object, ...], text: str
) -> None:
    assert text in run("humility", sale, "add", *arguments, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--outlying", "gone"), "no feature 'gone'"),
        (("--outlying", "city"), "is categorical, not numeric"),
        (("--low-observation", "age", "--level", "1"), "is numeric, not categorical"),
        (("--low-observation", "city", "--level", "Rome"), "'Rome' is not a level"),
        (("--new-series",), "only a time series model knows new series"),
        (("--uncertain", "--lower", "0.9"), "below the lower bound"),
        (("--uncertain", "--lower", "nan"), "a finite number is expected"),
        (("--uncertain", "--lower", "40", "--upper", "60"), "between 0 and 1"),
        (("--uncertain", "--override", "maybe"), "'maybe' is not a class"),
        (("--uncertain", "--error", ""), "message"),
        (("--uncertain", "--name", "a\tb"), "name"),
    ],
)
def test_rule_that_is_wrong_is_refused(
    run: Run, run_json: RunJson, sale: str, arguments: tuple[object, ...], text: str
) -> None:
    assert text in run("humility", sale, "add", *arguments, code=1).stderr
    assert run_json("humility", sale, "list") == []


@pytest.fixture
def forecasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle folder; the deployed models are taken for time series models."""
    kept = humility.kept
    folder = tmp_path / "bundle"
    folder.mkdir()

    def kept_as_series(state: State, model_id: str) -> tuple[Path, Model]:
        _, model = kept(state, model_id)
        time_series = {"seriesIdColumn": "shop"}
        return folder, dataclasses.replace(model, time_series=time_series)

    monkeypatch.setattr(humility, "kept", kept_as_series)
    return folder


def test_new_series_are_a_trigger(
    run: Run, run_json: RunJson, sale: str, forecasting: Path
) -> None:
    known_series.write(forecasting, ["a", "b"])
    added = run("humility", sale, "add", "--new-series", "--override", "no")
    trigger = "the model was not trained on the series"
    assert added.stderr == f"Rule 1: {trigger}; override with 'no'\n"
    [kept] = run_json("humility", sale, "list")
    assert kept["name"] == "New Series"
    assert kept["trigger"] == {"type": "new_series"}
    assert trigger in run("humility", sale, "list").stdout


def test_new_series_of_a_bundle_that_lists_none_are_refused(
    run: Run, run_json: RunJson, sale: str, forecasting: Path
) -> None:
    refused = run("humility", sale, "add", "--new-series", code=1)
    assert "bundle holds no series.json" in refused.stderr
    (forecasting / SERIES).write_text("{}")
    refused = run("humility", sale, "add", "--new-series", code=1)
    assert "series.json: an object with a list" in refused.stderr
    assert run_json("humility", sale, "list") == []


def test_level_given_twice_is_kept_once(run: Run, run_json: RunJson, sale: str) -> None:
    levels = ("--level", "Berlin", "--level", "Łódź", "--level", "Berlin")
    added = run("humility", sale, "add", "--low-observation", "city", *levels)
    assert "is none of 'Berlin', 'Łódź'; no operation" in added.stderr
    [kept] = run_json("humility", sale, "list")
    assert kept["trigger"]["levels"] == ["Berlin", "Łódź"]


def test_same_rule_is_added_once(run: Run, sale: str) -> None:
    run(*UNCERTAIN)
    refused = run(*UNCERTAIN, "--name", "again", code=1)
    assert "the trigger and the action of 'Uncertain Prediction'" in refused.stderr


def test_eleventh_rule_is_refused(run: Run, run_json: RunJson, sale: str) -> None:
    for number in range(10):
        run(*UNCERTAIN, "--lower", number / 100)
    assert "at most 10" in run(*UNCERTAIN, code=1).stderr
    assert len(run_json("humility", sale, "list")) == 10


def test_external_deployment_has_no_rules(run: Run, external: str) -> None:
    refused = run("humility", external, "add", "--uncertain", code=1)
    assert "scored elsewhere" in refused.stderr
    run("humility", external, "recommend", code=1)
    assert run("humility", external, "list").stdout.startswith("#")


def test_unknown_deployment_is_refused(run: Run, sale: str) -> None:
    for verb in ("list", "recommend"):
        assert "cannot be found" in run("humility", "0" * 24, verb, code=1).stderr


def three(run: Run) -> list[str]:
    return [
        run(*UNCERTAIN, "--lower", each, "--name", each).stdout.strip()
        for each in ("0.1", "0.2", "0.3")
    ]


def names(run_json: RunJson, deployment: str = SALE) -> list[str]:
    return [each["name"] for each in run_json("humility", deployment, "list")]


@pytest.mark.parametrize("part", [slice(None), slice(8), "2"])
def test_rule_is_removed_by(
    run: Run, run_json: RunJson, sale: str, part: slice | str
) -> None:
    ids = three(run)
    name = part if isinstance(part, str) else ids[1][part]
    assert run("humility", sale, "remove", name).stdout == f"{ids[1]} is removed\n"
    assert names(run_json) == ["0.1", "0.3"]


@pytest.mark.parametrize("name", ["0", "4", "²", "x", "zzzz", "", "-1"])
def test_rule_that_is_not_there_is_refused(
    run: Run, run_json: RunJson, sale: str, name: str
) -> None:
    three(run)
    run("humility", sale, "remove", "--", name, code=1)
    run("humility", sale, "move", "--", name, 1, code=1)
    assert names(run_json) == ["0.1", "0.2", "0.3"]


def test_rule_is_moved(run: Run, run_json: RunJson, sale: str) -> None:
    ids = three(run)
    moved = run_json("humility", sale, "move", ids[2], 1)
    assert [each["name"] for each in moved] == ["0.3", "0.1", "0.2"]
    assert [each["position"] for each in moved] == [1, 2, 3]
    run("humility", sale, "move", 1, 3)
    assert names(run_json) == ["0.1", "0.2", "0.3"]
    assert "There are 3 rules" in run("humility", sale, "move", 1, 4, code=1).stderr
    run("humility", sale, "move", 1, 0, code=2)


def test_recommended_rules_are_shown_and_added_once(
    run: Run, run_json: RunJson, models: Path, sale: str
) -> None:
    shown = run_json("humility", sale, "recommend")
    impact = statistics(models, "sale")["impact"]["normalised"]
    most = ["age", "income"][int(np.argmax(impact[:2]))]
    triggers = [each["trigger"]["type"] for each in shown]
    assert triggers == ["uncertain_prediction", "outlying_input"]
    assert shown[1]["trigger"]["feature"] == most
    assert {each["action"]["type"] for each in shown} == {"no_operation"}
    assert names(run_json) == []
    run("humility", sale, "add", "--outlying", most)
    added = run_json("humility", sale, "recommend", "--add")
    assert [each["trigger"] for each in added] == [shown[0]["trigger"]]
    assert len(names(run_json)) == 2
    again = run("humility", sale, "recommend", "--add")
    assert (again.stdout, again.stderr) == ("", "All of them are there already.\n")


def test_counts_are_listed(run: Run, run_json: RunJson, home: Path, sale: str) -> None:
    ids = three(run)
    store = store_of(home)
    now = datetime.now(UTC)
    counts = [HumilityCount(sale, ids[1], now, 7, 90)]
    HumilityTotals(store.database).add(counts)
    store.dispose()
    found = run_json("humility", sale, "list")
    assert [(each["triggered"], each["rows"]) for each in found] == [
        *((0, 0), (7, 90), (0, 0))
    ]
    assert (
        run("humility", sale, "list").stdout.splitlines()[2].endswith(" 7          90")
    )


def test_rules_rest_while_they_are_switched_off(
    run: Run, run_json: RunJson, sale: str
) -> None:
    run(*UNCERTAIN)
    found = run_json("update", sale, "--set", "humility_enabled=false")
    assert found["settings"]["humility_enabled"] is False
    assert len(found["settings"]["humility"]) == 1
    assert "humility_enabled is false" in run("humility", sale, "list").stderr


def test_rules_are_no_setting_to_be_set(run: Run, sale: str) -> None:
    run("update", sale, "--set", "humility=[]", code=2)


def test_model_that_a_rule_does_not_fit_is_refused(
    run: Run, run_json: RunJson, models: Path, sale: str
) -> None:
    before = run_json("show", sale)["model_id"]
    run("humility", sale, "add", "--outlying", "age", "--lower", 1, "--upper", 2)
    region = ("--low-observation", "city", "--level", "Berlin")
    run("humility", sale, "add", *region, "--name", "where")
    refused = run("replace-model", sale, models / "sale-2", code=1)
    assert "'where' would not fit, the model has no feature 'city'" in refused.stderr
    assert f"foretell humility {sale} remove 2" in refused.stderr
    assert run_json("show", sale)["model_id"] == before
    run("humility", sale, "remove", 2)
    run("replace-model", sale, models / "sale-2")
    assert names(run_json) == ["Outlying Input: age"]


def test_rule_for_a_model_that_was_just_replaced_is_refused(
    run: Run,
    run_json: RunJson,
    home: Path,
    models: Path,
    sale: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = humility.kept

    def kept_and_replaced(state: State, model_id: str) -> tuple[Path, Model]:
        found = kept(state, model_id)
        monkeypatch.undo()
        run("replace-model", sale, models / "sale-2")
        return found

    monkeypatch.setattr(humility, "kept", kept_and_replaced)
    refused = run("humility", sale, "add", "--outlying", "age", code=1)
    assert "has just been replaced" in refused.stderr
    assert names(run_json) == []


def test_rule_that_came_meanwhile_keeps_a_model_from_being_replaced(
    run: Run,
    run_json: RunJson,
    models: Path,
    sale: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep = deployments.keep

    def keep_and_add(*arguments: Any) -> None:
        keep(*arguments)
        region = ("--low-observation", "city", "--level", "Berlin")
        run("humility", sale, "add", *region, "--name", "where")

    before = run_json("show", sale)["model_id"]
    monkeypatch.setattr(deployments, "keep", keep_and_add)
    refused = run("replace-model", sale, models / "sale-2", code=1)
    assert "'where' would not fit" in refused.stderr
    assert run_json("show", sale)["model_id"] == before
    assert names(run_json) == ["where"]
