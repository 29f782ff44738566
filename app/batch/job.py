"""What is done with a part of a file: the one function that all runners share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, Final, Literal

import numpy as np

from app.answering import Answering, Answers, Kind
from app.batch.cutting import Head, Part
from app.batch.models import open_model
from app.batch.row_scorer import RowScorer
from app.batch.series import SeriesPart, read_numbers
from app.bulk import BulkPool
from app.config import Config
from app.errors import AppError, TakesTensors
from app.explanation_request import PREDICTIONS, read_request
from app.model_cache import ServedModel, load_served
from app.output_columns import ALL_COLUMNS, OutputColumns
from app.store.errors import StoreUnreachable, UnknownModel
from app.store.files import Files, open_files
from app.store.settings import DeploymentSettings
from app.timeseries.window import Asked
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.compiled import read as read_verdict
from backends.explanations.base import NotExplainable, NotInitialized
from backends.features import DataError
from backends.humility import Humbled, HumilityError, Rule
from backends.timeseries.refusals import ForecastRefused, ForecastTooLarge
from backends.trees.kernel_cache import prepare
from schemas.arguments import ExplanationArguments, InvalidArgument

# What is wrong with the rows, or with what is wanted of them: it is told, and trying
# again would not help.
REFUSALS: Final = (
    AppError,
    DataError,
    ForecastRefused,
    ForecastTooLarge,
    HumilityError,
    InvalidArgument,
    NotExplainable,
    NotInitialized,
)

# What is wrong with the model, or with where it is kept, and stays so.
FAULTS: Final = (BundleRejected, ModelFileRejected, TakesTensors, UnknownModel)

# A humility rule's id, the rows that it triggered for, and those it was held against.
Found = tuple[str, int, int]

# The limits bound what a request may cost others.
_UNLIMITED: Final = 2**53 - 1


class NotForecast(AppError):
    """What is said of forecasts is for time series models."""

    def __init__(self) -> None:
        super().__init__(
            "The model is no time series model: it has no forecast point, no range"
            " and nothing known in advance"
        )


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model, and where on this machine it is.

    folder: its bundle; None: to be fetched from the files that servers share.
    compiled: what its deployment made of it; None where there is no deployment.
    """

    model_id: str
    folder: Path | None = None
    compiled: Path | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of the rows, as the query string of a request says it.

    asked: which forecasts; None: nothing is said of them.
    """

    passthrough: tuple[str, ...] | Literal["all"] = ()
    decimals: int = 10
    prediction_warning: bool = False
    explanations: ExplanationArguments | None = None
    asked: Asked | None = None
    columns: OutputColumns = ALL_COLUMNS


@dataclass(frozen=True, slots=True)
class Task:
    """What all parts of a file have in common.

    files: the URL of the files that hold the input, at `input`.
    output: the folder for the parts of the output; None: they are handed back.
    keeps_bad_rows: rows that cannot be scored are told; else the first one ends all.
    """

    model: ModelPlace
    files: str = ""
    input: str = ""
    output: str | None = None
    head: Head = Head((), b"", 0)
    settings: DeploymentSettings = field(default_factory=DeploymentSettings)
    threshold: float | None = None
    wishes: Wishes = field(default_factory=Wishes)
    kind: Kind = "csv"
    keeps_bad_rows: bool = False

    def output_path(self, number: int) -> str:
        """Where a part of the output is to be."""
        return f"{self.output}/{number:09d}.csv"


@dataclass(frozen=True, slots=True)
class PartDone:
    """What came of a part.

    rows: in the output, those that could not be scored among them, which `failed`
        counts. skipped: rows of the input that are no rows of the output.
    size: bytes of the output. output: if it is handed back.
    first_failure: what is said of the first row that could not be scored.
    refused: why there is no output, and no other part need be tried. rule: the
        humility rule that refused, its name and id.
        is_fault: it is none of who sent the rows.
    humility: what rules found.
    """

    number: int
    rows: int = 0
    failed: int = 0
    skipped: int = 0
    size: int = 0
    output: bytes | None = None
    first_failure: str = ""
    refused: str | None = None
    rule: tuple[str, str] | None = None
    is_fault: bool = False
    humility: tuple[Found, ...] = ()


def score_part(task: Task, part: Part) -> PartDone:
    """Score some rows of a file; whoever does so again does the same again.

    The first part of the output begins with what comes before all rows; what comes
    between parts and behind the last one is for whoever joins them.
    Raises OSError, when trying again may help; what is wrong with the rows or with the
    model is told in the result.
    """
    try:
        served = opened(task.model, task.files)
    except StoreUnreachable as error:
        raise OSError(str(error)) from error
    except FAULTS as error:
        return PartDone(part.number, refused=sentence(error), is_fault=True)
    try:
        work = _score if served.model.time_series is None else _forecast
        return work(task, part, served, open_files(task.files))
    except REFUSALS as error:
        rule = None
        if isinstance(error, HumilityError):
            rule = error.rule.name, error.rule.id
        return PartDone(part.number, refused=sentence(error), rule=rule)


def sentence(error: Exception) -> str:
    """What is said of an error, in one line."""
    text = error.message if isinstance(error, InvalidArgument) else error
    if isinstance(text, dict):
        text = "; ".join(f"{name}: {each}" for name, each in text.items())
    return " ".join(str(text).split()) or type(error).__name__


def opened(place: ModelPlace, files: str) -> ServedModel:
    """A loaded model, which stays loaded for the next part.

    files: the URL of what servers share, or of the state folder. Raises UnknownModel,
    StoreUnreachable, BundleRejected, ModelFileRejected, TakesTensors and OSError.
    """
    if place.folder is None:
        home = Config.from_environment().home
        return open_model(files, place.model_id, home)
    return _loaded(place.folder, place.compiled)


@lru_cache(maxsize=2)
def _loaded(folder: Path, compiled: Path | None) -> ServedModel:
    if compiled is not None and read_verdict(compiled, "").has_trees:
        prepare(Config.from_environment().kernels)
    return load_served(folder, compiled)


def answers(
    task: Task,
    served: ServedModel,
    count: Callable[[tuple[Rule, ...], Humbled], None] | None = None,
) -> Answers[Any]:
    """What is done with the rows of the file; count: see `Answers`.

    Raises NotForecast, and what `read_request` raises.
    """
    wishes, settings = task.wishes, task.settings
    explained = read_request(served, settings, wishes.explanations, PREDICTIONS)
    common = (
        task.threshold,
        wishes.passthrough,
        wishes.decimals,
        wishes.prediction_warning,
        count,
        explained,
        False,
        wishes.columns,
    )
    if served.model.time_series is None:
        if wishes.asked is not None:
            raise NotForecast
        return Answering(served, settings, *common)
    # What it brings is imported where there are time series.
    from app.timeseries.answering import Forecasting

    return Forecasting(served, settings, *common, wishes.asked or Asked())


def unlimited() -> Config:
    """The settings, without the limits of requests."""
    return replace(
        Config.from_environment(),
        max_rows=_UNLIMITED,
        max_forecasts=_UNLIMITED,
        max_steps=_UNLIMITED,
    )


def _score(task: Task, part: Part, served: ServedModel, files: Files) -> PartDone:
    records = files.read(task.input, part.start, part.end)
    found: list[Found] = []
    answering = answers(task, served, partial(_count, found))
    assert isinstance(answering, Answering)
    scorer = RowScorer(answering, task.kind, task.head, unlimited(), found)
    if task.keeps_bad_rows:
        output = scorer.all_rows(records, part.first_row)
    else:
        output = scorer.good_rows(records, part.first_row)
    if part.number == 0:
        output = scorer.head + output
    done = PartDone(
        part.number,
        rows=part.rows,
        failed=scorer.failed,
        size=len(output),
        first_failure=scorer.first_failure,
        humility=_summed(found),
    )
    if task.output is None:
        return replace(done, output=output)
    files.write(task.output_path(part.number), output)
    return done


def _forecast(task: Task, part: Part, served: ServedModel, files: Files) -> PartDone:
    """Forecast from all rows of the part's series."""
    found: list[Found] = []
    answering = answers(task, served, partial(_count, found))
    chunks = _read(task, part, answering, files)
    first = next(chunks)
    writer, work = answering.begin(task.kind, first)
    rows = 0

    def pieces() -> Iterator[bytes]:
        nonlocal rows
        if part.number == 0:
            yield writer.head

        def counted(chunk: Any) -> tuple[bytes, int]:
            return work(chunk), len(chunk)

        pool = BulkPool(Config.from_environment().scoring_threads)
        filled = filter(len, chain([first], chunks))
        for piece, number in pool.map(counted, filled, TIMEOUT_MAX):
            yield writer.separator + piece if rows else piece
            rows += number

    if task.output is None:
        output = b"".join(pieces())
        size = len(output)
    else:
        output, size = None, 0
        with files.writer(task.output_path(part.number)) as file:
            for piece in pieces():
                file.write(piece)
                size += len(piece)
    return PartDone(
        part.number,
        rows=rows,
        skipped=part.rows - len(np.unique(first.plan.pairs.rows)),
        size=size,
        output=output,
        humility=_summed(found),
    )


