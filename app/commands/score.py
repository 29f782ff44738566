"""Scoring a file without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from app.commands.models import algorithm_option, most_option, placed, said
from app.commands.printing import json_option, print_json
from app.lean import settle_pyarrow_without_pandas

_ENDS = (".csv", ".json")


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _ENDS:
        raise click.BadParameter(f"{text!r} does not end in {' or '.join(_ENDS)}.")
    return path


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date and time of ISO 8601.") from None
    return instant if instant.tzinfo is None else instant.astimezone(UTC)


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
@click.option(
    "--forecast-point",
    type=_instant,
    metavar="TIME",
    help="Time series: forecast from here.  [the newest possible]",
)
@click.option(
    "--predictions-start",
    type=_instant,
    metavar="TIME",
    help="Time series: forecast every row from here on, from every point possible,",
)
@click.option(
    "--predictions-end", type=_instant, metavar="TIME", help="... before this time."
)
@click.option(
    "--relax-known-in-advance",
    is_flag=True,
    help="Time series: what is known in advance may be missing.",
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
    forecast_point: datetime | None,
    predictions_start: datetime | None,
    predictions_end: datetime | None,
    relax_known_in_advance: bool,
    max_explanations: int | None,
    algorithm: str | None,
    as_json: bool,
) -> None:
    """Score a CSV file of any size, without a server.

    With the model, threshold and settings of the deployment ID, or with those that a
    BUNDLE brings. The output has the columns of the server's answers. A time series
    model takes history and future rows, and forecasts as the server does.
    """
    from app.config import Config

    if passthrough and passthrough_all:
        raise click.UsageError("Give --passthrough or --passthrough-all, not both.")
    if (predictions_start is None) != (predictions_end is None):
        raise click.UsageError("Give --predictions-start and --predictions-end.")
    if predictions_start is not None and forecast_point is not None:
        raise click.UsageError("Give --forecast-point or a range, not both.")
    wanted: tuple[str, ...] | Literal["all"] = passthrough
    if passthrough_all:
        wanted = "all"
    explanations = said(max_explanations, algorithm)
    config = Config.from_environment()
    asked = (forecast_point, predictions_start, predictions_end, relax_known_in_advance)
    settle_pyarrow_without_pandas()
    with placed(model, config) as (folder, settings, threshold, compiled):
        # Imported after pyarrow has been told that there is no pandas.
        from app.batch.job import ModelPlace, Task, Wishes, opened
        from app.offline import score_file
        from app.timeseries.window import Asked

        # What was compiled is of a deployed model, which workers elsewhere can have.
        model_id = "" if compiled is None else folder.name
        task = Task(
            ModelPlace(model_id, folder, compiled),
            settings=settings,
            threshold=threshold,
            wishes=Wishes(
                wanted,
                decimals,
                prediction_warning,
                explanations,
                Asked(*asked) if any(asked) else None,
            ),
        )
        # First, for a model that takes no rows is not told of them.
        served = opened(task.model, "")
        rows = score_file(task, file, out, config)
    if as_json:
        facts = {"rows": rows, "out": str(out), "model_id": served.model.id}
        print_json(facts | {"engine": served.backend.engine})
    else:
        click.echo(f"{rows} rows scored with model {served.model.id} into {out}")
