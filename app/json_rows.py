"""The texts that JSON rows fill in: keys in the order of the documented samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import orjson

from backends.model import Task

Cells = TypeVar("Cells")

# Each in two steps: %b is what all rows share, %%b what is each row's own.
_VALUE = b'{"value":%%b,"label":%b}'
_BINARY_ROW = (
    b'{"predictionValues":[%b],"predictionThreshold":%b,"prediction":%%b,"rowId":%%b'
)
_ROW = b'{"predictionValues":[%b],"prediction":%%b,"rowId":%%b'
# The documented sample with a warning has the keys in another order.
_FLAGGED_ROW = (
    b'{"predictionValues":[%b],"isOutlierPrediction":%%b,"rowId":%%b,"prediction":%%b'
)
# And that of SHAP in an order of its own, its explanations in the middle.
_SHAP_START = b'"prediction":%%b,"predictionExplanations":%%b,"rowId":%%b'
_SHAP_VALUES = b',"predictionValues":[%b]'
_ADJUSTED = b',"adjustedPrediction":%%b,"adjustedPredictionValues":[%b]}'
_SHAP_END = b',"shapExplanationsMetadata":%%b'


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """A row's text before and behind what is passed through.

    start, end: each takes cells of a row.
    order: of a row's cells, prediction values first, in `start`.
    """

    start: bytes
    end: bytes
    order: Sequence[int] = ()

    def ordered(self, cells: Sequence[Cells]) -> Sequence[Cells]:
        """The cells as `start` takes them."""
        return [cells[position] for position in self.order] if self.order else cells


# A deployment's rows look alike in nearly all of its requests. 1 is not 1.0 here.
@lru_cache(maxsize=256, typed=True)
def plain_rows(
    task: Task,
    labels: tuple[bytes, ...],
    threshold: float,
    with_outliers: bool,
    approval: str | None,
    with_humility: bool,
    explanations_key: str | None,
) -> RowTemplate:
    """Rows that tell explanations, if any, at their end.

    threshold: binary only.
    explanations_key: None if the rows tell none.

    start takes the values of `predictionValues`, then `prediction` and `rowId`; with
    outlier flags the flag, `rowId` and `prediction`. end takes the explanations.
    """
    values = b",".join(_VALUE % constant(label) for label in labels)
    if task == "binary":
        start = _BINARY_ROW % (values, orjson.dumps(threshold))
    elif task == "regression" and with_outliers:
        start = _FLAGGED_ROW % values
    else:
        start = _ROW % values
    end = b""
    if approval is not None:
        end += b"," + approval_status(approval)
    if explanations_key is not None:
        end += b"," + constant(orjson.dumps(explanations_key)) + b":%b"
    return RowTemplate(start, end + (b"%b}" if with_humility else b"}"))


def shap_rows(
    task: Task,
    labels: tuple[bytes, ...],
    threshold: float,
    with_outliers: bool,
    approval: str | None,
    with_humility: bool,
) -> RowTemplate:
    """Rows of SHAP explanations.

    start takes, put in order, what `plain_rows` takes, then the explanations and
    their metadata.
    """
    values = b",".join(_VALUE % constant(label) for label in labels)
    start = b"{"
    if approval is not None:
        start += approval_status(approval) + b","
    start += _SHAP_START % () + _SHAP_VALUES % values
    if task == "binary":
        start += b',"predictionThreshold":' + orjson.dumps(threshold)
        order = [2, 4, 3, 0, 1, 5]
    elif with_outliers:
        start += b',"isOutlierPrediction":%b'
        order = [3, 4, 2, 0, 1, 5]
    else:
        order = [1, 3, 2, 0, 4]
    end = b"%b}" if with_humility else b"}"
    return RowTemplate(start + _SHAP_END % (), end, order)


def with_adjusted(template: RowTemplate, label: bytes) -> RowTemplate:
    """The same rows with two keys more at their end.

    end takes, behind what it took, `adjustedPrediction` and the value of
    `adjustedPredictionValues`.
    """
    end = template.end.removesuffix(b"}") + _ADJUSTED % (_VALUE % constant(label))
    return replace(template, end=end)


def passed_through(names: Collection[str]) -> bytes:
    """The key of the columns that are passed through, with a comma before it.

    Takes their cells; nothing if there are none.
    """
    if not names:
        return b""
    keys = [constant(orjson.dumps(name)) + b":%b" for name in names]
    return b',"passthroughValues":{' + b",".join(keys) + b"}"


def constant(text: bytes) -> bytes:
    """A text that a template holds as it is."""
    return text.replace(b"%", b"%%")


def approval_status(status: str) -> bytes:
    """The key of a deployment's approval status."""
    return b'"deploymentApprovalStatus":' + constant(orjson.dumps(status))
