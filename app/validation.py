"""Checks a bundle: that it is whole, and that it answers what it answered before.

The exemplars are read. The golden rows go through the serving path in a child process,
as CSV and as JSON, together and one by one; the answers are held against those in the
bundle. So are forecasts from the golden samples of a time series model.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.config import Config
from app.decode import read_rows
from app.golden import Golden, as_csv, as_json
from backends import bundle, load, sandbox
from backends.base import Backend, ModelFileRejected
from backends.bundle import BundleRejected
from backends.explanations import exemplars
from backends.features import Columns, Decoder
from backends.model import Model

Floats = NDArray[np.float64]

# Relative, and absolute for each unit of the middle answer. LightGBM adds float64s in
# a fixed order: another build may round a transform's last digits differently, no
# more. Graphs compute in float32, whose sums depend on the width of the processor's
# vectors and on how many rows come together.
_TOLERANCE = {"lightgbm": (1e-12, 1e-15)}
_FLOAT32_TOLERANCE = (1e-5, 1e-6)


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What was compared.

    rows: golden rows, each sent as CSV and as JSON.
    forecasts: of golden samples, of a time series model.
    largest_difference: between an answer and the golden one, in the answers' unit.
    """

    model: Model
    rows: int
    forecasts: int
    largest_difference: float


def validate(folder: Path, config: Config) -> ValidationReport:
    """Check a bundle's files and its answers.

    Raises BundleRejected with the reason.
    """
    model = bundle.read(folder)
    try:
        rows, forecasts, difference = sandbox.run(
            "app.validation:replay",
            str(folder.resolve()),
            seconds=config.model_seconds,
            memory=config.model_memory,
        )
    except ModelFileRejected as error:
        raise BundleRejected(
            f"{model.name}: {error}{_other_versions(model)}"
        ) from error
    return ValidationReport(model, rows, forecasts, difference)


def _other_versions(model: Model) -> str:
    """What runs here and is not what the bundle was made with."""
    changed = [
        f"{name} {packaged} there and {version(name)} here"
        for name, packaged in model.versions.items()
        if packaged != version(name)
    ]
    return f" (made with {', '.join(changed)})" if changed else ""


def replay(folder: str) -> tuple[int, int, float]:
    """Read a bundle's exemplars, and score its golden rows in every way rows come.

    Golden samples of a time series model are answered as well.

    Returns the number of rows, that of the samples' forecasts, and the largest
    difference. Raises ValueError naming the row whose answer is another,
    BundleRejected, ModelFileRejected and DataError.
    """
    path = Path(folder)
    model = bundle.read(path)
    if model.task == "tensors":
        # What it brings is imported where there are such models.
        from app.rows import golden as tensor_rows

        rows, difference = tensor_rows.replay(path, model)
        return rows, 0, difference
    if model.task == "unstructured":
        # Likewise.
        from app.unstructured import golden as requests

        count, difference = requests.replay(path, model)
        return count, 0, difference
    golden = Golden.read(path)
    backend = load(path, model)
    exemplars.read(path, model.features)
    largest = 0.0
    for way, columns in ways(model, golden):
        for kind, expected, answered in (
            ("raw score", golden.raw, backend.raw_scores(columns)),
            ("prediction", golden.values, backend.predict(columns)),
        ):
            place = f"{kind} of the golden rows as {way}"
            largest = max(largest, measure_difference(model, place, expected, answered))
    singly = _one_by_one(backend, golden)
    place = "prediction of the golden rows one by one"
    largest = max(largest, measure_difference(model, place, golden.values, singly))
    if model.time_series is None:
        return len(golden.rows), 0, largest
    # What it brings is imported where there are time series.
    from app.model_cache import load_served
    from app.timeseries.sample_replay import replay

    forecasts, difference = replay(path, load_served(path, None))
    return len(golden.rows), forecasts, max(largest, difference)


def ways(model: Model, golden: Golden) -> Iterator[tuple[str, Columns]]:
    """The golden rows as each kind of body brings them, and what kind that is."""
    yield "CSV", _decode(model, as_csv(model.columns, golden.rows), "text/csv")
    yield "JSON", _decode(model, as_json(golden.rows), "application/json")


def _one_by_one(backend: Backend, golden: Golden) -> Floats:
    answers = [
        backend.predict(_decode(backend.model, as_json([row]), "application/json"))
        for row in golden.rows
    ]
    return np.concatenate(answers)


def _decode(model: Model, body: bytes, content_type: str) -> Columns:
    # What the server allows in a request is not the bundle's concern.
    limits = dataclasses.replace(Config(), max_columns=max(len(model.columns), 10_000))
    chunks = read_rows(body, content_type, Decoder.of(model), limits=limits)
    return Columns.join([chunk.columns for chunk in chunks])


def measure_difference(
    model: Model, place: str, expected: Floats, answered: Floats
) -> float:
    """The largest difference. Raises ValueError if it is more than it may be.

    place: what is compared, for the message. expected, answered: finite.
    """
    if expected.shape != answered.shape:
        raise ValueError(
            f"the {place} has the shape {answered.shape}, {expected.shape} is expected"
        )
    relative, absolute = _TOLERANCE.get(model.format, _FLOAT32_TOLERANCE)
    middle = float(np.median(np.abs(expected)))
    allowed = relative * np.abs(expected) + absolute * middle
    difference = np.abs(answered - expected)
    wrong = ~(difference <= allowed)
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise ValueError(
            f"the {place} differs in row {row}: {answered[row].tolist()} instead of"
            f" {expected[row].tolist()}"
        )
    return float(np.max(difference))


def main(arguments: list[str]) -> int:
    """`python -m app.validation FOLDER`: prints the report, or exits with 1."""
    try:
        report = validate(Path(arguments[0]), Config.from_environment())
    except BundleRejected as error:
        print(error, file=sys.stderr)
        return 1
    found: dict[str, Any] = dataclasses.asdict(report) | {"model": report.model.id}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
