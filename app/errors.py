"""What can go wrong, and the one table from exception to HTTP status."""

from __future__ import annotations

from collections.abc import Sequence


class AppError(Exception):
    """Something a client did or met; the message is ready for the client."""


class BodyUnreadable(AppError):
    """The body is not what its type says, or cannot be told apart into rows."""


class NoDataToPredict(AppError):
    """The body holds no rows."""

    def __init__(self) -> None:
        super().__init__("No data to predict on")


class DuplicateColumns(AppError):
    """A column name stands twice in the data."""


class BodyTooLarge(AppError):
    """The body is over a limit: bytes, inflated bytes, rows or columns."""


class UnsupportedMediaType(AppError):
    """The body's type or encoding is none that is read here."""


class PassthroughColumnsMissing(AppError):
    """A column that the request wants passed through is not in the data."""


class DeadlineExceeded(AppError):
    """The request took longer than a request may."""


class PredictionNotFinite(AppError):
    """The model answered no finite number for a row."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}: the model's prediction is not a finite number")


class OutputColumnsClash(AppError):
    """A passthrough column has the name of an output column."""

    def __init__(self, names: Sequence[str]) -> None:
        listed = ", ".join(map(repr, names))
        super().__init__(
            f"'passthroughColumns': the answer itself has columns named {listed}"
        )
