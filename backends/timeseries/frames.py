"""Training data in pandas: derived frames, and other people's features against ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from backends.timeseries.dates import DateFormat
from backends.timeseries.forecasting import grid_of
from backends.timeseries.refusals import MissingColumns, UnmatchedDate
from backends.timeseries.training import panel_of_table, training_rows

if TYPE_CHECKING:
    from backends.timeseries.spec import Spec

_DISTANCE = "forecastDistance"


class NothingToCompare(ValueError):
    """Features are of no row that is derived."""


def training_frame(
    frame: pd.DataFrame, spec: Spec
) -> tuple[pd.DataFrame, NDArray[np.float64], pd.DataFrame]:
    """Derive what a model of the spec is trained on.

    frame: a row for each series and step, in any order. Timestamps are texts of the
        spec's format, or pandas' own; the target is missing where it is not known.

    Returns the features (n, features) in the model's order, float64: categories as
    their positions; the target (n,) with its transforms, or the positions of its
    classes; and of each row `series`, `rowId` (its place in the frame), `timestamp`,
    `forecastPoint` and `forecastDistance`.

    Raises ForecastRefused and DataError for rows that a request could not have either.
    """
    panel = panel_of_table(table_of(frame, spec), spec)
    found = training_rows(panel)
    pairs = found.pairs
    grid = grid_of(panel, pairs)
    labels = np.array(panel.labels, dtype=object)
    meta = pd.DataFrame(
        {
            "series": labels[pairs.series],
            "rowId": pairs.rows,
            "timestamp": panel.times[pairs.rows],
            "forecastPoint": panel.times_at(grid, pairs.series, pairs.origins),
            _DISTANCE: pairs.distances,
        }
    )
    names = spec.names
    # With a model for each distance, the distance is no feature of theirs.
    features = pd.DataFrame(found.matrix[:, : len(names)], columns=names)
    return features, found.y, meta


def compare(spec: Spec, frame: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Hold features that were made otherwise against those that serving will derive.

    frame: as for `training_frame`.
    own: the features by their names in the spec, and what says which row each is of:
        the timestamp and, if there are any, the series id in the columns that the spec
        names, and `forecastDistance` where several distances are predicted.

    Returns a row for each feature: `rows` that both have, how many are `different` in
    any bit, `largest` absolute difference, how many are `missing` in one only, and how
    many rows of own have no partner, `unmatched`.
    Raises MissingColumns for what own lacks, NothingToCompare if no row has a partner.
    """
    features, _, meta = training_frame(frame, spec)
    keys = _keys(spec, own)
    wanted = [*keys, *spec.names]
    if missing := [name for name in wanted if name not in own.columns]:
        raise MissingColumns(missing)
    ours = pd.DataFrame({name: meta[place] for name, place in keys.items()})
    theirs = own[wanted].copy()
    theirs[spec.datetime_column] = _times(own[spec.datetime_column], spec)
    if spec.series_id_column is not None:
        for each in (ours, theirs):
            each[spec.series_id_column] = each[spec.series_id_column].map(_id_text)
    ours["ours"] = np.arange(len(ours))
    theirs["theirs"] = np.arange(len(theirs))
    both = ours.merge(theirs[[*keys, "theirs"]], on=list(keys))
    if both.empty:
        raise NothingToCompare(
            f"None of the {len(theirs)} rows is one of the {len(ours)} derived ones:"
            f" {', '.join(keys)} say which are the same"
        )
    left = features.to_numpy()[both["ours"]]
    right = own[spec.names].to_numpy(np.float64)[both["theirs"]]
    one_only = np.isnan(left) != np.isnan(right)
    apart = np.abs(np.where(np.isnan(left) | np.isnan(right), 0.0, left - right))
    return pd.DataFrame(
        {
            "feature": spec.names,
            "rows": len(both),
            "different": (apart > 0).sum(axis=0) + one_only.sum(axis=0),
            "largest": apart.max(axis=0, initial=0.0),
            "missing": one_only.sum(axis=0),
            "unmatched": len(theirs) - both["theirs"].nunique(),
        }
    )


def _id_text(value: Any) -> str:
    """A series id as text; pandas makes whole numbers floats beside missing ones."""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def _keys(spec: Spec, own: pd.DataFrame) -> dict[str, str]:
    """The columns that tell rows apart, and what our own frame calls them."""
    keys = {spec.datetime_column: "timestamp"}
    if spec.series_id_column is not None:
        keys[spec.series_id_column] = "series"
    window = spec.forecast_window
    if _DISTANCE in own.columns or (
        spec.strategy == "direct" and window.start != window.end
    ):
        keys[_DISTANCE] = _DISTANCE
    return keys


def _times(column: pd.Series[Any], spec: Spec) -> pd.Series[Any]:
    if pd.api.types.is_datetime64_any_dtype(column):
        # Without a zone, as they are read.
        texts = _date_texts(column, spec).fillna("").tolist()
        times = DateFormat(spec.datetime_format).parse(texts)
        return pd.Series(times, index=column.index)
    column = pd.to_datetime(column.astype(str), format=spec.datetime_format)
    return pd.Series(column.astype("datetime64[us]"))


def table_of(frame: pd.DataFrame, spec: Spec) -> pa.Table:
    """The columns that the spec names, as a file would bring them."""
    beside = (spec.datetime_column, spec.series_id_column)
    names = [name for name in (*beside, *spec.columns) if name in frame.columns]
    return pa.table({name: _array(frame[name], spec) for name in names})


def _array(column: pd.Series[Any], spec: Spec) -> pa.Array:
    if pd.api.types.is_datetime64_any_dtype(column):
        return pa.array(_date_texts(column, spec), pa.string())
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Numbers and texts side by side.
        missing = column.isna()
        texts = column.map(str).where(~missing, None)
        return pa.array(texts.tolist(), pa.string())


def _date_texts(column: pd.Series[Any], spec: Spec) -> pd.Series[Any]:
    """Timestamps as the spec's format prints them.

    Raises UnmatchedDate for one that would be read as another.
    """
    texts: pd.Series[Any] = column.dt.strftime(spec.datetime_format)
    printed, given = texts[column.notna()], column[column.notna()]
    read = DateFormat(spec.datetime_format).parse(printed.tolist())
    # A format may or may not print the zone.
    local = given.dt.tz_localize(None).to_numpy("datetime64[us]")
    utc = pd.to_datetime(given, utc=True).dt.tz_localize(None)
    same = (read == local) | (read == utc.to_numpy("datetime64[us]"))
    if not same.all():
        wrong = int(same.argmin())
        raise UnmatchedDate(spec, str(given.iloc[wrong]), printed.iloc[wrong])
    return texts
