"""Real rows for a bundle, and what their author expects of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.rows.closeness import allowed, first_beyond
from backends import strict_json
from backends.features import DataError
from backends.strict_json import Value
from backends.tensors import images, numbers
from backends.tensors.sent import read_data_url
from backends.tensors.spec import Field, Picture, TensorSpec

Array = NDArray[Any]

# Relative, and absolute for each unit of the largest number: what is expected may come
# from the library that trained the model, and be rounded.
_TOLERANCE = (1e-4, 1e-4)
# Levels of 255 by which pictures may differ; JPEG changes pictures.
_PNG_LEVELS = 1
_JPEG_LEVELS = 12
_MOST_ROWS = 1000
_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows as clients send them.

    answers: what is expected of each, as clients get it; None if that is not said.
    """

    rows: Sequence[dict[str, Any]]
    answers: Sequence[Value] | None

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read a file with "rows" and perhaps "answers". Raises SpecError."""
        members = strict_json.read(path).members(("rows",), ("answers",))
        rows = members["rows"].items(_MOST_ROWS)
        if not rows:
            members["rows"].refuse("one at least is needed")
        for row in rows:
            row.table()
        answers = None
        if "answers" in members:
            answers = members["answers"].members(("rows",))["rows"].items()
            if len(answers) != len(rows):
                members["answers"].refuse(
                    f"{len(rows)} rows are expected, not {len(answers)}"
                )
        return cls([dict(row.data) for row in rows], answers)


def check_answer(spec: TensorSpec, expected: Value, found: Mapping[str, Array]) -> None:
    """Raise SpecError for an output that is another than is expected.

    expected: a row of the answer; what it leaves out is not looked at.
    found: by name, the numbers or texts of the row, flat.
    """
    members = expected.members((), [field.name for field in spec.outputs])
    for field in spec.outputs:
        if field.name in members:
            _check(field, members[field.name], found[field.name])


def _check(field: Field, expected: Value, found: Array) -> None:
    if field.type == "text":
        if expected.data != found.item():
            expected.refuse(f"the model answers {strict_json.shown(found.item())}")
    elif field.picture is not None:
        _check_picture(field.picture, expected, found)
    else:
        wanted = _wanted(field, expected)
        if wanted.size != found.size:
            expected.refuse(f"the model answers {found.size} numbers")
        tolerances = allowed(wanted, str(found.dtype), _TOLERANCE)
        _check_close(expected, found, wanted, tolerances)


def _check_close(value: Value, found: Array, wanted: Array, tolerances: Array) -> None:
    first = first_beyond(found, wanted, tolerances)
    if first is not None:
        value.refuse(
            f"the model answers {found[first]}, where {wanted[first]} is expected"
        )


def _wanted(field: Field, expected: Value) -> NDArray[np.float64]:
    if field.type == "categorical":
        scores = expected.members(field.labels)
        return np.array([scores[label].number() for label in field.labels])
    try:
        wanted = numbers.read_array(expected.data, field.shape, "float64")
    except DataError as error:
        expected.refuse(str(error))
    return np.asarray(wanted.reshape(-1), np.float64)


def _levels(data: bytes, picture: Picture) -> NDArray[np.float64]:
    return images.decode(images.checked(data, _NO_LIMIT), picture).reshape(-1)


def _check_picture(picture: Picture, expected: Value, found: Array) -> None:
    try:
        media_type, data = read_data_url(expected.text())
        wanted = _levels(data, picture)
    except DataError as error:
        expected.refuse(str(error))
    file = images.encode(found.reshape(picture.axes), picture)
    answered = _levels(file, picture)
    is_jpeg = "image/jpeg" in (media_type, images.media_type(picture))
    levels = _JPEG_LEVELS if is_jpeg else _PNG_LEVELS
    unit = abs(picture.high - picture.low) / 255 / min(picture.std)
    tolerances = np.full(wanted.shape, (levels + 0.5) * unit)
    _check_close(expected, answered, wanted, tolerances)
