"""Whose batch jobs are whose: users, shares, tokens of one deployment, admins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.blueprints import batch
from app.config import Config
from app.factory import create_app
from app.services import Services
from tests.conftest import Caller, make_site
from tests.specimens import Specimen, compile_specimen

PATH = "/api/v2/batchPredictions/"
# What is asked of a job that a client knows: method, address, body.
OF_A_JOB = (
    ("GET", "", None),
    ("PUT", "csvUpload/", b"a\n1\n"),
    ("PUT", "csvUpload/part/0/", b"a\n1\n"),
    ("POST", "csvUpload/finalizeMultipart/", None),
    ("POST", "finalizeMultipart/", None),
    ("GET", "download/", None),
    ("DELETE", "", None),
)


@dataclass(frozen=True)
class Shared:
    """ann owns churn and plan; churn is shared with sue, a user, and bot, a predictor.

    tokens: by name of the user; `churn alone` is ann's that opens churn.
    """

    caller: Caller
    tokens: Mapping[str, str]

    @property
    def services(self) -> Services:
        return self.caller.services

    def ask(
        self, who: str, method: str, path: str, body: Any = None, **given: Any
    ) -> TestResponse:
        sent = {} if body is None else {"data": body, "content_type": "text/csv"}
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        return self.caller.client.open(
            PATH + path, method=method, headers=headers, **sent, **given
        )

    def make(self, who: str, deployment: str = "churn") -> TestResponse:
        deployment_id = self.caller.site.deployments.get(deployment, deployment)
        return self.ask(who, "POST", "", json={"deploymentId": deployment_id})

    def job(self, who: str, deployment: str = "churn") -> str:
        answer = self.make(who, deployment)
        assert answer.status_code == 202, answer.json
        return str(answer.json["id"])

    def scored(self, who: str, job_id: str) -> None:
        """Send an input, and have it scored as a runner would."""
        assert (
            self.ask(who, "PUT", f"{job_id}/csvUpload/", b"a\n1\n").status_code == 202
        )
        jobs = self.services.jobs
        self.services.files.write(jobs.get(job_id).part_path(0), b"x\n1\n")
        jobs.change(job_id, {"parts_done": 1, "status": "COMPLETED", "phase": "done"})

    def listed(self, who: str, query: str = "") -> set[str]:
        answer = self.ask(who, "GET", f"?limit=100{query}")
        assert answer.status_code == 200, answer.json
        return {each["id"] for each in answer.json["data"]}


@pytest.fixture(scope="module")
def shared(
    specimens: Mapping[str, Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    few = {name: specimens[name] for name in ("churn", "plan")}
    site = make_site(tmp_path_factory.mktemp("batches"), few, compile_specimen, {})
    app = create_app(Config(home=site.home))
    services: Services = app.extensions["foretell"]
    tokens = dict(site.tokens)
    churn = site.deployments["churn"]
    for name, role in (("sue", "user"), ("bot", "predictor")):
        services.store.add_user(name, role=role)  # type: ignore[arg-type]
        services.store.share_deployment(churn, name)
        tokens[name] = services.store.create_token(name)[1]
    tokens["ann"] = tokens["ann@example.com"]
    tokens["churn alone"] = services.store.create_deployment_token(churn)[1]
    services.refresh()
    with pytest.MonkeyPatch.context() as patch:
        # Nothing runs them.
        patch.setattr(batch, "ensure_runner", lambda config: False)
        yield Shared(Caller(services, app.test_client(), site), tokens)
    services.close()


@pytest.mark.parametrize("field", ["intakeSettings", "outputSettings"])
def test_predictor_has_files_of_their_own_alone(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str
) -> None:
    config = replace(shared.services.config, batch_locations=str(tmp_path))
    monkeypatch.setattr(shared.services, "config", config)
    place = {"type": "filesystem", "path": str(tmp_path / "rows.csv")}
    made = shared.caller.site.deployments["churn"]
    answers = {
        who: shared.ask(who, "POST", "", json={"deploymentId": made, field: place})
        for who in ("sue", "bot")
    }
    assert answers["sue"].status_code == 202
    bot = shared.services.store.user_by_name("bot").id
    text = (
        f"User {bot} may ask for predictions: the intake and the output of their"
        " batch jobs are localFile"
    )
    told = answers["bot"]
    assert (told.status_code, told.json) == (403, {"message": text})


@pytest.mark.parametrize(
    ("method", "path"), [each[:2] for each in OF_A_JOB if each[0] in ("PUT", "POST")]
)
def test_predictor_brings_no_input_to_an_older_job_elsewhere(
    shared: Shared,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    method: str,
    path: str,
) -> None:
    config = replace(shared.services.config, batch_locations=str(tmp_path))
    monkeypatch.setattr(shared.services, "config", config)
    place = {"type": "filesystem", "path": str(tmp_path / "rows.csv")}
    churn = shared.caller.site.deployments["churn"]
    asked = {"deploymentId": churn, "outputSettings": place}
    job_id = shared.ask("sue", "POST", "", json=asked).json["id"]
    own = shared.job("sue")
    store = shared.services.store
    store.update_user("sue", role="predictor")
    try:
        for who in ("sue", "root"):
            answer = shared.ask(who, method, f"{job_id}/{path}", b"a\n1\n")
            assert answer.status_code == 403
            assert "may ask for predictions" in answer.json["message"]
        assert (
            shared.ask("sue", "PUT", f"{own}/csvUpload/", b"a\n1\n").status_code == 202
        )
    finally:
        store.update_user("sue", role="user")
        shared.services.refresh()


def unknown(job_id: str) -> dict[str, str]:
    return {"message": f"Batch prediction job {job_id} cannot be found"}


@pytest.mark.parametrize("who", ["ann", "sue", "bot", "root", "churn alone"])
def test_job_goes_all_the_way(shared: Shared, who: str) -> None:
    job_id = shared.job(who)
    shared.scored(who, job_id)
    assert shared.ask(who, "GET", f"{job_id}/").json["status"] == "COMPLETED"
    assert job_id in shared.listed(who)
    assert shared.ask(who, "GET", f"{job_id}/download/").data == b"x\n1\n"
    assert shared.ask(who, "DELETE", f"{job_id}/").status_code == 204


@pytest.mark.parametrize("who", ["sue", "bot", "bob"])
def test_no_job_is_made_of_what_is_not_shared(shared: Shared, who: str) -> None:
    answer = shared.make(who, "plan")
    plan, user = (
        shared.caller.site.deployments["plan"],
        shared.services.store.user_by_name(who).id,
    )
    text = f"Deployment {plan} cannot be found for user {user}"
    assert (answer.status_code, answer.json) == (404, {"message": text})


@pytest.mark.parametrize(("method", "below", "body"), OF_A_JOB)
@pytest.mark.parametrize("who", ["bob", "bot", "ann", "churn alone"])
def test_job_of_another_is_not_found(
    shared: Shared, who: str, method: str, below: str, body: Any
) -> None:
    # Not even the deployment's owner's.
    job_id = shared.job("sue")
    answer = shared.ask(who, method, f"{job_id}/{below}", body)
    assert (answer.status_code, answer.json) == (404, unknown(job_id))
    assert job_id not in shared.listed(who)
    assert shared.services.jobs.get(job_id).phase == "upload"


@pytest.mark.parametrize(("method", "below", "body"), OF_A_JOB)
def test_token_of_one_deployment_opens_no_job_of_another(
    shared: Shared, method: str, below: str, body: Any
) -> None:
    job_id = shared.job("ann", "plan")
    answer = shared.ask("churn alone", method, f"{job_id}/{below}", body)
    assert answer.status_code == 403
    assert shared.services.jobs.get(job_id).phase == "upload"


def test_token_of_one_deployment_makes_and_lists_jobs_of_that_one(
    shared: Shared,
) -> None:
    theirs, others = shared.job("ann"), shared.job("ann", "plan")
    assert shared.make("churn alone", "plan").status_code == 403
    assert shared.make("churn alone", "f" * 24).status_code == 403
    listed = shared.listed("churn alone")
    assert theirs in listed and others not in listed
    plan = shared.caller.site.deployments["plan"]
    answer = shared.ask("churn alone", "GET", f"?deploymentId={plan}")
    assert answer.status_code == 403


def test_admin_sees_and_ends_jobs_of_all(shared: Shared) -> None:
    made = {shared.job("sue"), shared.job("bot"), shared.job("ann", "plan")}
    assert made <= shared.listed("root")
    for job_id in made:
        assert shared.ask("root", "GET", f"{job_id}/").status_code == 200
        assert shared.ask("root", "DELETE", f"{job_id}/").status_code == 202


# What brings a job's input.
INPUT = [each for each in OF_A_JOB if "csvUpload" in each[1] or "final" in each[1]]


def taken_back(shared: Shared, who: str, made: str) -> None:
    shared.services.store.share_deployment(made, who, shared=False)
    shared.services.refresh()


@pytest.mark.parametrize(("method", "below", "body"), INPUT)
@pytest.mark.parametrize("who", ["sue", "bot"])
def test_job_takes_no_input_after_the_share_is_taken_back(
    shared: Shared, who: str, method: str, below: str, body: Any
) -> None:
    made = shared.caller.deploy("churn")
    shared.services.store.share_deployment(made, who)
    shared.services.refresh()
    job_id = shared.job(who, made)
    taken_back(shared, who, made)
    user = shared.services.store.user_by_name(who).id
    answer = shared.ask(who, method, f"{job_id}/{below}", body)
    text = f"Deployment {made} cannot be found for user {user}"
    assert (answer.status_code, answer.json) == (404, {"message": text})
    job = shared.services.jobs.get(job_id)
    assert job.phase == "upload" and not shared.services.files.names(job.folder)


@pytest.mark.parametrize("who", ["sue", "bot"])
def test_input_that_was_taken_outlives_the_share(shared: Shared, who: str) -> None:
    made = shared.caller.deploy("churn")
    shared.services.store.share_deployment(made, who)
    shared.services.refresh()
    job_id = shared.job(who, made)
    shared.scored(who, job_id)
    taken_back(shared, who, made)
    assert shared.make(who, made).status_code == 404
    assert shared.ask(who, "GET", f"{job_id}/").json["status"] == "COMPLETED"
    assert shared.ask(who, "GET", f"{job_id}/download/").data == b"x\n1\n"
    assert shared.ask(who, "DELETE", f"{job_id}/").status_code == 204


@pytest.mark.parametrize(("method", "below", "body"), INPUT)
def test_job_of_a_deleted_deployment_takes_no_input(
    shared: Shared, method: str, below: str, body: Any
) -> None:
    made = shared.caller.deploy("churn")
    job_id = shared.job("ann", made)
    shared.services.store.delete_deployment(made)
    shared.services.refresh()
    answer = shared.ask("ann", method, f"{job_id}/{below}", body)
    assert answer.status_code == 404 and made in answer.json["message"]


@pytest.mark.parametrize(("method", "below", "body"), INPUT)
def test_job_of_a_disabled_deployment_takes_no_input(
    shared: Shared, method: str, below: str, body: Any
) -> None:
    made = shared.caller.deploy("churn")
    job_id = shared.job("ann", made)
    shared.services.store.update_deployment(made, enabled=False)
    shared.services.refresh()
    answer = shared.ask("ann", method, f"{job_id}/{below}", body)
    text = "The deployment you are trying to predict on is not active."
    assert (answer.status_code, answer.json) == (422, {"message": text})
    assert shared.services.jobs.get(job_id).phase == "upload"


def test_input_that_was_taken_outlives_its_deployment(shared: Shared) -> None:
    made = shared.caller.deploy("churn")
    job_id = shared.job("ann", made)
    shared.scored("ann", job_id)
    shared.services.store.delete_deployment(made)
    shared.services.refresh()
    assert shared.ask("ann", "GET", f"{job_id}/download/").data == b"x\n1\n"


@pytest.mark.parametrize("header", [None, "Bearer x"])
@pytest.mark.parametrize(("method", "below", "body"), OF_A_JOB)
def test_nobody_is_let_in_without_a_token(
    shared: Shared, header: str | None, method: str, below: str, body: Any
) -> None:
    job_id = shared.job("ann")
    headers = {} if header is None else {"Authorization": header}
    path = f"{PATH}{job_id}/{below}"
    answer = shared.caller.client.open(path, method=method, headers=headers, data=body)
    assert answer.status_code == 401
