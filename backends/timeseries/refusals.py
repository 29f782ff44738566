"""What can be wrong with the rows of a forecast request, in the documents' words."""

from __future__ import annotations


class ForecastRefused(Exception):
    """The rows cannot be forecast from as they are; the message is the client's."""


class MissingColumns(ForecastRefused):
    """Columns that the deployment needs are not in the data."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Missing column(s): {', '.join(names)}")


class ForecastTooLarge(Exception):
    """More would have to be held, or answered, than one request may ask for."""
