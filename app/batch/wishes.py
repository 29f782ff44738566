"""What a job says is wanted, as the parts of its file are scored with it."""

from __future__ import annotations

from app.batch.arguments import columns_of, explanations_of
from app.batch.cutting import Head
from app.batch.job import ModelPlace, Task, Wishes
from app.batch.spec import BatchSpec, TimeseriesSettings
from app.store.job_record import Job
from app.store.settings import DeploymentSettings
from app.timeseries.window import Asked


def task_of(job: Job, head: Head, files: str) -> Task:
    """What all parts of a job's input have in common.

    files: the URL of the files that hold it. The model, its threshold and the settings
    are those of the moment in which the job was made.
    """
    spec, pinned = BatchSpec.from_json(job.spec), job.pinned
    threshold = spec.prediction_threshold
    return Task(
        ModelPlace(pinned["model_id"]),
        files,
        job.input_path,
        f"{job.folder}/output",
        head,
        DeploymentSettings.from_json(pinned["settings"]),
        pinned["threshold"] if threshold is None else threshold,
        wishes_of(spec),
        keeps_bad_rows=not (
            spec.abort_on_error or spec.disable_row_level_error_handling
        ),
    )


def wishes_of(spec: BatchSpec) -> Wishes:
    """What a request with the same rows would say."""
    return Wishes(
        spec.passthrough,
        spec.decimals_number,
        spec.prediction_warning_enabled,
        explanations_of(spec),
        _asked(spec.timeseries_settings),
        columns_of(spec),
    )


def _asked(settings: TimeseriesSettings | None) -> Asked | None:
    # Some clients say that they forecast, of whatever model.
    if settings is None or settings == TimeseriesSettings():
        return None
    relax = settings.relax_known_in_advance_features_check
    if settings.range is not None:
        return Asked(None, *settings.range, relax)
    return Asked(settings.forecast_point, relax_known_in_advance=relax)
