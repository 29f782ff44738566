"""New batch jobs: what a client asks for, held against the deployment's model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from app.answering import Answering
from app.batch.arguments import columns_of, explanations_of
from app.batch.rights import check_role
from app.batch.spec import BatchSpec, CsvSettings, TimeseriesSettings
from app.batch.telling import told_spec
from app.batch.uploading import queued
from app.body import text_codec
from app.config import Config
from app.encode import CsvWriter
from app.errors import (
    DeploymentIsExternal,
    DeploymentNotActive,
    IsUnstructured,
    OutputColumnsClash,
    OutputColumnsRefused,
    TakesTensors,
    UnsupportedMediaType,
)
from app.explanation_request import PREDICTIONS, read_request
from app.management.requests import Asked
from app.model_cache import ServedTensors, ServedUnstructured
from app.receiving import model_of
from app.store.identifiers import new_id
from app.store.job_record import Job, stamped
from app.store.records import Deployment
from backends.explanations.base import NotExplainable, NotInitialized
from backends.model import Model
from schemas import errors
from schemas.batch import BatchFields
from schemas.management import InvalidFields

# How the Python client names itself, and what jobs that it makes are told to be from.
_CLIENT: Final = "DataRobotPythonClient"
_SOURCES: Final = {True: "api_client_python", False: "api"}


def create(its: Asked) -> Job:
    """Make the job that the request's body tells of.

    The job keeps the deployment's model, threshold and settings of this moment.
    Raises InvalidFields for what is known now to be wrong, UnknownDeployment,
    InsufficientScope, NotPermitted, DeploymentNotActive, DeploymentIsExternal,
    TakesTensors, TooManyRequests, and what reading a body raises.
    """
    values = its.body(BatchFields())
    spec = _spec(values)
    deployment = its.deployment(spec.deployment_id)
    if deployment.model_id is None:
        raise DeploymentIsExternal
    if not deployment.enabled:
        raise DeploymentNotActive
    most = deployment.settings.requests_per_minute
    if most is not None:
        its.services.rate_limits.check(deployment.id, most)
    _check_csv(spec)
    check_role(its.caller.user, spec.intake_settings, spec.output_settings)
    _check_places(spec, its.services.config)
    _check_model(its, deployment, spec)
    job = _job(its, deployment, spec)
    its.services.jobs_of(its.caller).add(job, {"spec": told_spec(job.spec)})
    return job


def _spec(values: dict[str, Any]) -> BatchSpec:
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    if "csv_settings" in given:
        given["csv_settings"] = CsvSettings(**given["csv_settings"])
    if "timeseries_settings" in given:
        given["timeseries_settings"] = TimeseriesSettings(
            **given["timeseries_settings"]
        )
    return BatchSpec(**given)


def _check_csv(spec: BatchSpec) -> None:
    try:
        text_codec(spec.csv_settings.encoding)
    except UnsupportedMediaType as error:
        raise InvalidFields({"csvSettings": {"encoding": str(error)}}) from None


def _check_places(spec: BatchSpec, config: Config) -> None:
    for name, settings in (
        ("intakeSettings", spec.intake_settings),
        ("outputSettings", spec.output_settings),
    ):
        if settings["type"] != "localFile":
            # What it brings is imported where there are such jobs.
            from app.batch.locations import LocationRefused, check

            try:
                check(settings, config)
            except LocationRefused as error:
                raise InvalidFields({name: str(error)}) from None


def _check_model(its: Asked, deployment: Deployment, spec: BatchSpec) -> None:
    served, _ = model_of(its.services, deployment, its.record)
    if isinstance(served, ServedUnstructured):
        raise IsUnstructured
    if isinstance(served, ServedTensors):
        raise TakesTensors
    model = served.model
    if wrong := _wrong_fields(model, spec):
        raise InvalidFields(wrong)
    try:
        explained = read_request(
            served, deployment.settings, explanations_of(spec), PREDICTIONS
        )
    except (NotInitialized, NotExplainable) as error:
        raise InvalidFields({"maxExplanations": str(error)}) from None
    if model.time_series is None:
        columns = columns_of(spec)
        if spec.passthrough == "all":
            # Which columns there are to name is known with the input.
            columns = replace(columns, names={})
        answering = Answering(
            served,
            deployment.settings,
            prediction_warning=spec.prediction_warning_enabled,
            explained=explained,
            columns=columns,
        )
        _check_columns(answering, spec, deployment)


def _wrong_fields(model: Model, spec: BatchSpec) -> dict[str, Any]:
    """What is asked of another model than this one, by field."""
    wrong: dict[str, Any] = {}
    if spec.explanation_algorithm != "shap" and spec.max_explanations == "all":
        wrong["maxExplanations"] = errors.NOT_INT
    labels = [str(label) for label in model.labels]
    for field, names in (
        ("explanationClassNames", spec.explanation_class_names or ()),
        ("includeProbabilitiesClasses", spec.include_probabilities_classes),
    ):
        for name in names:
            if name not in labels:
                wrong[field] = f"the model has no class named {name[:100]!r}"
    if spec.explanation_num_top_classes and model.task != "multiclass":
        wrong["explanationNumTopClasses"] = f"the model is {model.task}, not multiclass"
    if spec.explanation_class_names and model.task != "multiclass":
        wrong["explanationClassNames"] = f"the model is {model.task}, not multiclass"
    has_text = any(each.kind == "text" for each in model.features)
    if spec.max_ngram_explanations and has_text:
        wrong["maxNgramExplanations"] = (
            "the words of a text are not explained one by one"
        )
    if spec.prediction_threshold is not None and model.task != "binary":
        wrong["predictionThreshold"] = f"the model is {model.task}, not binary"
    # Some clients say that they forecast, of whatever model.
    asked = spec.timeseries_settings
    if model.time_series is None and asked not in (None, TimeseriesSettings()):
        wrong["timeseriesSettings"] = "the model is no time series model"
    return wrong


def _check_columns(
    answering: Answering, spec: BatchSpec, deployment: Deployment
) -> None:
    """Raise InvalidFields for columns that clash, or are named and not there."""
    passthrough: tuple[str, ...] = ()
    if spec.passthrough != "all":
        own = deployment.settings.association_id
        passthrough = tuple(
            dict.fromkeys((*spec.passthrough, *([own] if own is not None else [])))
        )
    try:
        answering.filling(CsvWriter, passthrough)
    except (OutputColumnsClash, OutputColumnsRefused) as error:
        name, _, problem = str(error).partition(": ")
        raise InvalidFields({name.strip("'"): problem}) from None


def _job(its: Asked, deployment: Deployment, spec: BatchSpec) -> Job:
    now = datetime.now(UTC)
    user = its.caller.user
    created = stamped(f"Job created by {user.name}", now)
    is_uploaded = spec.intake_settings["type"] == "localFile"
    client = its.environ.get("HTTP_USER_AGENT", "")
    job = Job(
        id=new_id(),
        deployment_id=deployment.id,
        owner_id=user.id,
        created_at=now,
        source=_SOURCES[_CLIENT in client],
        spec=spec.to_json(),
        pinned={
            "model_id": deployment.model_id,
            "threshold": deployment.threshold,
            "settings": deployment.settings.to_stored(),
        },
        status="INITIALIZING",
        phase="upload" if is_uploaded else "intake",
        status_details=created,
        logs=[created],
    )
    if is_uploaded:
        return job
    return _queued(its, job, now)


def _queued(its: Asked, job: Job, now: datetime) -> Job:
    waiting = replace(job, queued_at=now)
    line = queued(its.services.jobs.ahead_of(waiting), now)
    return replace(waiting, status_details=line, logs=[*job.logs, line])
