"""The parts of a file that are left to be scored, for the model that scores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from app.batch.cutting import Part, cut_parts, whole
from app.batch.job import Task, answers, opened, unlimited
from app.batch.series import GROUP_BYTES, SeriesWanted, Shelf, cut_series
from app.errors import NoDataToPredict
from backends.timeseries.refusals import NoValidOutputRows


def parts_left(
    file: IO[bytes],
    task: Task,
    shelf: Shelf,
    *,
    start: int | None = None,
    number: int = 0,
    first_row: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Part]:
    """Cut the records from `start` on; see `cut_parts`.

    Rows of a time series are nothing without the others: they come in one part, and
    large files in groups of series, for which see `cut_series`.
    shelf: where the groups are to be.

    Raises NoDataToPredict or NoValidOutputRows if there is no row, BodyUnreadable, what
    `opened` raises, and of large files of time series what `cut_series` does.
    """
    if opened(task.model, task.files).model.time_series is None:
        yield from cut_parts(
            file, task.head, start=start, number=number, first_row=first_row
        )
        return
    try:
        if file.seek(0, 2) - task.head.end <= GROUP_BYTES:
            yield from [whole(file, task.head)][number:]
            return
        yield from cut_series(
            file,
            task.head,
            _series_wanted(task),
            shelf,
            number=number,
            group_bytes=GROUP_BYTES,
            check=check,
        )
    except NoDataToPredict:
        raise NoValidOutputRows from None


def _series_wanted(task: Task) -> SeriesWanted:
    # What it brings is imported where there are time series.
    from app.timeseries.answering import Forecasting

    answering = answers(task, opened(task.model, task.files))
    assert isinstance(answering, Forecasting)
    return SeriesWanted(
        answering.backend.decoder,
        answering.rows_wanted(unlimited()).wanted(),
        answering.asked,
        task.settings.allow_partial_history,
    )
