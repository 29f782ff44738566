"""Whatever is said of a batch job, the server answers in its own words."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.blueprints import batch
from schemas.batch import BatchFields, ListFields

PATH = "/api/v2/batchPredictions/"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "url", "path", "delimiter", "inputName", "a"]),
            each
            | st.sampled_from(["localFile", "s3", "http", "filesystem", "forecast"]),
            max_size=4,
        )
    ),
    max_leaves=6,
)
KEYS = sorted(str(each.data_key or name) for name, each in BatchFields().fields.items())
ASKED = sorted(str(each.data_key or name) for name, each in ListFields().fields.items())


@pytest.fixture
def ask(predict, monkeypatch):
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    token = predict.site.tokens["ann@example.com"]

    def ask(method, path, **given):
        headers = {"Authorization": f"Bearer {token}"}
        return predict.client.open(path, method=method, headers=headers, **given)

    return ask


@pytest.mark.parametrize("deployment", ["churn", "price", "plan"])
def test_any_fields_make_a_job_or_are_refused(ask, predict, deployment):
    deployment_id = predict.site.deployments[deployment]

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
    def holds(fields):
        body = {"deploymentId": deployment_id, **fields}
        answer = ask("POST", PATH, json=body)
        assert answer.status_code in (202, 404, 422), (body, answer.data)
        assert answer.content_type == "application/json"
        if answer.status_code == 202:
            assert ask("GET", f"{PATH}{answer.json['id']}/").status_code == 200

    holds()


def test_any_query_of_the_list_is_answered_or_refused(ask):
    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.sampled_from([*ASKED, "x"]), st.text(max_size=5)))
    def holds(query):
        assert ask("GET", PATH, query_string=query).status_code in (200, 422)

    holds()


def test_any_id_and_number_are_answered(ask):
    @settings(max_examples=60, deadline=None)
    @given(st.text(st.characters(exclude_characters="/"), min_size=1, max_size=8))
    def holds(text):
        # As it stands, a question mark would end the path, and begin a query.
        text = quote(text, safe="", errors="replace")
        for method, path in (
            ("GET", f"{PATH}{text}/"),
            ("PUT", f"{PATH}{text}/csvUpload/part/{text}/"),
            ("GET", f"{PATH}{text}/download/"),
        ):
            assert ask(method, path).status_code in (200, 404, 405), (method, path)

    holds()