def _read(
    task: Task, part: Part, answering: Answers[Any], files: Files
) -> Iterator[Any]:
    """What is to be forecast of a part: one chunk at least, maybe of nothing."""
    if not isinstance(part, SeriesPart):
        data = task.head.text + files.read(task.input, part.start, part.end)
        return answering.read_file(data, unlimited())
    # What it brings is imported where there are time series.
    from app.timeseries.answering import Forecasting

    assert isinstance(answering, Forecasting)
    shelf = open_files(part.files)
    data = task.head.text + shelf.read(part.records)
    numbers = read_numbers(part, shelf)
    return answering.read_series(data, part.whole, numbers, unlimited())


def _count(found: list[Found], rules: Sequence[Rule], humbled: Humbled) -> None:
    looked_at = humbled.triggered.shape[1]
    triggered = humbled.triggered.sum(axis=1).tolist()
    for rule, number in zip(rules, triggered, strict=True):
        found.append((rule.id, number, looked_at))


def _summed(found: list[Found]) -> tuple[Found, ...]:
    sums: dict[str, tuple[int, int]] = {}
    for rule, triggered, looked_at in found:
        one, other = sums.get(rule, (0, 0))
        sums[rule] = one + triggered, other + looked_at
    return tuple((rule, *each) for rule, each in sums.items())
