"""The command line: `foretell VERB`."""

from __future__ import annotations

import errno
import sqlite3
from importlib.metadata import version
from typing import Any

import click

from app.commands import bundles, deployments, server
from app.commands.audit import audit
from app.commands.explain import explain
from app.commands.humility import humility
from app.commands.package import package
from app.commands.score import score
from app.commands.show import list_deployments, show
from app.commands.tensors import io_template
from app.commands.timeseries import ts
from app.commands.update import update
from app.commands.users import token, user


class Verbs(click.Group):
    """A group that refuses with one sentence and exit code 1, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # In the order of their use.
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # A pipe that was closed is click's to deal with.
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if not _is_refusal(error):
                raise
            raise click.ClickException(_sentence(error)) from error


def _is_refusal(error: Exception) -> bool:
    """Whether it is something that the user can put right.

    Anything else is a fault of the program, whose place the traceback tells.
    """
    # Imported when something is wrong: some of them bring libraries along.
    from app.config import InvalidConfig
    from app.errors import AppError
    from backends.base import ModelFileRejected
    from backends.bundle import BundleRejected
    from backends.explanations.base import (
        ExplanationTooSlow,
        NotExplainable,
        NotInitialized,
    )
    from backends.features import DataError
    from backends.humility import HumilityError
    from backends.humility_bounds import BoundsUnknown
    from backends.humility_json import InvalidRule
    from backends.model import InvalidModelCard
    from backends.timeseries.intervals import IntervalsUnavailable
    from backends.timeseries.refusals import ForecastRefused, ForecastTooLarge
    from backends.timeseries.spec import SpecError

    refusals = (
        AppError,
        BoundsUnknown,
        BundleRejected,
        DataError,
        ExplanationTooSlow,
        ForecastRefused,
        ForecastTooLarge,
        HumilityError,
        IntervalsUnavailable,
        InvalidConfig,
        InvalidModelCard,
        InvalidRule,
        ModelFileRejected,
        NotExplainable,
        NotInitialized,
        OSError,
        SpecError,
        sqlite3.DatabaseError,
    )
    return isinstance(error, refusals)


def _sentence(error: Exception) -> str:
    from backends.humility import HumilityError

    if isinstance(error, OSError) and error.strerror is not None:
        name = "" if error.filename is None else f"{error.filename}: "
        return f"{name}{error.strerror}"
    # Drivers say some things in several lines.
    sentence = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, HumilityError):
        # Clients are told its text alone; who owns the deployment may change it.
        sentence += f" (humility rule {error.rule.name!r}, {error.rule.id})"
    return sentence


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(version("foretell"), prog_name="foretell")
def cli() -> None:
    """Package models, deploy them, and serve predictions.

    Settings are environment variables; `foretell doctor` shows them. Exit codes: 0
    done, 1 refused, with the reason on standard error, 2 wrong usage.
    """


for verb in (
    package,
    io_template,
    bundles.validate,
    deployments.deploy,
    list_deployments,
    show,
    update,
    deployments.replace_model,
    deployments.disable,
    deployments.enable,
    deployments.delete,
    deployments.share,
    audit,
    humility,
    user,
    token,
    score,
    explain,
    ts,
    server.serve,
    server.doctor,
    server.migrate,
    server.nginx,
):
    cli.add_command(verb)


def main() -> None:
    """What the console script runs."""
    cli(prog_name="foretell")


if __name__ == "__main__":
    main()
