"""Running the server and looking after its installation."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import cell, json_option, print_facts, print_json, size
from app.commands.state import opened_state
from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config
    from app.doctor.findings import Finding


class ServerConfigMissing(AppError):
    """gunicorn.conf.py is not where an installation puts it."""


@click.command()
def serve() -> None:
    """Answer predictions until stopped.

    The settings are environment variables, see `foretell doctor`.
    """
    # What is wrong with the settings or the database is said here, in one sentence.
    with opened_state() as state:
        places = _places(state.config)
    file = server_config()
    # gunicorn looks for modules in the folder that it starts in before all others:
    # there must be no other `app` in it.
    os.chdir(file.parent)
    gunicorn = [sys.executable, "-P", "-m", "gunicorn", "--config", str(file)]
    os.execve(sys.executable, gunicorn, {**os.environ, **places})


def _places(config: Config) -> dict[str, str]:
    """The settings that name places, as they are to be read in any folder."""
    from app.store.database import Database

    places = {
        "FORETELL_HOME": str(config.home),
        "FORETELL_KERNELS": str(config.kernels),
    }
    database = Database(config.database_url).file
    if database is not None:
        places["FORETELL_DATABASE_URL"] = f"sqlite:///{database}"
    if config.bind.startswith("unix:"):
        socket = Path(config.bind.removeprefix("unix:")).absolute()
        places["FORETELL_BIND"] = f"unix:{socket}"
    return places


def server_config() -> Path:
    """gunicorn.conf.py: beside the source, or where the wheel puts it.

    Raises ServerConfigMissing.
    """
    name = "gunicorn.conf.py"
    places = (Path(__file__).parents[2], Path(sys.prefix) / "share" / "foretell")
    for folder in places:
        if (folder / name).is_file():
            return folder / name
    looked = " and ".join(map(str, places))
    raise ServerConfigMissing(f"There is no {name} in {looked}: install foretell again")


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database to the newest schema.

    Other verbs and the server do so too when they start.
    """
    from app.store.tables import SCHEMA

    with opened_state():
        pass
    if as_json:
        print_json({"schema": SCHEMA})
    else:
        click.echo(f"The database has schema {SCHEMA}, the newest")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look whether this installation is fit to serve.

    Shows the settings and where they come from, versions, cores, disk, memory, the
    database and the state of the deployed bundles, and says what to do about each
    problem. Nothing is changed. The exit code is 1 if there are problems.
    """
    from app.doctor.examination import examine

    findings = []
    for finding in examine(os.environ):
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    problems = [problem for finding in findings for problem in finding.problems]
    if as_json:
        parts = {finding.part: finding.facts for finding in findings}
        print_json({"problems": list(map(asdict, problems)), **parts})
    elif not problems:
        click.echo("\nNo problems found.")
    if problems:
        counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise click.ClickException(f"{counted} found")


def _print_finding(finding: Finding) -> None:
    facts = {name: _for_people(name, each) for name, each in finding.facts.items()}
    print_facts(facts, finding.part.capitalize())
    for problem in finding.problems:
        click.echo(click.style(f"  Problem: {cell(problem.text)}", fg="red"))
        click.echo(f"  Remedy:  {cell(problem.remedy)}")


def _for_people(name: str, value: Any) -> object:
    if isinstance(value, dict):
        unit = f" {value['unit']}" if value["unit"] else ""
        source = "" if value["source"] == "default" else "  (environment)"
        return f"{cell(value['value'])}{unit}{source}"
    if name.endswith("_bytes") and value is not None:
        return size(value)
    return value


@click.command()
def nginx() -> None:
    """Print the nginx site for the present settings."""
    from app.config import Config
    from app.nginx import site

    click.echo(site(Config.from_environment()), nl=False)
