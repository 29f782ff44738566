"""What the model of a job says of columns: how cells are read, what is a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.batch.spec import BatchSpec
from app.config import Config
from app.prediction_columns import classes, label_text
from app.sharing import bundles_of
from app.store.files import Files
from app.store.job_record import Job
from backends import bundle
from backends.model import Model


@dataclass(frozen=True, slots=True)
class Spelling:
    """How values are written for a model.

    formats: the column of moments to their format. lower: columns in which booleans
    are levels in lower case.
    """

    formats: Mapping[str, str]
    lower: frozenset[str]


def spelling_of(job: Job, files: Files, config: Config) -> Spelling:
    """How the job's model reads moments and booleans.

    Raises UnknownModel, StoreUnreachable and BundleRejected.
    """
    model = _model(job, files, config)
    formats = {}
    if (spec := model.time_series) is not None:
        formats[str(spec["datetimeColumn"])] = str(spec["datetimeFormat"])
    lower = frozenset(
        feature.name
        for feature in model.features
        if (levels := set(feature.categories or ())) & {"true", "false"}
        and not levels & {"True", "False"}
    )
    return Spelling(formats, lower)


def numbers_of(job: Job, files: Files, config: Config) -> frozenset[str]:
    """Columns of the output that hold numbers, by the names that they have there.

    Raises UnknownModel, StoreUnreachable and BundleRejected.
    """
    model = _model(job, files, config)
    spec = BatchSpec.from_json(job.spec)
    renamed = spec.column_names_remapping or {}
    names = {renamed.get(name, name) for name in _numbers(model, job.pinned, spec)}
    return frozenset(name for name in names if name is not None)


def _numbers(model: Model, pinned: Mapping[str, Any], spec: BatchSpec) -> Iterator[str]:
    target = model.target
    if model.time_series is not None:
        target = f"{target} (actual)"
        size = pinned["settings"].get("prediction_interval_size")
        if size is not None and pinned["settings"].get("prediction_intervals"):
            yield from (
                f"PREDICTION_{size}_PERCENTILE_{end}" for end in ("LOW", "HIGH")
            )
    if model.task == "regression":
        yield f"{target}_PREDICTION"
        return
    if not spec.include_probabilities:
        # What is left out leaves its name to others.
        return
    if model.task == "binary":
        yield "THRESHOLD"
    told = spec.include_probabilities_classes
    for label in map(label_text, classes(model)):
        if not told or label in told:
            yield f"{target}_{label}_PREDICTION"


def _model(job: Job, files: Files, config: Config) -> Model:
    return bundle.read(bundles_of(config, files).path(job.pinned["model_id"]))
