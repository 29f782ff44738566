"""What a graph answers, as the bytes of an answer."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from backends.features import DataError
from backends.tensors import npy

Outputs = Mapping[str, NDArray[Any]]


def as_json(outputs: Outputs) -> bytes:
    """An object of nested lists, the rows outermost, by the outputs' names.

    Numbers are in the shortest form of their own type.
    """
    content = {
        name: values.tolist()
        if values.dtype == object
        else np.ascontiguousarray(values)
        for name, values in outputs.items()
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def as_npy(outputs: Outputs) -> bytes:
    """The .npy file of the only output. Raises DataError for texts."""
    (values,) = outputs.values()
    return npy.write(_numeric(values))


def as_npz(outputs: Outputs) -> bytes:
    """The .npz file of all outputs by name, the same bytes for the same numbers.

    Raises DataError for texts.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, values in outputs.items():
            # Without a time of its own a member would have this moment's.
            member = zipfile.ZipInfo(f"{name}.npy")
            archive.writestr(member, npy.write(_numeric(values)))
    return file.getvalue()


def _numeric(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == object:
        raise DataError("the model answers texts, which no array file holds: send JSON")
    return np.ascontiguousarray(values)
