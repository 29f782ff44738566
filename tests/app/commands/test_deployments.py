import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from app.commands.update import SETTINGS
from app.replacement import (
    ReplacementRefused,
    check_intervals,
    check_same_answers,
)
from app.store.settings import SETTING_NAMES, DeploymentSettings
from backends.model import Feature, Model

Run = Callable[..., Result]
RunJson = Callable[..., Any]

UNKNOWN = "0" * 24


def test_deploying_without_users_names_the_remedy(run: Run) -> None:
    stderr = run("deploy", "--external", "--label", "x", code=1).stderr
    assert "foretell user add NAME --admin" in stderr


def test_deploying_without_admin_asks_for_an_owner(run: Run) -> None:
    run("user", "add", "bob")
    assert "--owner" in run("deploy", "--external", "--label", "x", code=1).stderr
    run("deploy", "--external", "--label", "x", "--owner", "bob")


def test_external_deployment_is_listed(
    run: Run, run_json: RunJson, external: str
) -> None:
    [found] = run_json("list")
    assert found["id"] == external
    assert (found["external"], found["model_id"]) == (True, None)
    assert (found["owner"], found["label"]) == ("ada", "elsewhere")
    assert run("list").stdout.splitlines()[1].split()[:3] == [
        external,
        "elsewhere",
        "external",
    ]


def test_deployment_id_may_be_chosen_once(run: Run, external: str) -> None:
    chosen = "5d4eb8e8d2dbd4b8d2dbd4b8"
    arguments = ("deploy", "--external", "--label", "x", "--id")
    assert run(*arguments, chosen).stdout == f"{chosen}\n"
    assert chosen in run(*arguments, chosen, code=1).stderr
    run(*arguments, "XYZ", code=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy", "--label", "x"],
        ["deploy", "bundle", "--external", "--label", "x"],
        ["deploy", "--external"],
        ["deploy", "--external", "--label", "x", "--threshold", "0.5"],
        ["update", UNKNOWN],
        ["update", UNKNOWN, "--threshold", "high"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_2(run: Run, arguments: list[str]) -> None:
    run(*arguments, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", UNKNOWN],
        ["update", UNKNOWN, "--label", "x"],
        ["disable", UNKNOWN],
        ["enable", UNKNOWN],
        ["delete", UNKNOWN, "--yes"],
        ["replace-model", UNKNOWN, "/nonexistent"],
    ],
)
def test_unknown_deployment_is_refused(run: Run, arguments: list[str]) -> None:
    assert UNKNOWN in run(*arguments, code=1).stderr


def test_show_has_urls_and_settings(run: Run, run_json: RunJson, external: str) -> None:
    found = run_json("show", external)
    base = "http://127.0.0.1:8080"
    assert found["urls"] == {
        "legacy": f"{base}/predApi/v1.0/deployments/{external}/predictions",
        "serverless": f"{base}/api/v2/deployments/{external}/predictions",
        "rows": f"{base}/deployment/{external}/forward",
    }
    assert set(found["settings"]) == set(SETTING_NAMES)
    text = run("show", external).stdout
    assert found["urls"]["legacy"] in text and "scored elsewhere" in text


def test_urls_behind_a_socket_are_paths(run: Run, external: str) -> None:
    env = {"FORETELL_BIND": "unix:/run/foretell/socket"}
    text = run("show", external, env=env).stdout
    assert f"  /api/v2/deployments/{external}/predictions" in text


def test_update_changes_what_is_given(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("update", external, "--label", "new", "--threshold", "0.25", "--disabled")
    found = run_json("update", external, "--set", "labels=names")
    assert (found["label"], found["threshold"]) == ("new", 0.25)
    assert found["enabled"] is False
    assert found["settings"]["labels"] == "names"
    assert run_json("update", external, "--threshold", "model")["threshold"] is None


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("prediction_warning=false", False),
        ("prediction_warning_lower=-1.5", -1.5),
        ("prediction_warning_lower=", None),
        ("association_id=id", "id"),
        ("association_id=1", "1"),
        ("association_id=a=b", "a=b"),
        ("association_id=", None),
        ("approval_status=PENDING", "PENDING"),
        ("original_format_timestamp=true", True),
        ("allow_partial_history=true", True),
        ("prediction_intervals=true", True),
        ("prediction_interval_size=95", 95),
        ("prediction_interval_size=", 80),
        ("rows_per_request=100", 100),
        ("rows_per_request=", None),
        ("requests_per_minute=1", 1),
        ("requests_per_minute=1000000", 1_000_000),
        ("requests_per_minute=", None),
        ("tensor_json=false", False),
        ("tensor_json=", True),
        # Both would do as numbers.
        ("project_id=5e7000000000000000000001", "5e7000000000000000000001"),
        ("project_model_id=" + "1" * 24, "1" * 24),
        ("project_id=", None),
    ],
)
def test_settings_are_typed(
    run_json: RunJson, external: str, given: str, value: object
) -> None:
    found = run_json("update", external, "--set", given)
    assert found["settings"][given.partition("=")[0]] == value


