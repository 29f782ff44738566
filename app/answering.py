"""What is done with rows for a deployment, whoever sends them: decode, score, write."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Literal, Protocol, TypeVar

from app.config import Config
from app.decode import Chunk, Wanted, read_csv, read_wanted
from app.encode import Answer, CsvWriter, JsonWriter
from app.explanation_request import Explained
from app.model_cache import ServedModel
from app.output_columns import ALL_COLUMNS, OutputColumns
from app.scoring import Rules, outlier_bounds, score
from app.store.settings import DeploymentSettings
from backends.humility import Humbled, Rule, fitting

Kind = Literal["json", "csv"]

WRITERS: Final[Mapping[Kind, type[JsonWriter | CsvWriter]]] = {
    "json": JsonWriter,
    "csv": CsvWriter,
}

# Explanations that are found and written at once: 50 MB at their most. A chunk may have
# a hundred times as many, where a row tells of many features and classes.
_ITEMS = 2**17


class Piece(Protocol):
    """Some rows of an answer."""

    @property
    def first_row(self) -> int:
        """The number of the first of them."""

    def __len__(self) -> int:
        """How many they are."""


Pieces = TypeVar("Pieces", bound=Piece)
Rows = TypeVar("Rows", JsonWriter, CsvWriter, JsonWriter | CsvWriter)


class Writer(Protocol):
    """What an answer looks like.

    head, foot: before the first row and behind the last one; separator: between rows
        that were written apart.
    """

    media_type: str
    head: bytes
    separator: bytes
    foot: bytes


@dataclass(frozen=True, slots=True)
class Answers(ABC, Generic[Pieces]):
    """A model with a deployment's settings and a request's wishes.

    threshold: binary; None for the model's own.
    passthrough: names of columns to copy into the answer, or "all".
    decimals: most digits after the point.
    prediction_warning: regression: flag predictions outside the bounds.
    count: is told what humility rules found.
    explained: how rows are explained, and what is told; None: not at all.
    adjusted: tell predictions divided by exposure as well, where there is one.
    columns: which columns of CSV are told.
    """

    served: ServedModel
    settings: DeploymentSettings
    threshold: float | None = None
    passthrough: tuple[str, ...] | Literal["all"] = ()
    decimals: int = 10
    prediction_warning: bool = False
    count: Callable[[tuple[Rule, ...], Humbled], None] | None = None
    explained: Explained | None = None
    adjusted: bool = False
    columns: OutputColumns = ALL_COLUMNS

    @abstractmethod
    def read(
        self, body: bytes, content_type: str | None, limits: Config
    ) -> Iterator[Pieces]:
        """Decode the body of a request into one piece or more."""

    @abstractmethod
    def read_file(self, data: bytes, limits: Config) -> Iterator[Pieces]:
        """Decode a CSV file."""

    @abstractmethod
    def begin(
        self, kind: Kind, first: Pieces
    ) -> tuple[Writer, Callable[[Pieces], bytes]]:
        """The writer for rows like those of the first piece, and what fills it.

        The function scores a piece and returns its rows as the writer writes them; it
        may be called from many threads.
        Raises OutputColumnsClash and OutputColumnsRefused.
        """

    @property
    def approval(self) -> str | None:
        """The approval status that rows carry; None if they do not."""
        settings = self.settings
        return settings.approval_status if settings.approval_workflow else None

    def most_rows(self) -> int:
        """How many rows are scored and written at once."""
        if self.explained is None:
            return sys.maxsize
        return max(1, _ITEMS // max(1, self.explained.told.items))

    def rules(self) -> Rules:
        """What the deployment and the request add to the model."""
        model, settings = self.served.model, self.settings
        bounds = None
        if self.prediction_warning and settings.prediction_warning:
            bounds = outlier_bounds(
                model,
                settings.prediction_warning_lower,
                settings.prediction_warning_upper,
            )
        threshold = model.threshold if self.threshold is None else self.threshold
        explaining = None if self.explained is None else self.explained.explaining
        rules = settings.active_rules
        if rules:
            rules = fitting(rules, model)
        return Rules(threshold, bounds, rules, explaining, self.count)


@dataclass(frozen=True, slots=True)
class Answering(Answers[Chunk]):
    """Rows that are predicted each by itself."""

    def read(
        self, body: bytes, content_type: str | None, limits: Config
    ) -> Iterator[Chunk]:
        """Decode the body of a request; see `read_rows`."""
        return read_wanted(body, content_type, self.wanted(limits))

    def read_file(self, data: bytes, limits: Config) -> Iterator[Chunk]:
        """Decode a CSV file; see `read_csv`."""
        return read_csv(data, self.wanted(limits))

    def begin(
        self, kind: Kind, first: Chunk
    ) -> tuple[Writer, Callable[[Chunk], bytes]]:
        """The writer for rows like those of the first chunk; see `Answers.begin`."""
        return self.filling(WRITERS[kind], tuple(first.passthrough))

    def filling(
        self, kind: type[Rows], passthrough: tuple[str, ...]
    ) -> tuple[Rows, Callable[[Chunk], bytes]]:
        """The same for rows with these passthrough columns."""
        settings, rules = self.settings, self.rules()
        writer = kind(
            Answer(
                self.served.model,
                threshold=rules.threshold,
                decimals=self.decimals,
                named_labels=settings.labels == "names",
                with_outliers=rules.outlier_bounds is not None,
                approval=self.approval,
                passthrough=passthrough,
                humility=rules.humility,
                told=None if self.explained is None else self.explained.told,
                adjusted=self.adjusted and self.served.model.exposure is not None,
                columns=self.columns,
            )
        )
        return writer, partial(_rows, self.served, rules, writer, self.most_rows())

    def wanted(self, limits: Config) -> Wanted:
        """What is wanted of each row, for a reader to take up."""
        settings = self.settings
        return Wanted(
            self.served.decoder,
            self.passthrough,
            settings.association_id,
            limits,
            refuse_unknown=settings.unknown_categories == "error",
            refuse_invalid=settings.invalid_numbers == "error",
            shown=() if self.explained is None else self.explained.shown,
            association_required=settings.association_required,
        )


def _rows(
    served: ServedModel,
    rules: Rules,
    writer: JsonWriter | CsvWriter,
    most: int,
    chunk: Chunk,
) -> bytes:
    written = []
    for part in chunk.parts(most):
        predictions = score(
            served.backend, part.columns, rules, first_row=part.first_row
        )
        written.append(writer.rows(predictions, part))
    return writer.separator.join(written)
