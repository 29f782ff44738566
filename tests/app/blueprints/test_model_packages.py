"""Sending bundles, deploying them, and replacing models over the API."""

from __future__ import annotations

import io
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.cli import cli
from app.config import Config
from app.factory import create_app
from app.services import Services
from app.store.identifiers import new_id
from app.store.operations import Operation
from tests.conftest import Site, make_site
from tests.specimens import Specimen, compile_specimen

WAIT_SECONDS = 120


class Api:
    """A server of its own with three kinds of users; asks as ann unless told."""

    def __init__(self, site: Site, **settings: Any) -> None:
        app = create_app(Config(home=site.home, **settings))
        self.site = site
        self.services: Services = app.extensions["foretell"]
        self.services.refresh()
        self.client: FlaskClient = app.test_client()

    def __call__(
        self, method: str, path: str, *, user: str = "ann@example.com", **options: Any
    ) -> TestResponse:
        token = self.site.tokens[user]
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        path = path if path.startswith("/") else f"/api/v2/{path}"
        return self.client.open(path, method=method, headers=headers, **options)

    def finished(self, response: TestResponse, **options: Any) -> TestResponse:
        """Asks for the operation until it has ended."""
        assert response.status_code == 202, response.data
        address = response.headers["Location"]
        assert address.startswith("http://localhost/api/v2/status/")
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            told = self("GET", address.removeprefix("http://localhost"), **options)
            if told.status_code == 303 or told.json["status"] == "ERROR":
                return told
            assert told.status_code == 200
            time.sleep(0.1)
        raise AssertionError("the operation does not end")


