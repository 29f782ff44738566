"""Making, checking and keeping bundles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.printing import json_option, print_json, printable
from app.commands.state import State
from app.commands.unstructured import is_hook
from app.errors import AppError

if TYPE_CHECKING:
    from app.config import Config
    from backends.model import Model


class KeptBundleDamaged(AppError):
    """A deployed model's bundle on this server is not as it was packaged."""


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


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The bundle's folder; a tar is unpacked into one for the while.

    Raises BundleRejected for a tar that is not one bundle, nothing else and safe.
    """
    from backends import bundle

    if path.is_dir() or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
        bundle.unpack(path, Path(folder))
        yield Path(folder)


@contextmanager
def checked(path: Path, config: Config) -> Iterator[tuple[Path, Model]]:
    """The folder and the card of a bundle that passed its validation.

    Raises BundleRejected.
    """
    from app.validation import validate

    with unpacked(path) as folder:
        yield folder, validate(folder, config).model


def keep(state: State, folder: Path, model: Model, owner: str) -> None:
    """Copy a bundle into the state folder, compile its model and enter it.

    What keeps the model from the tree engine is said on standard error.

    owner: a user's name.
    """
    from app.compilation import compile_deployed

    nbytes = sum(file.stat().st_size for file in folder.iterdir())
    state.bundles.put(folder, model.id)
    # What is there under this name may be older and damaged, and what was copied just
    # now may have been changed since it was checked.
    place, _ = kept(state, model.id)
    # Before any server hears of the model: its first request must not wait.
    verdict = compile_deployed(place, model, state.compiled, state.config)
    if verdict.reason and verdict.detail:
        text = f"The model is served by {verdict.engine}: {verdict.detail}"
        click.echo(printable(text), err=True)
    state.store.add_model(model, owner, nbytes)


def kept(state: State, model_id: str) -> tuple[Path, Model]:
    """Where a deployed model's bundle is kept, and its card.

    Raises UnknownModel and KeptBundleDamaged.
    """
    from backends import bundle

    folder = state.bundles.path(model_id)
    try:
        model = bundle.read(folder)
    except bundle.BundleRejected as error:
        raise KeptBundleDamaged(_damage(folder, str(error))) from error
    if model.id != model_id:
        raise KeptBundleDamaged(_damage(folder, f"it holds model {model.id}"))
    return folder, model


def _damage(folder: Path, reason: str) -> str:
    return (
        f"The copy in {folder} is damaged, {reason}: remove that folder, then give "
        "the same bundle again"
    )
