"""Which column of the training data is which feature of a LightGBM model.

The file lists the levels of each category column of the training frame, but not which
columns those were. Here the lists find their features, by what training noted of each
feature and by what the data holds; where two ways fit, none is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from backends.base import ModelFileRejected
from backends.features import Columns, Decoder
from backends.lightgbm_text import LightGBMFile
from backends.model import Feature, Label

Levels = tuple[Label, ...]

_RANGE = re.compile(r"\[(.+):(.+)\]")

# LightGBM leaves the rarest categories (1 % of the rows of its sample) out of what it
# notes; with more strangers than this the data is not what the model was trained on.
_STRANGERS = 0.1

_DATA_REMEDY = "package with the data that the model was trained on"
_FEATURES_REMEDY = "name the model's features in its order with --features a,b,c"
_CATEGORICAL_REMEDY = (
    "name the columns of category dtype, in the order of the training frame,"
    " with --categorical a,b,c"
)


def features_for(
    file: LightGBMFile,
    table: pa.Table,
    *,
    names: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
) -> tuple[Feature, ...]:
    """Say what each feature of the model is in the data that users send.

    table: the training data without the target: columns of strings, numbers or
        booleans.
    names: the columns that the model takes, in its order, where the file's own names
        are not the data's.
    categorical: the columns of category dtype, in the order of the training frame,
        where the data does not tell.

    Raises ModelFileRejected with the reason and the remedy.
    """
    columns = _data_columns(file.feature_names, table.column_names, names)
    evidence = [_Evidence(name, table[name]) for name in columns]
    levels = (
        _align(file, evidence)
        if categorical is None
        else _assign(file, evidence, categorical)
    )
    return tuple(
        Feature(each.name, "categorical", categories=levels[position])
        if position in levels
        else _numeric(file, position, each)
        for position, each in enumerate(evidence)
    )


def _data_columns(
    feature_names: Sequence[str], columns: Sequence[str], names: Sequence[str] | None
) -> list[str]:
    """The data's names of the features, in the model's order."""
    if names is not None:
        if len(names) != len(feature_names):
            raise ModelFileRejected(
                f"--features names {len(names)} columns, the model takes"
                f" {len(feature_names)}"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ModelFileRejected(f"--features names {_listed(twice)} twice")
        found = {name: name for name in names if name in columns}
        feature_names = names
    else:
        # LightGBM writes underscores for the blanks in a name.
        written: dict[str, list[str]] = {}
        for column in columns:
            written.setdefault(column.replace(" ", "_"), []).append(column)
        found = {name: each[0] for name, each in written.items() if len(each) == 1}
        found |= {column: column for column in columns}
    if missing := [name for name in feature_names if name not in found]:
        raise ModelFileRejected(
            f"The data has no column for the model's {_listed(missing)}; it has"
            f" {_listed(columns)}: {_FEATURES_REMEDY}"
        )
    return [found[name] for name in feature_names]


class _Evidence:
    """What a column of the training data holds: each distinct value once."""

    def __init__(self, name: str, column: pa.ChunkedArray) -> None:
        self.name = name
        counted = pc.value_counts(column.combine_chunks())
        values, counts = counted.field("values"), counted.field("counts")
        # NaN is not null, but missing all the same.
        present = pc.fill_null(pc.equal(values, values), False)
        self._values = values.filter(present)
        self._counts = counts.filter(present).to_numpy()

    def __len__(self) -> int:
        return len(self._values)

    def strangers(self, levels: Levels) -> int:
        """How many of the distinct values are none of these levels."""
        feature = Feature(self.name, "categorical", categories=levels)
        return self._decode(feature).unknown_categories

    @cached_property
    def text(self) -> str | None:
        """A value that is no number, if there is one."""
        if not self._numbers.invalid_numbers:
            return None
        unread = self._values.filter(pa.array(np.isnan(self._numbers.matrix[:, 0])))
        decoder = Decoder((Feature(self.name, "numeric"),))
        for value in unread:
            cell = pa.RecordBatch.from_pydict({self.name: [value.as_py()]})
            if decoder.from_batch(cell, refuse_invalid=False).invalid_numbers:
                return str(value)
        return None

    def strange_codes(self, known: Sequence[int]) -> float:
        """Share of the rows whose number is none of these codes, nor missing.

        1 if there are texts, fractions or negative numbers among them.
        """
        codes = self._numbers.matrix[:, 0]
        counts = self._counts[~np.isnan(codes)]
        codes = codes[~np.isnan(codes)]
        if self.text is not None or (codes < 0).any() or (codes % 1 != 0).any():
            return 1.0
        strange: NDArray[np.bool_] = ~np.isin(codes, known)
        return float(counts[strange].sum() / max(counts.sum(), 1))

    @cached_property
    def _numbers(self) -> Columns:
        return self._decode(Feature(self.name, "numeric"))

    def _decode(self, feature: Feature) -> Columns:
        batch = pa.RecordBatch.from_arrays([self._values], names=[self.name])
        return Decoder((feature,)).from_batch(batch, refuse_invalid=False)


def _align(file: LightGBMFile, evidence: Sequence[_Evidence]) -> dict[int, Levels]:
    """Give each list of levels to its feature.

    Lists and features stand in one order. First every feature that training took for
    categorical, and every column of text, must get a list; then those may go without
    that can hold codes as they are.
    """
    lists = file.pandas_categorical
    settled = [
        position
        for position, each in enumerate(evidence)
        if position in file.categorical or each.text is not None
    ]
    coded = {i for i in settled if not _strange_codes(file, i, evidence[i])}
    for needed in (set(settled), set(settled) - coded):
        ways, found = _placements(
            len(evidence),
            len(lists),
            needed,
            lambda i, k: (
                _codes_fit(file, i, lists[k]) and not evidence[i].strangers(lists[k])
            ),
        )
        if ways == 1:
            return {position: lists[k] for position, k in found.items()}
        if ways > 1:
            raise ModelFileRejected(
                "The model file lists the levels of its category columns without their"
                f" names, and more than one way fits the data: {_CATEGORICAL_REMEDY}"
            )
    # The data may hold levels that the model never saw; where the file itself leaves
    # but one way, they do not speak against it.
    if len(settled) == len(lists):
        return _checked(file, evidence, settled)
    raise _no_way(file, evidence, settled)


def _no_way(
    file: LightGBMFile, evidence: Sequence[_Evidence], settled: Sequence[int]
) -> ModelFileRejected:
    if not file.pandas_categorical:
        # The first that cannot do without levels says why.
        for position, each in enumerate(evidence):
            _numeric(file, position, each)
    names = [evidence[position].name for position in settled]
    return ModelFileRejected(
        f"The model file lists the levels of {len(file.pandas_categorical)} category"
        f" columns, but they do not fit the data's {_listed(names) or 'columns'}:"
        f" {_DATA_REMEDY}, or {_CATEGORICAL_REMEDY}"
    )


def _placements(
    features: int, lists: int, needed: set[int], fits: Callable[[int, int], bool]
) -> tuple[int, dict[int, int]]:
    """Count the ways to give each list to a feature, both in their order.

    needed: features that must get one. Returns the ways, 2 for two or more, and one
    of them as feature to list.
    """
    # ways[i][k]: the ways for the lists from k on and the features from i on.
    ways = [[0] * (lists + 1) for _ in range(features + 1)]
    ways[features][lists] = 1
    for i in range(features - 1, -1, -1):
        for k in range(lists + 1):
            skipped = 0 if i in needed else ways[i + 1][k]
            taken = ways[i + 1][k + 1] if k < lists else 0
            ways[i][k] = min(skipped + (taken if taken and fits(i, k) else 0), 2)
    if not ways[0][0]:
        return 0, {}
    found: dict[int, int] = {}
    for i in range(features):
        k = len(found)
        if i in needed or not ways[i + 1][k]:
            found[i] = k
    return ways[0][0], found


def _assign(
    file: LightGBMFile, evidence: Sequence[_Evidence], names: Sequence[str]
) -> dict[int, Levels]:
    """Give the lists of levels to the columns that the user named, in turn."""
    positions = {each.name: position for position, each in enumerate(evidence)}
    if len(names) != len(file.pandas_categorical):
        raise ModelFileRejected(
            f"--categorical names {len(names)} columns; the model file has the levels"
            f" of {len(file.pandas_categorical)}"
        )
    if unknown := [name for name in names if name not in positions]:
        raise ModelFileRejected(
            f"--categorical names {_listed(unknown)}, which the model does not take; it"
            f" takes {_listed(list(positions))}"
        )
    return _checked(file, evidence, [positions[name] for name in names])


def _checked(
    file: LightGBMFile, evidence: Sequence[_Evidence], positions: Sequence[int]
) -> dict[int, Levels]:
    """One list of levels for each position; each must share something with the data."""
    levels = dict(zip(positions, file.pandas_categorical, strict=True))
    for position, each in levels.items():
        column = evidence[position]
        if not _codes_fit(file, position, each) or (
            len(column) and column.strangers(each) == len(column)
        ):
            raise ModelFileRejected(
                f"Column {column.name!r} cannot be the category column with the levels"
                f" {_listed([str(level) for level in each])}: {_DATA_REMEDY}, or"
                f" {_CATEGORICAL_REMEDY}"
            )
    return levels


def _codes_fit(file: LightGBMFile, position: int, levels: Levels) -> bool:
    """Whether what training noted of a feature can be positions in these levels."""
    info = file.feature_infos[position]
    if info == "none":
        return True
    if found := _RANGE.fullmatch(info):
        low, high = float(found[1]), float(found[2])
        return low >= 0 and high < len(levels) and low % 1 == 0 and high % 1 == 0
    return max(map(int, info.split(":"))) < len(levels)


def _strange_codes(file: LightGBMFile, position: int, column: _Evidence) -> bool:
    """Whether a column cannot hold the codes that training noted."""
    info = file.feature_infos[position]
    if info == "none" or _RANGE.fullmatch(info):
        return column.text is not None
    known = [int(code) for code in info.split(":")]
    return column.strange_codes(known) > _STRANGERS


def _numeric(file: LightGBMFile, position: int, column: _Evidence) -> Feature:
    """A feature that the model takes as the number it is."""
    if column.text is not None:
        raise ModelFileRejected(
            f"Column {column.name!r} holds text ({_short(column.text)}), but the model"
            " file has no levels for it: train from a DataFrame whose text columns are"
            " of category dtype, or package with the data as the model got it"
        )
    if position not in file.categorical:
        return Feature(column.name, "numeric")
    if _strange_codes(file, position, column):
        raise ModelFileRejected(
            f"The model took {column.name!r} for categorical, but its file has no"
            " levels for it and the data does not hold its codes: train from a"
            " DataFrame whose column is of category dtype, or package with the data as"
            " the model got it"
        )
    # The model takes the codes as they are. It would cut off a fraction and score
    # another category.
    return Feature(column.name, "numeric", dtype="int64")


def _short(text: str | None) -> str:
    return repr(text if text is None or len(text) <= 40 else text[:37] + "...")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