@pytest.fixture(scope="module")
def own_site(
    specimens: Mapping[str, Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    few = {name: specimens[name] for name in ("churn", "plan")}
    home = tmp_path_factory.mktemp("packages")
    return make_site(home, few, compile_specimen, {"external": None})


@pytest.fixture(scope="module")
def api(own_site: Site) -> Iterator[Api]:
    api = Api(own_site)
    store = api.services.store
    store.add_user("bot", role="predictor")
    tokens = {**own_site.tokens, "bot": store.create_token("bot")[1]}
    api.site = replace(own_site, tokens=tokens)
    api.services.refresh()
    yield api
    api.services.close()


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Packaged models as tars. sale: binary. sale-2: the same from more columns."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(300, 3)), columns=["age", "income", "size"])
    data["sale"] = np.where(data["age"] + data["income"] > 0, "yes", "no")
    data.to_csv(folder / "data.csv", index=False)
    columns = {"sale": ["age", "income"], "sale-2": ["age", "income", "size"]}
    for name, used in columns.items():
        train = lightgbm.Dataset(data[used], data["sale"] == "yes")
        booster = lightgbm.train({"objective": "binary", "verbose": -1}, train, 5)
        booster.save_model(folder / f"{name}.txt")
        arguments = (
            *("package", folder / f"{name}.txt", "--data", folder / "data.csv"),
            *("--target", "sale", "--labels", "no,yes", "--out", folder / name),
            *("--tar", folder / f"{name}.tar"),
        )
        done = CliRunner().invoke(cli, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
    return {name: (folder / f"{name}.tar").read_bytes() for name in columns}


@pytest.fixture(scope="module")
def sent(api: Api, tars: Mapping[str, bytes]) -> Mapping[str, str]:
    """Ids of these models once ann has sent them."""
    found = {}
    for name, tar in tars.items():
        answer = api(
            "POST", "modelPackages/", data=tar, content_type="application/x-tar"
        )
        assert answer.json["status"] == "INITIALIZED"
        assert answer.headers["Location"].endswith(f"/status/{answer.json['id']}/")
        told = api.finished(answer)
        assert told.status_code == 303, told.json
        found[name] = told.headers["Location"].split("/")[-2]
    await_nothing_left(api)
    return found


def left(api: Api) -> list[Path]:
    folder = api.services.config.home / "uploads"
    return list(folder.iterdir()) if folder.exists() else []


def await_nothing_left(api: Api) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while left(api):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_bundle_is_sent_checked_and_deployed(api: Api, sent: Mapping[str, str]) -> None:
    model_id = sent["sale"]
    found = api("GET", f"modelPackages/{model_id}/").json
    assert (found["id"], found["modelFormat"]) == (model_id, "lightgbm")
    assert found["target"] == {
        "name": "sale",
        "type": "Binary",
        "classNames": ["no", "yes"],
        "classCount": 2,
        "predictionThreshold": 0.5,
    }
    body = {"modelPackageId": model_id, "label": "new", "importance": "HIGH"}
    made = api("POST", "deployments/fromModelPackage/", json=body)
    deployment_id = made.json["id"]
    place = api.finished(made).headers["Location"]
    assert place == f"http://localhost/api/v2/deployments/{deployment_id}/"
    asked = api(
        "POST",
        f"deployments/{deployment_id}/predictions",
        json=[{"age": 1, "income": 2}],
    )
    assert asked.status_code == 200 and len(asked.json["data"]) == 1
    for object_id in (deployment_id, model_id):
        entry = api.services.store.audit(object_id)[0]
        assert (entry.actor, entry.via) == ("ann@example.com", "api")


def test_bundle_of_another_may_be_sent_again_and_deployed(
    api: Api, tars: Mapping[str, bytes], sent: Mapping[str, str]
) -> None:
    body = {"modelId": sent["sale"], "label": "bob's", "predictionThreshold": 0.25}
    path = "deployments/fromLearningModel/"
    assert api("POST", path, json=body, user="bob").status_code == 422
    form = {"note": "before", "file": (io.BytesIO(tars["sale"]), "sale.tar")}
    api.finished(api("POST", "modelPackages/", data=form, user="bob"), user="bob")
    listed = api("GET", "modelPackages/", user="bob").json
    assert [each["id"] for each in listed["data"]] == [sent["sale"]]
    made = api("POST", path, json=body, user="bob")
    assert made.status_code == 202
    assert api.services.store.deployment(made.json["id"]).threshold == 0.25


def test_what_is_no_bundle_is_told_as_an_error(api: Api) -> None:
    told = api.finished(api("POST", "modelPackages/", data=b"x" * 5000))
    assert told.json["status"] == "ERROR" and "tar is damaged" in told.json["message"]
    assert str(api.services.config.home) not in told.json["message"]
    await_nothing_left(api)


def test_damaged_bundle_is_told_as_an_error(
    api: Api, tars: Mapping[str, bytes]
) -> None:
    source = tarfile.open(fileobj=io.BytesIO(tars["sale"]))
    damaged = io.BytesIO()
    with source, tarfile.open(fileobj=damaged, mode="w") as target:
        for member in source:
            data = source.extractfile(member).read()  # type: ignore[union-attr]
            data = data[:-1] + b" " if member.name == "model.txt" else data
            target.addfile(member, io.BytesIO(data))
    before = set(api.services.store.snapshot().models)
    told = api.finished(api("POST", "modelPackages/", data=damaged.getvalue()))
    assert told.json["status"] == "ERROR" and "model.txt" in told.json["message"]
    assert set(api.services.store.snapshot().models) == before


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({"data": b"x", "content_type": "application/json"}, 415, "application/x-tar"),
        ({"data": b"x", "headers": {"Content-Encoding": "gzip"}}, 415, "without"),
        ({"data": {"other": "x"}}, 415, "x-www-form-urlencoded"),
        (
            {"data": b"x", "content_type": "multipart/form-data"},
            400,
            "has no boundary",
        ),
        (
            {"data": b"x", "content_type": "multipart/form-data; boundary=b"},
            400,
            "not valid multipart",
        ),
        (
            {
                "data": {"other": (io.BytesIO(b"x"), "x.tar")},
                "content_type": "multipart/form-data",
            },
            400,
            "no complete part named 'file'",
        ),
    ],
)
def test_other_bodies_are_refused(
    api: Api, options: dict[str, Any], status: int, text: str
) -> None:
    asked = api("POST", "modelPackages/", **options)
    assert (asked.status_code, text in asked.json["message"]) == (status, True), (
        asked.data
    )
    await_nothing_left(api)


def test_short_body_leaves_nothing(api: Api) -> None:
    environ = {"CONTENT_LENGTH": "100", "wsgi.input": io.BytesIO(b"x" * 50)}
    asked = api("POST", "modelPackages/", environ_overrides=environ)
    assert asked.status_code == 400 and "50 of the 100" in asked.json["message"]
    await_nothing_left(api)


@pytest.mark.parametrize("chunked", [True, False])
def test_large_bundle_is_refused(own_site: Site, chunked: bool) -> None:
    api = Api(own_site, max_upload=10_000)
    options: dict[str, Any] = {"data": b"x" * 10_001}
    if chunked:
        stream = io.BytesIO(b"x" * 10_001)
        options = {
            "environ_overrides": {"wsgi.input": stream, "CONTENT_LENGTH": ""},
            "headers": {"Transfer-Encoding": "chunked"},
        }
    asked = api("POST", "modelPackages/", **options)
    assert asked.status_code == 413 and "10000 bytes" in asked.json["message"]
    assert left(api) == []
    api.services.close()


def test_what_a_dead_worker_left_is_removed(api: Api) -> None:
    folder = api.services.config.home / "uploads" / "0123"
    folder.mkdir(parents=True)
    (folder / "bundle.tar").write_bytes(b"x")
    api.finished(api("POST", "modelPackages/", data=b""))
    assert not folder.exists()


def test_bundle_that_cannot_be_written_is_refused(
    own_site: Site, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for each in own_site.home.glob("foretell.db*"):
        shutil.copy(each, home)
    (home / "uploads").touch()
    api = Api(replace(own_site, home=home))
    asked = api("POST", "modelPackages/", data=b"x")
    assert asked.status_code == 503 and "cannot keep" in asked.json["message"]
    assert "uploads" not in asked.json["message"]
    api.services.close()


def test_uploads_beyond_a_few_are_refused(own_site: Site) -> None:
    api = Api(own_site)
    held = [api.services.uploads.receiving() for _ in range(8)]
    for each in held:
        each.__enter__()
    assert api("POST", "modelPackages/", data=b"x").status_code == 503
    for each in held:
        each.__exit__(RuntimeError, RuntimeError("given up"), None)
    assert left(api) == []
    assert api("POST", "modelPackages/", data=b"x").status_code == 202
    api.services.close()


def test_operation_without_a_worker_is_an_error(api: Api) -> None:
    user_id = api.site.users["ann@example.com"]
    then = datetime.now(UTC) - timedelta(minutes=3)
    operation = Operation(
        new_id(), user_id, then, "model package upload", "RUNNING", "", None, then
    )
    api.services.operations.save(operation)
    told = api("GET", f"status/{operation.id}/").json
    assert told["status"] == "ERROR" and "interrupted by a restart" in told["message"]
    now = replace(operation, updated_at=datetime.now(UTC))
    api.services.operations.save(now)
    assert api("GET", f"status/{operation.id}/").json["status"] == "RUNNING"


def test_packages_are_listed_by_those_who_may_deploy_them(api: Api) -> None:
    def names(user: str) -> set[str]:
        return {
            each["id"] for each in api("GET", "modelPackages/", user=user).json["data"]
        }

    every = set(api.services.snapshot.models)
    assert names("root") == names("ann@example.com") == every
    assert names("bot") == set()


def test_unknown_package_is_not_found(
    api: Api, specimens: Mapping[str, Specimen]
) -> None:
    for package_id in ("f" * 24, "x", "%00"):
        asked = api("GET", f"modelPackages/{package_id}/")
        assert asked.status_code == 404 and "cannot be found" in asked.json["message"]
    model_id = specimens["plan"].model.id
    assert api("GET", f"modelPackages/{model_id}/", user="bot").status_code == 404


def new(api: Api, **changes: Any) -> TestResponse:
    body = {"modelPackageId": "f" * 24, "label": "x", **changes}
    return api("POST", "deployments/fromModelPackage/", json=body)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "modelPackageId"),
        ({"modelPackageId": None}, "modelPackageId"),
        ({"label": ""}, "label"),
        ({"label": "a\nb"}, "label"),
        ({"importance": "high"}, "importance"),
        ({"predictionThreshold": 2}, "predictionThreshold"),
        ({"defaultPredictionServerId": "other"}, "defaultPredictionServerId"),
        ({"userProvidedId": "mine"}, "userProvidedId"),
        ({"more": 1}, "more"),
    ],
)
def test_wrong_deployment_is_refused_by_field(
    api: Api, specimens: Mapping[str, Specimen], changes: dict[str, Any], field: str
) -> None:
    model_id = specimens["churn"].model.id
    body = changes if changes == {} else {"modelPackageId": model_id, **changes}
    asked = new(api, **body)
    assert asked.status_code == 422
    assert list(asked.json["errors"]) == [field], asked.json


