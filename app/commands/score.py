"""Scoring a file without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from app.commands.models import algorithm_option, found, most_option, said
from app.commands.printing import json_option, print_json

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
@most_option(least=0)
@algorithm_option("--explanation-algorithm")
@json_option
def score(
    model: str,
    file: Path,
    out: Path,
    passthrough: tuple[str, ...],
    passthrough_all: bool,
    decimals: int,
    prediction_warning: bool,
    max_explanations: int | None,
    algorithm: str | None,
    as_json: bool,
) -> None:
    """Score a CSV file of any size, without a server.

    With the model, threshold and settings of the deployment ID, or with those that a
    BUNDLE brings. The output has the columns of the server's answers.
    """
    from app.config import Config

    if passthrough and passthrough_all:
        raise click.UsageError("Give --passthrough or --passthrough-all, not both.")
    wanted: tuple[str, ...] | Literal["all"] = passthrough
    if passthrough_all:
        wanted = "all"
    explanations = said(max_explanations, algorithm)
    config = Config.from_environment()
    with found(model, config) as scored:
        # Imported after pyarrow has been told that there is no pandas.
        from app.answering import Answering
        from app.offline import score_file

        served = scored.served
        answering = Answering(
            served,
            scored.settings,
            scored.threshold,
            passthrough=wanted,
            decimals=decimals,
            prediction_warning=prediction_warning,
            explained=scored.explained(explanations),
        )
        rows = score_file(answering, file, out, config)
    if as_json:
        facts = {"rows": rows, "out": str(out), "model_id": served.model.id}
        print_json(facts | {"engine": served.backend.engine})
    else:
        click.echo(f"{rows} rows scored with model {served.model.id} into {out}")
