"""What can be wrong with the rows of a forecast request, in the documents' words.

Source: "Time series predictions for deployments", errors list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backends.model import Label
from backends.timeseries.spec import Spec

_SHOWN = 40


class ForecastRefused(Exception):
    """The rows cannot be forecast from as they are; the message is the client's."""


class MissingColumns(ForecastRefused):
    """Columns that the deployment needs are not in the data."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Missing column(s): {', '.join(names)}")


class NoValidOutputRows(ForecastRefused):
    """There is no history at all."""

    def __init__(self) -> None:
        super().__init__("No valid output rows")


class NoRowsToPredict(ForecastRefused):
    """No row lies in the forecast window.

    point, first, last: as the deployment's format prints them.
    """

    def __init__(self, point: str, first: str, last: str) -> None:
        super().__init__(
            f"Based on the forecast point ({point}), there are no rows to predict that"
            f" fall inside of the forecast window ({first} to {last}). Try adjusting"
            " the forecast point to an earlier date or appending new future rows to"
            " the data."
        )


class HistoryTooShort(ForecastRefused):
    """A series has not the steps, or not the targets, that predictions need."""

    def __init__(self, spec: Spec) -> None:
        unit = "ROW" if spec.is_row_based else spec.time_unit
        steps = spec.history * (1 if spec.is_row_based else spec.time_step)
        super().__init__(
            "The following errors are found:\n • The prediction data must contain"
            f" historical values spanning more than {steps} {unit.lower()}(s) into the"
            " past. In addition, the target cannot have missing values or missing rows"
            " which are used for differencing"
        )


class UnmatchedDate(ForecastRefused):
    """A timestamp that is not of the deployment's format.

    example: a timestamp that is.
    """

    def __init__(self, spec: Spec, value: str, example: str) -> None:
        super().__init__(
            f'The "{spec.datetime_column}" feature contains the value'
            f" '{shortened(value)}', which does not match the original format"
            f" {spec.datetime_format} (e.g., '{example}'). To upload this data, first"
            " correct the format in your prediction dataset and then try the import"
            " again. Because some software automatically converts the format for"
            " display, it is best to check the actual format using a text editor."
        )


class MissingCells(ForecastRefused):
    """A row without a timestamp or a series id."""

    def __init__(self, column: str, row: int) -> None:
        super().__init__(
            f'The "{column}" feature contains missing values (first at row {row}).'
        )


class DuplicateTimestamp(ForecastRefused):
    """Two rows of a series at one step."""

    def __init__(self, value: Any, row: int, series: Any) -> None:
        where = "" if series is None else f' in series "{shortened(series)}"'
        super().__init__(f"Duplicate timestamp {shortened(value)} (row {row}){where}.")


class IrregularTimestamp(ForecastRefused):
    """A timestamp between two steps."""

    def __init__(self, spec: Spec, row: int, value: Any) -> None:
        super().__init__(
            f'The "{spec.datetime_column}" feature is not regularly spaced: row {row}'
            f" ({shortened(value)}) is not a multiple of {spec.time_step}"
            f" {spec.time_unit.lower()}(s) from the first row."
        )


class NotNumeric(ForecastRefused):
    """A target that is no number, and not missing."""

    def __init__(self, column: str, value: Any, row: int) -> None:
        super().__init__(
            f'The "{column}" feature contains the value {_quoted(value)} (row {row}),'
            " which is not numeric."
        )


class NotAClass(ForecastRefused):
    """A target that is none of the classes, and not missing."""

    def __init__(
        self, column: str, value: Any, row: int, classes: Sequence[Label]
    ) -> None:
        listed = ", ".join(map(repr, classes[:10]))
        more = "" if len(classes) <= 10 else f" and {len(classes) - 10} more"
        super().__init__(
            f'The "{column}" feature contains the value {_quoted(value)} (row {row}),'
            f" which is none of the classes {listed}{more}."
        )


class WithoutLogarithm(ForecastRefused):
    """A target whose logarithm the model cannot have been trained on."""

    def __init__(self, column: str, value: float, row: int) -> None:
        super().__init__(
            f'The "{column}" feature contains the value {value} (row {row}), whose'
            " logarithm the model takes: a number above -1 is expected."
        )


class KnownInAdvanceMissing(ForecastRefused):
    """Predicted rows lack what is known in advance."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            "The following known in advance features have missing values in the"
            f" forecast window: {', '.join(names)}. Provide the values, or pass"
            " relaxKnownInAdvanceFeaturesCheck=true."
        )


class ForecastTooLarge(Exception):
    """More would have to be held, or answered, than one request may ask for."""


def shortened(value: Any) -> str:
    """A cell as messages show it."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _quoted(value: Any) -> str:
    if isinstance(value, dict | list):
        return "of an array or object"
    return f"'{shortened(value)}'" if isinstance(value, str) else shortened(value)