def test_deployment_takes_this_prediction_server(
    api: Api, specimens: Mapping[str, Specimen]
) -> None:
    server = api("GET", "predictionServers/").json["data"][0]["id"]
    body = {"modelPackageId": specimens["churn"].model.id, "description": "why"}
    made = new(api, **body, defaultPredictionServerId=server, userProvidedId=None)
    assert made.status_code == 202
    assert api.services.store.deployment(made.json["id"]).description == "why"


def test_threshold_is_for_binary_models(
    api: Api, specimens: Mapping[str, Specimen]
) -> None:
    asked = new(api, modelPackageId=specimens["plan"].model.id, predictionThreshold=0.5)
    assert asked.status_code == 422 and "binary" in asked.json["message"]


@pytest.mark.parametrize(
    "path", ["deployments/fromModelPackage/", "deployments/fromLearningModel/"]
)
def test_predictor_makes_nothing(api: Api, path: str) -> None:
    assert api("POST", path, user="bot", json={}).status_code == 403
    assert api("POST", "modelPackages/", user="bot", data=b"").status_code == 403


def made(api: Api, specimens: Mapping[str, Specimen], name: str) -> str:
    answer = new(api, modelPackageId=specimens[name].model.id)
    assert answer.status_code == 202
    return str(answer.json["id"])


