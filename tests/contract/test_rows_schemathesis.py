"""Rows made up from a deployment's own document: what fits it is answered."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import given
from schemathesis import checks

from app.rows.openapi import PATH
from tests.contract.effort import effort
from tests.tensor_backends import TENSOR_MODELS

# Of a file's bytes, or its text, a schema says little.
UNTOLD = [checks.negative_data_rejection, checks.positive_data_acceptance]


def answers_of(caller, name):
    """Requests that fit a deployment's document, each with how to have it answered."""
    deployment_id = caller.site.deployments.get(name, name)
    header = {"Authorization": f"Bearer {caller.site.tokens['ann@example.com']}"}
    schema = schemathesis.openapi.from_wsgi(
        f"/deployment/{deployment_id}/openapi.json",
        caller.client.application,
        headers=header,
    )
    # An answer may be long enough to be compressed.
    return schema[PATH]["POST"].as_strategy(), header | {"Accept-Encoding": "identity"}


@pytest.mark.parametrize("name", ["churn", "price", "plan", "grade"])
@pytest.mark.parametrize("unknown", ["missing", "error"])
def test_rows_of_columns_that_fit_are_answered(predict, specimens, name, unknown):
    deployment = predict.deploy(name, unknown_categories=unknown)
    cases, headers = answers_of(predict, deployment)
    columns = set(specimens[name].model.columns)

    @effort(25)
    @given(cases)
    def ask(case):
        answer = case.call_and_validate(headers=headers, excluded_checks=UNTOLD)
        # A form has texts, which may be no level; other names of it may be written
        # alike, and be there twice.
        is_plain = unknown == "missing" and columns == set(case.body)
        if case.media_type == "application/json" or is_plain:
            assert answer.status_code == 200, answer.text

    ask()


@pytest.mark.parametrize("name", TENSOR_MODELS)
@pytest.mark.parametrize("tensor_json", [True, False])
def test_rows_of_tensors_get_documented_answers(forward, name, tensor_json):
    deployment = forward.deploy(name, tensor_json=tensor_json)
    cases, headers = answers_of(forward, deployment)

    @effort(15)
    @given(cases)
    def ask(case):
        case.call_and_validate(headers=headers, excluded_checks=UNTOLD)

    ask()
