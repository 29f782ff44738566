import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
RunJson = Callable[..., Any]


def test_user_add_prints_the_id_alone(run: Run) -> None:
    assert re.fullmatch(r"[0-9a-f]{24}\n", run("user", "add", "ada").stdout)


def test_users_are_listed(run: Run, run_json: RunJson) -> None:
    run("user", "add", "ada", "--admin")
    run("user", "add", "bob")
    found = run_json("user", "list")
    assert [(each["name"], each["admin"]) for each in found] == [
        ("ada", True),
        ("bob", False),
    ]
    lines = run("user", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "ROLE", "CREATED"]
    assert lines[1].split()[1:3] == ["ada", "admin"]


def test_user_name_is_taken_once(run: Run) -> None:
    run("user", "add", "ada")
    assert "'ada'" in run("user", "add", "ada", code=1).stderr


@pytest.mark.parametrize("role", ["admin", "user", "predictor"])
def test_user_is_added_with_a_role(run: Run, run_json: RunJson, role: str) -> None:
    run("user", "add", "ada", "--role", role)
    found = run_json("user", "list")[0]
    assert (found["role"], found["admin"]) == (role, role == "admin")


def test_admin_is_no_other_role(run: Run) -> None:
    run("user", "add", "ada", "--admin", "--role", "user", code=2)
    run("user", "add", "ada", "--role", "boss", code=2)


def test_user_gets_another_role(run: Run, run_json: RunJson) -> None:
    run("user", "add", "ada")
    assert run_json("user", "update", "ada", "--role", "predictor")["role"] == (
        "predictor"
    )
    assert "'eve'" in run("user", "update", "eve", "--role", "user", code=1).stderr


def test_owner_stays_no_predictor(run: Run, external: str) -> None:
    stderr = run("user", "update", "ada", "--role", "predictor", code=1).stderr
    assert "'ada' owns deployments" in stderr


def test_predictor_is_no_owner(run: Run) -> None:
    run("user", "add", "bot", "--role", "predictor")
    deploy = ("deploy", "--external", "--label", "x", "--owner", "bot")
    assert "'bot' owns nothing" in run(*deploy, code=1).stderr
    run("token", "create", "bot")


def test_password_is_read_from_standard_input(run: Run, run_json: RunJson) -> None:
    run("user", "add", "ada")
    assert not run_json("user", "list")[0]["has_password"]
    result = run("user", "password", "ada", "--stdin", input="correct horse\n")
    assert "horse" not in result.output
    assert run_json("user", "list")[0]["has_password"]


@pytest.mark.parametrize("given", ["", "short\n", "x" * 1025 + "\n"])
def test_unusable_password_is_refused(run: Run, run_json: RunJson, given: str) -> None:
    run("user", "add", "ada")
    run("user", "password", "ada", "--stdin", code=1, input=given)
    assert not run_json("user", "list")[0]["has_password"]


def test_password_needs_a_terminal_or_stdin(run: Run) -> None:
    run("user", "add", "ada")
    stderr = run("user", "password", "ada", code=2, input="correct horse\n").stderr
    assert "--stdin" in stderr


def test_password_of_nobody_is_refused(run: Run) -> None:
    asked = run("user", "password", "eve", "--stdin", code=1, input="correct horse\n")
    assert "'eve'" in asked.stderr


def test_token_is_shown_alone_and_once(run: Run, run_json: RunJson) -> None:
    run("user", "add", "ada")
    result = run("token", "create", "ada", "--expires", "90d")
    assert re.fullmatch(r"[A-Za-z0-9]+\n", result.stdout)
    assert "expires" in result.stderr
    [token] = run_json("token", "list")
    assert token["id"] == result.stdout[:24]
    assert token["state"] == "live"
    assert result.stdout.strip() not in run("token", "list").output


@pytest.mark.parametrize("expires", ["90", "d", "1.5d", "-1d", "5m", "", "1 d"])
def test_expiry_of_another_form_is_wrong_usage(run: Run, expires: str) -> None:
    run("user", "add", "ada")
    run("token", "create", "ada", "--expires", expires, code=2)


def test_expiry_of_nothing_is_refused(run: Run) -> None:
    run("user", "add", "ada")
    run("token", "create", "ada", "--expires", "0d", code=1)


def test_token_of_nobody_is_refused(run: Run) -> None:
    assert "'eve'" in run("token", "create", "eve", code=1).stderr


def test_token_of_a_deployment_is_listed_with_it(
    run: Run, run_json: RunJson, external: str
) -> None:
    secret = run("token", "create", "--deployment", external).stdout.strip()
    run("token", "create", "ada")
    first, second = run_json("token", "list")
    assert (first["id"], first["user"]) == (secret[:24], "ada")
    assert (first["deployment_id"], second["deployment_id"]) == (external, None)
    lines = run("token", "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["ID", "USER", "DEPLOYMENT", "STATE"]
    assert [line.split()[2] for line in lines[1:]] == [external, "-"]


def test_token_of_a_deployment_is_printed_as_json(
    run_json: RunJson, external: str
) -> None:
    made = run_json("token", "create", "--deployment", external, "--expires", "1d")
    assert made["token"].startswith(made["id"])
    assert (made["user"], made["deployment_id"]) == ("ada", external)
    assert made["expires_at"] > made["created_at"]


def test_token_is_of_a_user_or_of_a_deployment(run: Run, external: str) -> None:
    assert "USER" in run("token", "create", code=2).stderr
    run("token", "create", "ada", "--deployment", external, code=2)


def test_token_of_no_deployment_is_refused(run: Run) -> None:
    stderr = run("token", "create", "--deployment", "0" * 24, code=1).stderr
    assert "0" * 24 in stderr


def test_token_is_revoked_by_its_beginning(run: Run, run_json: RunJson) -> None:
    run("user", "add", "ada")
    secret = run("token", "create", "ada").stdout.strip()
    run("token", "revoke", secret[:8])
    assert run_json("token", "list")[0]["state"] == "revoked"
    run("token", "revoke", "ffffffff", code=1)
