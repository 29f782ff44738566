"""The parts of a file that are left to be scored, for the model that scores them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from app.batch.cutting import Part, cut_parts, whole
from app.batch.job import Task, opened
from app.errors import NoDataToPredict
from backends.timeseries.refusals import NoValidOutputRows


def parts_left(
    file: IO[bytes],
    task: Task,
    *,
    start: int | None = None,
    number: int = 0,
    first_row: int = 0,
) -> Iterator[Part]:
    """Cut the records from `start` on; see `cut_parts`.

    Rows of time series are nothing without the others: they are one part.
    Raises NoDataToPredict or NoValidOutputRows if there is no row, BodyUnreadable, and
    what `opened` raises.
    """
    if opened(task.model, task.files).model.time_series is None:
        yield from cut_parts(
            file, task.head, start=start, number=number, first_row=first_row
        )
    elif number == 0:
        try:
            part = whole(file, task.head)
        except NoDataToPredict:
            raise NoValidOutputRows from None
        yield part
