"""The model that a verb scores with, and how its answers are to be explained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.state import opened_state
from app.errors import AppError
from app.keeping import checked, kept

if TYPE_CHECKING:
    from app.config import Config
    from app.explanation_request import Explained
    from app.model_cache import ServedModel
    from app.store.settings import DeploymentSettings
    from schemas.arguments import ExplanationArguments


class NothingToScoreWith(AppError):
    """The deployment has no model here."""


@dataclass(frozen=True, slots=True)
class Found:
    """A loaded model, and what a deployment adds to it.

    threshold: None for the model's own.
    """

    served: ServedModel
    settings: DeploymentSettings
    threshold: float | None

    def explained(self, said: ExplanationArguments | None) -> Explained | None:
        """How rows are explained; None if they are not.

        Raises NotExplainable and NotInitialized.
        """
        from app.explanation_request import PREDICTIONS, read_request

        return read_request(self.served, self.settings, said, PREDICTIONS)


@contextmanager
def found(text: str, config: Config) -> Iterator[Found]:
    """The model that a deployment's id or a bundle's path names."""
    from app.lean import settle_pyarrow_without_pandas

    settle_pyarrow_without_pandas()
    with placed(text, config) as (folder, settings, threshold, compiled):
        # Imported after pyarrow has been told that there is no pandas.
        from app.model_cache import load_served
        from backends.compiled import read
        from backends.trees.kernel_cache import prepare

        if compiled is not None and read(compiled, "").has_trees:
            prepare(config.kernels)
        yield Found(load_served(folder, compiled), settings, threshold)


@contextmanager
def placed(
    text: str, config: Config
) -> Iterator[tuple[Path, DeploymentSettings, float | None, Path | None]]:
    """The bundle that is named, and what a deployment adds to it."""
    from app.store.settings import DeploymentSettings

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


def _most(least: int) -> Callable[[str | int], int]:
    """Reads how many explanations; `all` as `schemas.fields.ALL`."""

    def read(text: str | int) -> int:
        from schemas.fields import ALL

        if text == "all":
            return ALL
        if not re.fullmatch(r"[0-9]{1,18}", str(text)) or int(text) < least:
            raise click.BadParameter(
                f"{text!r} is neither a number from {least} on nor all."
            )
        return int(text)

    return read


def most_option(
    *, least: int, default: int | None = None
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """`--max-explanations`, as the query argument maxExplanations says it."""
    return click.option(
        "--max-explanations",
        type=_most(least),
        default=default,
        show_default=default is not None,
        metavar="N|all",
        help="How many features of a row are told, strongest first; all: SHAP only.",
    )


def algorithm_option(
    name: str, default: str | None = None
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """`--algorithm`, as the query argument explanationAlgorithm says it."""
    return click.option(
        name,
        "algorithm",
        type=click.Choice(["xemp", "shap"], case_sensitive=False),
        default=default,
        show_default=default is not None,
        help="What explains: against usual values (xemp), or in sums (shap).",
    )


def said(most: int | None, algorithm: str | None) -> ExplanationArguments | None:
    """What the options say, as a query string would; None if nothing."""
    from schemas.arguments import ExplanationArguments
    from schemas.fields import ALL

    if most is None and algorithm is None:
        return None
    if algorithm == "shap":
        return ExplanationArguments(most=most, algorithm="shap")
    if most == ALL:
        raise click.UsageError("XEMP tells a number of features: all is for SHAP.")
    return ExplanationArguments(most=most)