def test_model_is_replaced_while_it_answers(api: Api, sent: Mapping[str, str]) -> None:
    deployment_id = str(new(api, modelPackageId=sent["sale"]).json["id"])
    path = f"deployments/{deployment_id}"
    rows = [{"age": 1, "income": 2, "size": 3}]
    answers: set[tuple[int, float]] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = api("POST", f"{path}/predictions", json=rows)
            value = answer.json["data"][0]["predictionValues"][0]["value"]
            answers.add((answer.status_code, value))

    asking = threading.Thread(target=ask)
    asking.start()
    report = api(
        "POST", f"{path}/model/validation/", json={"modelId": sent["sale-2"]}
    ).json
    assert report["status"] == report["checks"]["features"]["status"] == "warning"
    assert "'size'" in report["message"]
    for name in ("sale-2", "sale", "sale-2"):
        change = {"modelPackageId": sent[name], "reason": "ERRORS"}
        told = api.finished(api("PATCH", f"{path}/model/", json=change))
        assert told.headers["Location"].endswith(f"/{path}/")
        assert api("GET", path).json["model"]["id"] == sent[name]
        entry = api.services.store.audit(path.split("/")[1])[0]
        assert entry.after["reason"] == "ERRORS"
    done.set()
    asking.join()
    assert {status for status, _ in answers} == {200} and 1 <= len(answers) <= 2


def test_replacement_is_validated_first(
    api: Api, specimens: Mapping[str, Specimen]
) -> None:
    deployment_id = made(api, specimens, "churn")
    path = f"deployments/{deployment_id}/model/"
    change = {"modelId": specimens["plan"].model.id}
    report = api("POST", f"{path}validation/", json=change).json
    assert report["status"] == report["checks"]["target"]["status"] == "failing"
    refused = api("PATCH", path, json={**change, "reason": "OTHER"})
    assert refused.status_code == 422
    assert refused.json["message"] == report["message"]
    assert refused.json["checks"] == report["checks"]
    kept = api.services.store.deployment(deployment_id)
    assert kept.model_id == specimens["churn"].model.id


def test_same_model_is_a_warning(api: Api, specimens: Mapping[str, Specimen]) -> None:
    deployment_id = made(api, specimens, "churn")
    change = {"modelPackageId": specimens["churn"].model.id, "modelId": None}
    path = f"deployments/{deployment_id}/model/validation/"
    report = api("POST", path, json=change).json
    assert (report["status"], report["checks"]["target"]["status"]) == (
        *("warning", "passing"),
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "modelPackageId"),
        ({"modelId": "a", "modelPackageId": "b"}, "modelPackageId"),
        ({"modelId": "f" * 24}, "modelId"),
        ({"modelPackageId": "\0"}, "modelPackageId"),
        ({"modelId": "a", "reason": "WHIM"}, "reason"),
    ],
)
def test_wrong_replacement_is_refused_by_field(
    api: Api, body: dict[str, Any], field: str
) -> None:
    path = f"deployments/{api.site.deployments['churn']}/model/"
    asked = api("PATCH", path, json=body)
    assert asked.status_code == 422 and list(asked.json["errors"]) == [field]


def test_only_own_models_are_put_in(
    api: Api, specimens: Mapping[str, Specimen]
) -> None:
    store = api.services.store
    bobs = store.create_deployment("bob's", "bob", specimens["plan"].model.id).id
    api.services.refresh()
    change = {"modelId": specimens["onnx-iris"].model.id}
    if change["modelId"] not in api.services.snapshot.models:
        store.add_model(specimens["onnx-iris"].model, "ann@example.com", 1)
    asked = api("PATCH", f"deployments/{bobs}/model/", json=change, user="bob")
    assert asked.status_code == 422 and "There is no model" in str(asked.json)


def test_others_replace_nothing(api: Api, specimens: Mapping[str, Specimen]) -> None:
    store = api.services.store
    deployment_id = made(api, specimens, "churn")
    change = {"modelId": specimens["churn"].model.id}
    path = f"deployments/{deployment_id}/model/"
    assert api("PATCH", path, json=change, user="bob").status_code == 404
    for name in ("bob", "bot"):
        store.share_deployment(deployment_id, name)
    api.services.refresh()
    for name in ("bob", "bot"):
        for method, address in (("PATCH", path), ("POST", f"{path}validation/")):
            asked = api(method, address, json=change, user=name)
            assert asked.status_code == 403, asked.data
