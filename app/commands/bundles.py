"""Making, checking and keeping bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.printing import json_option, print_json, printable
from app.commands.state import State
from app.commands.unstructured import is_hook
from app.keeping import keep as keep_bundle
from app.keeping import unpacked

if TYPE_CHECKING:
    from backends.model import Model


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def validate(bundle: Path, as_json: bool) -> None:
    """Check that a bundle is whole and answers as it did.

    BUNDLE is a folder or a .tar. Its files are held against their checksums, and its
    golden rows are scored as a server would, in a process with bounded time and
    memory. A time series model answers its golden samples as well.
    """
    from app.config import Config
    from app.validation import validate as check

    with unpacked(bundle) as folder:
        report = check(folder, Config.from_environment())
    if as_json:
        facts = {
            "model_id": report.model.id,
            "rows": report.rows,
            "largest_difference": report.largest_difference,
        }
        if report.model.time_series is not None:
            facts["forecasts"] = report.forecasts
        print_json(facts)
    elif is_hook(report.model):
        click.echo(f"Model {report.model.id} is whole; its Python hook was not run")
    else:
        answers = f"its {report.rows} golden rows"
        if report.forecasts:
            answers += f" and {report.forecasts} forecasts of samples"
        click.echo(
            f"Model {report.model.id} answers {answers} as it did when packaged "
            f"(largest difference: {report.largest_difference:.3g})"
        )


def keep(state: State, folder: Path, model: Model, owner: str) -> None:
    """Copy a bundle into the state folder, compile its model and enter it.

    What keeps the model from the tree engine is said on standard error.

    owner: a user's name. Raises what `app.keeping.keep` does.
    """
    verdict = keep_bundle(state, folder, model, owner)
    if verdict.reason and verdict.detail:
        text = f"The model is served by {verdict.engine}: {verdict.detail}"
        click.echo(printable(text), err=True)
