import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from app.cli import cli

Run = Callable[..., Result]
RunJson = Callable[..., Any]

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "cli.md"


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_wrong_settings_are_one_sentence(run: Run) -> None:
    stderr = run("list", code=1, env={"FORETELL_WORKERS": "many"}).stderr
    assert "FORETELL_WORKERS" in stderr


def test_file_that_is_no_database_is_refused(run: Run, home: Path) -> None:
    home.mkdir()
    (home / "foretell.db").write_text("this is a text of a certain length" * 100)
    run("list", code=1)


def test_password_of_the_database_is_not_printed(run: Run) -> None:
    url = "postgresql://u:s3cret@127.0.0.1:1/foretell"
    result = run("list", code=1, env={"FORETELL_DATABASE_URL": url})
    assert "s3cret" not in result.output


def test_control_characters_do_not_reach_the_terminal() -> None:
    from app.commands.printing import cell

    assert cell("a\x1b[31mb\n") == r"a\x1b[31mb\n"
    assert cell("naïve 価格") == "naïve 価格"


def test_list_imports_no_numerical_library(run: Run, home: Path) -> None:
    script = """
import sys
from app.cli import cli
cli(["list"], standalone_mode=False)
heavy = {"pandas", "lightgbm", "onnxruntime", "pyarrow", "flask", "alembic"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run("migrate")
    environ = {"FORETELL_HOME": str(home)}
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=ROOT, env=environ, check=True)


@pytest.mark.parametrize("name, command", list(commands()))
def test_verb_and_its_options_are_documented(name: str, command: click.Command) -> None:
    document = DOCUMENT.read_text()
    heading = re.search(rf"^#+ `foretell {name}`?\b.*$", document, re.MULTILINE)
    assert heading, f"foretell {name}"
    section = document[heading.start() :].partition("\n## ")[0]
    for parameter in command.params:
        names = parameter.opts + parameter.secondary_opts
        for option in names if isinstance(parameter, click.Option) else []:
            assert f"`{option}" in section or f" {option}" in section, option
