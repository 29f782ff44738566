"""Why a single prediction is what it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.models import Found, algorithm_option, found, most_option, said
from app.commands.printing import json_option, print_facts, print_table
from app.errors import AppError

if TYPE_CHECKING:
    from app.answering import Answering
    from app.config import Config
    from app.decode import Chunk

_PICTURES = (".png", ".svg")


class ForecastsToldElsewhere(AppError):
    """Forecasts come of many rows."""

    def __init__(self) -> None:
        super().__init__(
            "A forecast comes of many rows: `foretell score --max-explanations N` tells"
            " why forecasts are what they are"
        )


class RowNotThere(AppError):
    """The file has no row of this number."""


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _PICTURES:
        ends = " or ".join(_PICTURES)
        raise click.BadParameter(f"{text!r} does not end in {ends}.")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}.")
    return path


@click.command()
@click.argument("model", metavar="ID|BUNDLE")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--row",
    required=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Which row of the file, counted from 0.",
)
@algorithm_option("--algorithm", "xemp")
@most_option(least=1, default=10)
@click.option(
    "--plot",
    type=_picture,
    metavar="FILE",
    help="Also draw a picture: a .png or an .svg.",
)
@json_option
def explain(
    model: str,
    file: Path,
    row: int,
    algorithm: str,
    max_explanations: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Tell why one row of a file is predicted as it is, without a server.

    FILE is CSV, or JSON if its name ends in .json, as a request's body would be. The
    model, threshold and settings are those of the deployment ID, or those that a
    BUNDLE brings. With --json the row is printed as the server would answer it.
    """
    from app.config import Config

    config = Config.from_environment()
    with found(model, config) as scored:
        from app.answering import Answering

        if scored.served.model.time_series is not None:
            raise ForecastsToldElsewhere
        explained = scored.explained(said(max_explanations, algorithm))
        answering = Answering(
            scored.served, scored.settings, scored.threshold, explained=explained
        )
        text = _answer(answering, _row(answering, file, row, config))
    story = Story(scored, algorithm, json.loads(text))
    if plot is not None:
        from app.commands.picture import draw

        plot.write_bytes(draw(story, plot.suffix))
    if as_json:
        click.echo(text)
    else:
        _print(story)


def _row(answering: Answering, file: Path, number: int, config: Config) -> Chunk:
    """The row of this number. Raises RowNotThere, and what is wrong with the rows."""
    # The limits bound what a request may cost others.
    limits = dataclasses.replace(
        config, max_body=2**62, max_rows=2**62, max_columns=2**31
    )
    kind = "application/json" if file.suffix == ".json" else "text/csv"
    rows = 0
    for chunk in answering.read(file.read_bytes(), kind, limits):
        first, rows = rows, rows + len(chunk.columns)
        if number < rows:
            return _taken(chunk, number - first)
    raise RowNotThere(f"{file} has no row {number}: it has {rows} rows, from 0 on")


def _taken(chunk: Chunk, place: int) -> Chunk:
    """One row of a chunk."""
    import numpy as np

    one = slice(place, place + 1)
    return dataclasses.replace(
        chunk,
        first_row=chunk.first_row + place,
        columns=chunk.columns.take(np.array([place])),
        passthrough={name: each[one] for name, each in chunk.passthrough.items()},
        cells={name: each[one] for name, each in chunk.cells.items()},
    )


def _answer(answering: Answering, row: Chunk) -> str:
    """The row's object as JSON."""
    _, rows_of = answering.begin("json", row)
    return rows_of(row).decode()


@dataclasses.dataclass(frozen=True, slots=True)
class Story:
    """One row of an answer, for people.

    answer: the row's object, read.
    """

    found: Found
    algorithm: str
    answer: dict[str, Any]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The features that are told of, the strongest first."""
        items: list[dict[str, Any]] = self.answer["predictionExplanations"]
        return items

    @property
    def rules(self) -> list[str]:
        """Names of the humility rules that triggered."""
        return [rule["ruleName"] for rule in self.answer.get("humility", ())]

    @property
    def sums(self) -> tuple[float, float] | None:
        """SHAP: what the strengths are added to, and what those not told come to."""
        metadata = self.answer.get("shapExplanationsMetadata")
        if metadata is None:
            return None
        return metadata["baseValue"], metadata["remainingTotal"]

    @property
    def total(self) -> float:
        """SHAP: what all comes to."""
        base, remaining = self.sums or (0.0, 0.0)
        return float(base + sum(item["strength"] for item in self.items) + remaining)

    @property
    def untold(self) -> int:
        """SHAP: how many features are not told of."""
        return len(self.found.served.model.features) - len(self.items)

    @property
    def prediction(self) -> str:
        """What is predicted, by the name of the class."""
        predicted = self.answer["prediction"]
        return str(self._names.get(predicted, predicted))

    @property
    def values(self) -> dict[str, float]:
        """Class or target to what was predicted of it."""
        values = self.answer["predictionValues"]
        return {
            str(self._names.get(each["label"], each["label"])): each["value"]
            for each in values
        }

    @property
    def space(self) -> str:
        """What the strengths are amounts of."""
        model, settings = self.found.served.model, self.found.settings
        if model.task == "multiclass":
            label = self.items[0]["label"] if self.items else self.prediction
            return f"centred log-probability of {label}"
        if self.algorithm == "shap":
            if model.task == "regression":
                return f"raw score of {model.target}"
            if settings.shap_output == "probability":
                return f"probability of {model.positive_label}"
            return f"raw score of {model.positive_label}"
        if model.task == "regression":
            return model.target
        return f"log-odds of {model.positive_label}"

    @property
    def _names(self) -> dict[Any, Any]:
        """Binary: the labels of the answer to the names of the classes."""
        model = self.found.served.model
        if model.task != "binary" or self.found.settings.labels == "names":
            return {}
        return {1: model.positive_label, 0: model.negative_label}


def _print(story: Story) -> None:
    facts: dict[str, object] = {
        "row": story.answer["rowId"],
        "prediction": story.prediction,
    }
    if "predictionThreshold" in story.answer:
        facts["threshold"] = story.answer["predictionThreshold"]
    if story.rules:
        # One of them may be why the prediction is another than the values say.
        facts["humility"] = ", ".join(story.rules)
    print_facts(facts)
    # Apart, because a class may have any name.
    print_facts(story.values, "Predicted values")
    title = f"{story.algorithm.upper()}, {story.space}"
    if story.sums is None:
        print_facts({}, title)
    else:
        base, remaining = story.sums
        sums = {"base": base, "remaining": remaining, "total": round(story.total, 10)}
        print_facts(sums, title)
    click.echo()
    head = ["FEATURE", "VALUE", "STRENGTH", "SIGN"]
    keys = ("feature", "featureValue", "strength", "qualitativeStrength")
    width = len(head) if story.sums is None else len(head) - 1
    print_table(
        head[:width], ([item[key] for key in keys[:width]] for item in story.items)
    )