def test_wrong_value_of_a_setting_is_refused(run: Run, external: str) -> None:
    assert "labels" in run("update", external, "--set", "labels=x", code=1).stderr


def test_unknown_setting_lists_the_known(run: Run, external: str) -> None:
    stderr = run("update", external, "--set", "colour=red", code=2).stderr
    assert all(f"{name} " in stderr for name in SETTINGS)


def test_every_setting_has_its_meaning() -> None:
    # The rules have a verb of their own.
    assert (*SETTINGS, "humility", "python_hook") == SETTING_NAMES


def test_disabled_deployment_is_enabled_again(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("disable", external)
    assert run_json("show", external)["enabled"] is False
    run("enable", external)
    assert run_json("show", external)["enabled"] is True


def test_delete_wants_a_yes(run: Run, run_json: RunJson, external: str) -> None:
    assert "--yes" in run("delete", external, code=1).stderr
    assert len(run_json("list")) == 1
    run("delete", external, "--yes")
    assert run_json("list") == []


@pytest.fixture
def changed(models: Path, tmp_path: Path) -> Path:
    """A bundle that was changed after packaging."""
    folder = tmp_path / "changed"
    shutil.copytree(models / "sale", folder)
    file = folder / "model.txt"
    file.write_text(file.read_text().replace("leaf_value=", "leaf_value=9", 1))
    return folder


def test_changed_bundle_is_refused(
    run: Run, changed: Path, external: str, home: Path
) -> None:
    assert "model.txt" in run("validate", changed, code=1).stderr
    run("deploy", changed, "--label", "x", code=1)
    run("replace-model", external, changed, code=1)
    assert not (home / "bundles").exists()


def test_deployed_model_is_listed_and_shown(
    run: Run, run_json: RunJson, sale: str
) -> None:
    [listed] = run_json("list")
    assert (listed["format"], listed["task"], listed["target"]) == (
        "lightgbm",
        "binary",
        "sale",
    )
    found = run_json("show", sale)
    assert found["model"]["id"] == listed["model_id"] == found["model_id"]
    assert [each["name"] for each in found["model"]["features"]] == [
        "age",
        "income",
        "city",
    ]
    assert found["model"]["features"][2]["categories"] == ["Berlin", "a, b", "Łódź"]
    text = run("show", sale).stdout
    assert "0.4 (the model's)" in text and "Łódź" in text


def test_same_bundle_is_kept_once(
    run: Run, run_json: RunJson, sale: str, models: Path, home: Path
) -> None:
    other = run("deploy", models / "sale.tar", "--label", "Again").stdout.strip()
    assert other != sale
    first, second = run_json("list")
    assert first["model_id"] == second["model_id"]
    assert [each.name for each in (home / "bundles").iterdir()] == [first["model_id"]]


def test_threshold_is_for_binary_models(
    run: Run, run_json: RunJson, models: Path, sale: str
) -> None:
    run("update", sale, "--threshold", "0.7")
    assert run_json("show", sale)["threshold"] == 0.7
    run("update", sale, "--threshold", "1.5", code=1)
    arguments = ("deploy", models / "price", "--label", "Price")
    assert "regression" in run(*arguments, "--threshold", "0.5", code=1).stderr
    price = run(*arguments).stdout.strip()
    assert "regression" in run("update", price, "--threshold", "0.5", code=1).stderr
    run("update", price, "--threshold", "model")


def test_model_is_replaced_by_one_with_other_features(
    run: Run, run_json: RunJson, models: Path, sale: str
) -> None:
    before = run_json("show", sale)
    run("replace-model", sale, models / "sale-2")
    after = run_json("show", sale)
    assert after["model_id"] != before["model_id"]
    assert len(after["model"]["features"]) == 2
    assert after["label"] == before["label"]


def test_model_with_other_answers_is_refused(
    run: Run, run_json: RunJson, models: Path, sale: str
) -> None:
    assert "task" in run("replace-model", sale, models / "price", code=1).stderr
    assert run_json("list")[0]["target"] == "sale"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "b"}, "target"),
        ({"labels": ("no", "maybe"), "positive_label": "maybe"}, "labels"),
        ({"positive_label": "no"}, "positive label"),
        ({"labels": ("yes", "no")}, None),
        ({"features": (Feature("y", "numeric"),)}, None),
    ],
)
def test_replacement_answers_alike(change: dict[str, Any], said: str | None) -> None:
    old = Model(
        id="",
        name="m",
        format="lightgbm",
        file="model.txt",
        task="binary",
        target="a",
        features=(Feature("x", "numeric"),),
        labels=("no", "yes"),
        positive_label="yes",
    )
    if said is None:
        check_same_answers(old, replace(old, **change))
    else:
        with pytest.raises(ReplacementRefused, match=said):
            check_same_answers(old, replace(old, **change))


