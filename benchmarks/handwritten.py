"""The server that one writes by hand: Flask, pandas, Booster.predict, jsonify.

Written with care: the model loads once, pandas parses straight into the final types,
categories are the model's own, OpenMP is kept to one thread by the environment.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from flask import Flask, Response, jsonify, request
from numpy.typing import NDArray

from benchmarks.specimens.base import TARGET

application = Flask(__name__, static_folder=None)

_FOLDER = Path(os.environ["BENCH_MODELS"])
_BOOSTERS = {
    path.parent.name: lgb.Booster(model_file=path)
    for path in _FOLDER.glob("*/model.txt")
    if path.with_name("data.parquet").exists()
}
# What the model was trained on: the types of its columns, categories and all.
_FRAMES = {name: pd.read_parquet(_FOLDER / name / "data.parquet") for name in _BOOSTERS}
_TYPES: dict[str, dict[str, Any]] = {
    name: {str(column): dtype for column, dtype in frame.dtypes.items()}
    for name, frame in _FRAMES.items()
}
_BINARY = {
    name for name, types in _TYPES.items() if types.pop(TARGET) == np.dtype("int64")
}


@application.post("/<name>")
def predict(name: str) -> Response:
    """Score CSV or JSON records; answer in JSON, or in CSV if that is accepted."""
    values = np.asarray(_BOOSTERS[name].predict(_frame(_TYPES[name])))
    is_binary = name in _BINARY
    if request.headers.get("Accept") == "text/csv":
        return _csv(values, is_binary=is_binary)
    rows = map(_binary_row if is_binary else _regression_row, *_numbered(values))
    return jsonify(data=list(rows))


def _frame(types: dict[str, Any]) -> pd.DataFrame:
    if request.mimetype == "text/csv":
        frame = pd.read_csv(request.stream, usecols=list(types), dtype=types)
        return frame[list(types)]
    records = request.get_json()
    return pd.DataFrame.from_records(records, columns=list(types)).astype(types)


def _numbered(values: NDArray[np.float64]) -> tuple[range, list[float]]:
    return range(len(values)), values.tolist()


def _binary_row(row: int, value: float) -> dict[str, Any]:
    return {
        "predictionValues": [
            {"value": value, "label": 1},
            {"value": 1.0 - value, "label": 0},
        ],
        "predictionThreshold": 0.5,
        "prediction": 1 if value > 0.5 else 0,
        "rowId": row,
    }


def _regression_row(row: int, value: float) -> dict[str, Any]:
    return {
        "predictionValues": [{"value": value, "label": TARGET}],
        "prediction": value,
        "rowId": row,
    }


def _csv(values: NDArray[np.float64], *, is_binary: bool) -> Response:
    columns: dict[str, Any] = {f"{TARGET}_PREDICTION": values}
    if is_binary:
        columns = {
            f"{TARGET}_1_PREDICTION": values,
            f"{TARGET}_0_PREDICTION": 1.0 - values,
            f"{TARGET}_PREDICTION": (values > 0.5).astype(int),
            "THRESHOLD": 0.5,
            "POSITIVE_CLASS": 1,
        }
    out = io.StringIO()
    pd.DataFrame(columns).to_csv(out, index=False)
    return Response(out.getvalue(), content_type="text/csv; charset=utf-8")
