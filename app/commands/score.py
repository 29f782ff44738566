"""Scoring a file without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from app.commands.bundles import checked, kept
from app.commands.printing import json_option, print_json
from app.commands.state import opened_state
from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config
    from app.store.records import DeploymentSettings


class NothingToScoreWith(AppError):
    """The deployment has no model here."""


_ENDS = (".csv", ".json")


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _ENDS:
        raise click.BadParameter(f"{text!r} does not end in {' or '.join(_ENDS)}.")
    return path


@click.command()
@click.argument("model", metavar="ID|BUNDLE")
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=_output,
    metavar="FILE",
    help="What to write: a .csv, or a .json as the server answers it.",
)
@click.option(
    "--passthrough",
    multiple=True,
    metavar="NAME",
    help="Copy this column of the input to the output; may be repeated.",
)
@click.option("--passthrough-all", is_flag=True, help="Copy all columns of the input.")
@click.option(
    "--decimals",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Most digits after the point.",
)
@click.option(
    "--prediction-warning",
    is_flag=True,
    help="Regression: flag predictions outside the usual bounds.",
)
@json_option
def score(
    model: str,
    file: Path,
    out: Path,
    passthrough: tuple[str, ...],
    passthrough_all: bool,
    decimals: int,
    prediction_warning: bool,
    as_json: bool,
) -> None:
    """Score a CSV file of any size, without a server.

    With the model, threshold and settings of the deployment ID, or with those that a
    BUNDLE brings. The output has the columns of the server's answers.
    """
    from app.config import Config
    from app.lean import settle_pyarrow_without_pandas

    if passthrough and passthrough_all:
        raise click.UsageError("Give --passthrough or --passthrough-all, not both.")
    wanted: tuple[str, ...] | Literal["all"] = passthrough
    if passthrough_all:
        wanted = "all"
    settle_pyarrow_without_pandas()
    config = Config.from_environment()
    with _found(model, config) as (folder, settings, threshold, compiled):
        # Imported after pyarrow has been told that there is no pandas.
        from app.answering import Answering
        from app.model_cache import load_served
        from app.offline import score_file
        from backends.compiled import TREES, read
        from backends.trees.kernel_cache import prepare

        if compiled is not None and read(compiled, "").engine == TREES:
            prepare(config.kernels)
        served = load_served(folder, compiled)
        answering = Answering(
            served,
            settings,
            threshold,
            passthrough=wanted,
            decimals=decimals,
            prediction_warning=prediction_warning,
        )
        rows = score_file(answering, file, out, config)
    if as_json:
        facts = {"rows": rows, "out": str(out), "model_id": served.model.id}
        print_json(facts | {"engine": served.backend.engine})
    else:
        click.echo(f"{rows} rows scored with model {served.model.id} into {out}")


@contextmanager
def _found(
    text: str, config: Config
) -> Iterator[tuple[Path, DeploymentSettings, float | None, Path | None]]:
    """The bundle that an id or a path names, and what a deployment adds to it."""
    from app.store.records import DeploymentSettings

    if re.fullmatch(r"[0-9a-f]{24}", text) and not Path(text).exists():
        with opened_state() as state:
            deployment = state.store.deployment(text)
            if deployment.model_id is None:
                raise NothingToScoreWith(f"The model of {text} is scored elsewhere")
            folder, _ = kept(state, deployment.model_id)
            compiled = state.compiled.path(deployment.model_id)
        yield folder, deployment.settings, deployment.threshold, compiled
    else:
        # A model file is loaded here only after a child process has done so.
        with checked(Path(text), config) as (folder, _):
            yield folder, DeploymentSettings(), None, None