SERIES = {"datetimeColumn": "day", "datetimeFormat": "%Y-%m-%d"}
FORECASTER = Model(
    id="",
    name="m",
    format="lightgbm",
    file="model.txt",
    task="regression",
    target="a",
    features=(Feature("x", "numeric"),),
    time_series=SERIES,
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (SERIES, SERIES, None),
        (SERIES, None, "The new model is no time series model"),
        (None, SERIES, "The new model is a time series model"),
        (SERIES, {**SERIES, "seriesIdColumn": "shop"}, "The series id column would"),
        (
            SERIES,
            {**SERIES, "datetimeFormat": "%Y"},
            "format would become %Y, from %Y-",
        ),
    ],
)
def test_replacement_takes_the_same_rows(
    old: dict[str, Any] | None, new: dict[str, Any] | None, said: str | None
) -> None:
    before = replace(FORECASTER, time_series=old)
    if said is None:
        check_same_answers(before, replace(before, time_series=new))
    else:
        with pytest.raises(ReplacementRefused, match=said):
            check_same_answers(before, replace(before, time_series=new))


def test_intervals_that_are_told_are_the_models() -> None:
    card = {"predictionIntervals": {"space": "model", "80": {}, "95": {}}}
    model = replace(FORECASTER, time_series=card)
    check_intervals(DeploymentSettings(prediction_interval_size=50), model)
    check_intervals(DeploymentSettings(prediction_intervals=True), model)
    settings = DeploymentSettings(
        prediction_intervals=True, prediction_interval_size=50
    )
    with pytest.raises(ReplacementRefused, match="of 50 %; it has 80 %, 95 %"):
        check_intervals(settings, model)
    with pytest.raises(ReplacementRefused, match="of 50 %; it has none"):
        check_intervals(settings, replace(model, time_series=None))


def test_intervals_are_not_told_of_a_model_without_them(run: Run, sale: str) -> None:
    told = run("update", sale, "--set", "prediction_intervals=true", code=1).stderr
    assert "has no prediction intervals of 80 %; it has none" in told


def test_external_deployment_gets_a_model(
    run: Run, run_json: RunJson, models: Path, external: str
) -> None:
    run("replace-model", external, models / "price")
    assert run_json("list")[0]["task"] == "regression"


