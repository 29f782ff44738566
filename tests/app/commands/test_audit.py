import getpass
from collections.abc import Callable
from typing import Any

from click.testing import Result

Run = Callable[..., Result]
RunJson = Callable[..., Any]


def test_changes_are_listed_newest_first(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("update", external, "--label", "there", "--set", "labels=names")
    run("delete", external, "--yes")
    deleted, updated, created, user = run_json("audit")
    assert [each["action"] for each in (deleted, updated, created, user)] == [
        *("delete", "update", "create", "create")
    ]
    assert updated["before"] == {"label": "elsewhere", "settings": {"labels": None}}
    assert updated["after"] == {"label": "there", "settings": {"labels": "names"}}
    assert (updated["via"], updated["actor"]) == ("command line", getpass.getuser())
    assert (user["kind"], user["after"]["name"]) == ("user", "ada")


def test_changes_of_one_object_are_listed(
    run: Run, run_json: RunJson, external: str
) -> None:
    run("update", external, "--importance", "HIGH")
    found = run_json("audit", "--object", external)
    assert {each["object_id"] for each in found} == {external}
    assert [each["number"] for each in found] == [3, 2]
    assert run_json("audit", "--most", 1) == found[:1]
    assert run_json("audit", "--before", 3)[0] == found[1]
    assert run_json("audit", "--object", "none") == []


def test_changes_are_told_to_people(run: Run, external: str) -> None:
    run("update", external, "--label", "the\u00e4re", "--description", "a\nb")
    head, line = run("audit", "--most", 1).stdout.splitlines()
    assert head.split() == ["#", "WHEN", "WHO", "BY", "WHAT", "ID", "CHANGE"]
    assert 'label "elsewhere" -> "the\u00e4re"' in line
    assert 'description null -> "a\\nb"' in line
    assert "update deployment" in line


def test_secrets_are_not_told(run: Run) -> None:
    run("user", "add", "ada")
    secret = run("token", "create", "ada").stdout.strip()
    run("user", "password", "ada", "--stdin", input="correct horse\n")
    told = run("audit").stdout + run("audit", "--json").stdout
    assert secret[24:] not in told and "scrypt" not in told and "horse" not in told
    assert "(hidden)" in told


def test_numbers_out_of_range_are_wrong_usage(run: Run) -> None:
    run("audit", "--most", 0, code=2)
    run("audit", "--before", 2**40, code=2)
