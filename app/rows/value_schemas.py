"""JSON Schemas of the values that rows bring and are answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from app.prediction_columns import label_text
from app.rows.description import Described
from backends.model import Feature, Label

Schema = dict[str, Any]

_NPY: Final = "^data:application/x\\.peltarion\\.npy;base64,"
_PICTURE: Final = "^data:image/[a-z.+-]+;base64,"
# Whole numbers that a float of 64 bits tells apart.
_LARGEST_WHOLE: Final = 2**53


def column_schema(feature: Feature, *, refuse_unknown: bool) -> Schema:
    """What a row may have in a column.

    refuse_unknown: the deployment refuses levels that training did not have.
    """
    refuses = feature.missing == "error"
    if feature.kind == "numeric":
        return _or_null(_number(feature), not refuses)
    if feature.kind == "text":
        return _or_null({"type": "string", "minLength": int(refuses)}, not refuses)
    levels = feature.categories or ()
    if refuse_unknown or refuses:
        return {"enum": [*_spellings(levels), *([] if refuses else [None])]}
    types = ["string"] if _are_texts(levels) else ["string", "number", "boolean"]
    return {"type": [*types, "null"], "examples": list(levels[:3])}


def _number(feature: Feature) -> Schema:
    if feature.dtype != "int64":
        return {"type": "number"}
    return {
        "type": "integer",
        "minimum": -_LARGEST_WHOLE,
        "maximum": _LARGEST_WHOLE,
    }


def _or_null(schema: Schema, is_nullable: bool) -> Schema:
    return {**schema, "type": [schema["type"], "null"]} if is_nullable else schema


def _spellings(levels: Sequence[Label]) -> list[Label]:
    """The levels, numbers and truth values as texts too: clients may send no others."""
    texts = [label_text(each) for each in levels if not isinstance(each, str)]
    return [*levels, *(text for text in texts if text not in levels)]


def _are_texts(levels: Sequence[Label]) -> bool:
    return any(isinstance(each, str) for each in levels)


def input_schema(value: Described) -> Schema:
    """What a row may have for an input of a graph."""
    if value.type == "image":
        return {"type": "string", "pattern": _PICTURE, "description": "A data URL."}
    if value.type == "binary":
        return _sent_number("bool")
    if value.type == "categorical" and value.labels:
        return {"type": "string", "enum": list(value.labels)}
    if value.type != "numeric":
        return {"type": "string"}
    number = _sent_number(value.dtype)
    if value.shape == (1,):
        return number
    shape = value.shape
    return {"anyOf": [_nested(shape, number), _flat(shape, number), _npy_url()]}


def output_schema(value: Described, *, tensor_json: bool) -> Schema:
    """What a row is answered for an output.

    tensor_json: the deployment answers arrays as shape and data.
    """
    if value.type == "categorical":
        return _scores(value.labels)
    if value.type == "image":
        return {"type": "string", "pattern": _PICTURE, "description": "A data URL."}
    single = {"type": "string" if value.type == "text" else _json_type(value.dtype)}
    if value.shape == (1,):
        return single
    return _flat(value.shape, single) if tensor_json else _npy_url()


def form_schema(value: Described) -> Schema:
    """What a form's field may have: its text, or a file."""
    if value.type == "image":
        # A file needs no schema: its encoding tells what it is.
        return {"description": "A file, or a data URL."}
    if value.shape != (1,):
        return {
            "type": "string",
            "description": "JSON as in rows, a data URL, or a file in the .npy form.",
        }
    if value.type == "numeric":
        return _sent_number(value.dtype)
    if value.type == "binary":
        return {"type": "boolean"}
    return {"type": "string"}


def _scores(labels: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "description": "Each class with its score.",
        **exactly({label: {"type": "number"} for label in labels}),
    }


def exactly(values: dict[str, Schema]) -> Schema:
    """The keywords of an object that has these values and no others."""
    return {**named(values), "additionalProperties": False}


def named(values: dict[str, Schema]) -> Schema:
    """The keywords of an object that has these values, whatever their names are."""
    return {"required": list(values), "properties": values}


def _sent_number(dtype: str) -> Schema:
    """A number that an input takes."""
    if dtype == "bool":
        # The bounds are those of the numbers.
        return {"type": ["boolean", "integer"], "minimum": 0, "maximum": 1}
    if _json_type(dtype) == "number":
        return {"type": "number"}
    bounds = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(bounds.min), "maximum": int(bounds.max)}


def _json_type(dtype: str) -> str:
    """What numbers of a type are in JSON; booleans are answered as 1 and 0."""
    return "number" if np.dtype(dtype).kind == "f" else "integer"


def _nested(shape: Sequence[int | None], schema: Schema) -> Schema:
    """Arrays in arrays, as deep as the shape is long. schema: of what they hold."""
    for size in reversed(shape):
        schema = {"type": "array", "items": schema, **_of_size(size)}
    return schema


def _flat(shape: Sequence[int | None], schema: Schema) -> Schema:
    """The shape, and all values with the last axis running fastest.

    schema: of each.
    """
    sizes = [
        {"type": "integer", "minimum": 1} if size is None else {"const": size}
        for size in shape
    ]
    total = None if None in shape else math.prod(size or 1 for size in shape)
    return {
        "type": "object",
        **exactly(
            {
                "shape": {
                    "type": "array",
                    "prefixItems": sizes,
                    "items": False,
                    **_of_size(len(sizes)),
                },
                "data": {
                    "type": "array",
                    "items": schema,
                    **_of_size(total),
                },
            }
        ),
    }


def _of_size(size: int | None) -> Schema:
    return {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}


def _npy_url() -> Schema:
    return {
        "type": "string",
        "pattern": _NPY,
        "description": "A data URL of a file in numpy's .npy form.",
    }
