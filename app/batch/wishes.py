"""What a job says is wanted, as the parts of its file are scored with it."""

from __future__ import annotations

from app.batch.cutting import Head
from app.batch.job import ModelPlace, Task, Wishes
from app.batch.spec import BatchSpec, TimeseriesSettings
from app.output_columns import OutputColumns
from app.store.jobs import Job
from app.store.records import DeploymentSettings
from app.timeseries.window import Asked
from schemas.arguments import ExplanationArguments
from schemas.fields import ALL


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
        _explanations(spec),
        _asked(spec.timeseries_settings),
        OutputColumns(
            spec.include_probabilities,
            spec.include_probabilities_classes,
            spec.column_names_remapping or {},
            spec.include_prediction_status,
        ),
    )


def _explanations(spec: BatchSpec) -> ExplanationArguments | None:
    most = spec.max_explanations
    if not most and spec.explanation_algorithm != "shap":
        return None
    ngrams = spec.max_ngram_explanations
    return ExplanationArguments(
        ALL if most == "all" else most,
        spec.explanation_algorithm or "xemp",
        spec.threshold_low,
        spec.threshold_high,
        spec.explanation_num_top_classes,
        spec.explanation_class_names or (),
        ALL if ngrams == "all" else ngrams or 0,
    )


def _asked(settings: TimeseriesSettings | None) -> Asked | None:
    # Some clients say that they forecast, of whatever model.
    if settings is None or settings == TimeseriesSettings():
        return None
    relax = settings.relax_known_in_advance_features_check
    if settings.range is not None:
        return Asked(None, *settings.range, relax)
    return Asked(settings.forecast_point, relax_known_in_advance=relax)