@pytest.mark.usefixtures("no_formats")
def test_lost_bundle_is_told_and_mended(
    run: Run, run_json: RunJson, models: Path, sale: str, home: Path
) -> None:
    [folder] = (home / "bundles").iterdir()
    shutil.rmtree(folder)
    assert "Warning" in run("show", sale).stderr
    assert run_json("show", sale)["model"] is None
    assert sale in run("doctor", code=1).stdout
    run("replace-model", sale, models / "sale")
    run("doctor")


def test_damaged_bundle_is_not_taken_for_a_whole_one(
    run: Run, models: Path, sale: str, home: Path
) -> None:
    [folder] = (home / "bundles").iterdir()
    (folder / "golden.json").write_text("{}")
    stderr = run("deploy", models / "sale", "--label", "x", code=1).stderr
    assert str(folder) in stderr and "remove" in stderr
    shutil.rmtree(folder)
    run("deploy", models / "sale", "--label", "x")


def test_show_tells_the_engine(run: Run, run_json: RunJson, sale: str) -> None:
    found = run_json("show", sale)
    assert (found["engine"], found["engine_reason"]) == ("trees", None)
    text = run("show", sale).stdout
    assert re.search(r"^  engine +trees$", text, re.M)
    assert "because" not in text


def test_deploying_says_when_the_library_serves(
    run: Run, run_json: RunJson, sale: str, models: Path
) -> None:
    result = run("deploy", models / "cost", "--label", "Cost")
    assert result.stderr.startswith("The model is served by onnxruntime: the tree ")
    assert result.stderr.count("\n") == 1
    made = result.stdout.strip()
    found = run_json("show", made)
    assert found["engine"] == "onnxruntime"
    assert found["engine_reason"] in result.stderr
    text = run("show", made).stdout
    assert f"because            {found['engine_reason']}" in text


def test_deploying_says_nothing_of_the_engine(
    run: Run, sale: str, models: Path
) -> None:
    assert run("deploy", models / "price", "--label", "Price").stderr == ""


def test_replaced_model_is_compiled_before_it_counts(
    run: Run, run_json: RunJson, sale: str, models: Path, home: Path
) -> None:
    run("replace-model", sale, models / "sale-2")
    found = run_json("show", sale)
    assert found["engine"] == "trees"
    compiled = [path.name for path in (home / "compiled").iterdir()]
    assert any(name.startswith(found["model_id"]) for name in compiled)


def test_show_tells_of_a_damaged_model(
    run: Run, run_json: RunJson, sale: str, models: Path, home: Path
) -> None:
    [tables] = (home / "compiled").glob("*/tables.*")
    tables.write_bytes(tables.read_bytes()[:-8])
    found = run_json("show", sale)
    assert found["engine"] == "lightgbm"
    assert "is not as it was written" in found["engine_reason"]
    # The remedy that is named.
    run("deploy", models / "sale", "--label", "Again")
    assert run_json("show", sale)["engine"] == "trees"


def test_show_tells_of_a_model_that_is_not_compiled(
    run: Run, run_json: RunJson, sale: str, home: Path
) -> None:
    shutil.rmtree(home / "compiled")
    found = run_json("show", sale)
    assert found["engine"] == "lightgbm"
    assert "a server does so when it starts" in found["engine_reason"]


def test_description_and_importance_are_shown(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("update", external, "--description", "for tests", "--importance", "CRITICAL")
    shown = run_json("show", external)
    assert (shown["description"], shown["importance"]) == ("for tests", "CRITICAL")
    assert "for tests" in run("show", external).stdout
    run("update", external, "--description", "")
    assert run_json("show", external)["description"] is None
    run("update", external, "--importance", "high", code=2)


def test_deployment_is_shared_and_no_longer(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("user", "add", "bot", "--role", "predictor")
    assert "is shared with bot" in run("share", external, "bot").stdout
    assert run_json("show", external)["shared_with"] == ["bot"]
    assert "no longer" in run("share", external, "bot", "--remove").stdout
    assert run_json("show", external)["shared_with"] == []
    assert "'eve'" in run("share", external, "eve", code=1).stderr
