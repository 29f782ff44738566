"""The jobs that a caller sees, one or a page of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from app.batch.rights import check_role
from app.errors import DeploymentNotActive, InsufficientScope
from app.management.requests import Asked
from app.store.errors import UnknownJob
from app.store.job_record import Job
from schemas import errors
from schemas.batch import ListFields
from schemas.management import InvalidFields, load


def find(its: Asked, job_id: str) -> Job:
    """A job of the caller's; admins find all.

    Raises UnknownJob, and InsufficientScope for a token of another deployment.
    """
    job = its.services.jobs.get(job_id)
    user = its.caller.user
    if not (user.admin or user.id == job.owner_id):
        raise UnknownJob(job_id)
    if not its.caller.may_open(job.deployment_id):
        raise InsufficientScope
    its.record.deployment = job.deployment_id
    return job


def find_open(its: Asked, job_id: str) -> Job:
    """The same of a job that may take input: of a deployment that it could be made of.

    Raises UnknownDeployment for one that is deleted, or shared with the caller no
    longer, DeploymentNotActive, NotPermitted where its owner has become a predictor,
    and what `find` does.
    """
    job = find(its, job_id)
    if not its.deployment(job.deployment_id).enabled:
        raise DeploymentNotActive
    owner = its.services.snapshot.users[job.owner_id]
    check_role(owner, job.spec["intakeSettings"], job.spec["outputSettings"])
    return job


def read_query(query: str) -> dict[str, Any]:
    """What the query of a list says; `status` may be given several times.

    Raises InvalidFields.
    """
    # The names are bytes of UTF-8, which WSGI hands over as Latin-1.
    text = query.encode("latin-1").decode(errors="replace")
    given: dict[str, Any] = {}
    for name, values in parse_qs(text, keep_blank_values=True).items():
        if name == "status":
            given[name] = values
        elif len(values) > 1:
            raise InvalidFields({name[:100]: errors.REPEATED})
        else:
            given[name] = values[0]
    return load(ListFields(), given)


def page_of(its: Asked, asked: dict[str, Any]) -> tuple[list[Job], int]:
    """The jobs of a page, and how many there are on all.

    asked: what `read_query` read. Raises InsufficientScope.
    """
    caller = its.caller
    deployment_id = asked.get("deployment_id")
    if caller.deployment_id is not None:
        if deployment_id not in (None, caller.deployment_id):
            raise InsufficientScope
        deployment_id = caller.deployment_id
    return its.services.jobs.page(
        owner_id=None if caller.user.admin else caller.user.id,
        statuses=asked["status"],
        deployment_id=deployment_id,
        source=asked.get("source"),
        order=asked["order"],
        offset=asked["offset"],
        limit=asked["limit"],
    )
