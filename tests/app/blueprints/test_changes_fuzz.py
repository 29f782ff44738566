"""Whatever clients send to the routes of models gets an answer, and meets no fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.checking import CheckRefused
from tests.conftest import Caller
from tests.specimens import Specimen

NAMES = st.sampled_from(
    [
        *("modelPackageId", "modelId", "label", "description", "importance", "reason"),
        *("predictionThreshold", "defaultPredictionServerId", "userProvidedId"),
        *("predictionEnvironmentId", "additionalMetadata", "other"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=5,
)
PATHS = (
    ("POST", "deployments/fromModelPackage/"),
    ("POST", "deployments/fromLearningModel/"),
    ("PATCH", "deployments/{}/model/"),
    ("POST", "deployments/{}/model/validation/"),
)
FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check(response: Any) -> None:
    assert response.status_code < 500, response.data
    assert response.content_type == "application/json"
    if response.status_code >= 400:
        assert response.json["message"]
        assert response.data.isascii()


@pytest.mark.parametrize(("method", "path"), PATHS)
@FEW
@given(fields=st.dictionaries(NAMES, VALUES, max_size=5), known=st.booleans())
def test_any_object_is_answered(
    predict: Caller,
    specimens: Mapping[str, Specimen],
    method: str,
    path: str,
    fields: dict[str, Any],
    known: bool,
) -> None:
    if known:
        # Past the first check; of another task, so that it replaces nothing.
        name = "modelId" if "Learning" in path else "modelPackageId"
        fields = {"label": "fuzz", **fields, name: specimens["plan"].model.id}
    place = path.format(predict.site.deployments["churn"])
    token = predict.site.tokens["ann@example.com"]
    response = predict.client.open(
        f"/api/v2/{place}",
        method=method,
        data=json.dumps(fields),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    check(response)
    if response.status_code == 202:
        predict.services.store.delete_deployment(response.json["id"])
        predict.services.refresh()


@pytest.mark.parametrize(("method", "path"), PATHS)
@FEW
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_is_answered(
    predict: Caller, method: str, path: str, body: bytes
) -> None:
    place = path.format(predict.site.deployments["churn"])
    token = predict.site.tokens["ann@example.com"]
    check(
        predict.client.open(
            f"/api/v2/{place}",
            method=method,
            data=body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
    )


@FEW
@given(
    header=st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"),
        max_size=40,
    ),
    scheme=st.sampled_from(["Basic ", "basic ", "Bearer ", "", "Basic"]),
)
def test_any_authorization_gets_no_token(
    predict: Caller, header: str, scheme: str
) -> None:
    response = predict.client.get(
        "/predApi/v1.0/api_token", headers={"Authorization": scheme + header}
    )
    check(response)
    assert response.status_code in (401, 429)


@FEW
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            *(
                "multipart/form-data; boundary=b",
                "multipart/form-data; boundary=",
            ),
            *("multipart/form-data; boundary=\u00fc", "text/csv", "x/y; charset=zz"),
        ]
    ),
    framed=st.booleans(),
)
def test_any_form_without_a_file_is_refused(
    predict: Caller, body: bytes, content_type: str, framed: bool
) -> None:
    if framed:
        head = b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n'
        body = head + body + b"\r\n--b--\r\n"
    token = predict.site.tokens["ann@example.com"]
    response = predict.client.post(
        "/api/v2/modelPackages/",
        data=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": content_type},
    )
    check(response)
    assert 400 <= response.status_code < 500, response.data
    uploads = predict.services.config.home / "uploads"
    assert not uploads.exists() or not list(uploads.iterdir())


def test_refusal_of_a_check_is_a_sentence() -> None:
    assert str(CheckRefused("the tar is damaged")) == "the tar is damaged"
