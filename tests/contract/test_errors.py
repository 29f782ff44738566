"""Every error that the prediction routes answer: status, exact text, envelope."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from pathlib import Path

import pytest

from app.store.bundles import Bundles

CSV = (
    b"tenure,monthly charge,contract,region,plan,senior\n"
    b"12,70.5,One year,01,2,True\n"
    b",18.25,,,3,False\n"
)
UNKNOWN = "0123456789abcdef01234567"
UNKNOWN_URL = (
    "The requested URL was not found on the server.  If you entered the URL manually,"
    " please check your spelling and try again."
)
CONTRACT = Path(__file__).parents[3] / "shared" / "contract" / "contract.md"


def refusal(answer, status):
    """The message of an error answer, whose outside is the same for all of them."""
    assert answer.status_code == status, answer.data
    assert answer.headers.getlist("Content-Type") == ["application/json"]
    assert answer.data.isascii()
    assert float(answer.headers["X-DataRobot-Execution-Time"]) >= 0
    assert len(answer.headers["X-DataRobot-Request-ID"]) == 32
    assert "X-DataRobot-Model-Id" not in answer.headers
    body = json.loads(answer.data)
    assert list(body) == ["message"]
    return body["message"]


def basic(name, token):
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
@pytest.mark.parametrize(
    "header",
    ["", "Bearer wrong", "Token wrong", basic("ann@example.com", "wrong"), "?"],
)
def test_invalid_token(predict, layout, header):
    answer = predict("churn", CSV, headers={"Authorization": header}, layout=layout)
    assert refusal(answer, 401) == "Invalid API token"


def test_token_of_another_user_by_basic(predict, site):
    header = basic("bob", site.tokens["ann@example.com"])
    answer = predict("churn", CSV, headers={"Authorization": header})
    assert refusal(answer, 401) == "Invalid API token"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "Basic"])
def test_scheme_without_credentials(predict, scheme):
    answer = predict("churn", CSV, headers={"Authorization": scheme})
    text = "Invalid Authorization header. No credentials provided."
    assert refusal(answer, 401) == text


def test_each_scheme_is_let_in(predict, site):
    token = site.tokens["ann@example.com"]
    for header in (
        f"Bearer {token}",
        f"bearer {token}",
        f"Token {token}",
        f"token {token}",
        basic("ann@example.com", token),
        basic("ann@example.com", token).replace("Basic", "BASIC"),
    ):
        answer = predict("churn", CSV, headers={"Authorization": header})
        assert answer.status_code == 200, header


@pytest.mark.parametrize("key", ["", "wrong", "schlüssel"])
def test_datarobot_key(serve, key):
    predict = serve(datarobot_key="DR-key-1")
    answer = predict("churn", CSV, headers={"datarobot-key": key})
    assert refusal(answer, 401) == "The datarobot-key header is missing"


@pytest.mark.parametrize("name", ["datarobot-key", "DataRobot-Key", "Datarobot-key"])
def test_datarobot_key_is_let_in(serve, name):
    predict = serve(datarobot_key="DR-key-1")
    assert predict("churn", CSV, headers={name: "DR-key-1"}).status_code == 200


def test_datarobot_key_is_for_the_legacy_layout_only(serve, predict):
    assert (
        serve(datarobot_key="k")("churn", CSV, layout="serverless").status_code == 200
    )
    assert predict("churn", CSV).status_code == 200
    answer = predict("churn", CSV, headers={"datarobot-key": "any"})
    assert answer.status_code == 200


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
@pytest.mark.parametrize("unknown", [UNKNOWN, "nonsense", "ABCDEF" * 4, "ü", "a%00b"])
def test_unknown_deployment(predict, site, layout, unknown):
    answer = predict(unknown, CSV, layout=layout)
    shown = unknown.replace("%00", "\0")
    user = site.users["ann@example.com"]
    expected = f"Deployment {shown} cannot be found for user {user}"
    assert refusal(answer, 404) == expected


def test_deployment_of_another_user(predict, site):
    header = {"Authorization": f"Bearer {site.tokens['bob']}"}
    churn = site.deployments["churn"]
    expected = f"Deployment {churn} cannot be found for user {site.users['bob']}"
    assert refusal(predict("churn", CSV, headers=header), 404) == expected


def test_deployment_is_open_to_admins(predict, site):
    header = {"Authorization": f"Bearer {site.tokens['root']}"}
    assert predict("churn", CSV, headers=header).status_code == 200


def test_deleted_deployment(predict, services):
    deleted = predict.deploy("churn")
    assert predict(deleted, CSV).status_code == 200
    services.store.delete_deployment(deleted)
    services.refresh()
    message = refusal(predict(deleted, CSV), 404)
    assert message.startswith(f"Deployment {deleted} cannot be found for user ")


@pytest.mark.parametrize(
    "query",
    [
        "maxExplanations=3",
        "maxCodes=1",
        "maxExplanations=all&explanationAlgorithm=shap",
    ],
)
def test_unknown_deployment_for_explanations(predict, query):
    assert refusal(predict(UNKNOWN, CSV, query=query), 404) == "Not found"
    assert refusal(predict("nonsense", CSV, query=query), 404) == "Bad request"


def test_unknown_deployment_with_no_explanations_asked_for(predict):
    message = refusal(predict(UNKNOWN, CSV, query="maxExplanations=0"), 404)
    assert message.startswith(f"Deployment {UNKNOWN} cannot be found for user ")


def test_external_deployment(predict):
    assert refusal(predict("external", CSV), 400) == "Bad request"


def test_disabled_deployment(predict):
    expected = "The deployment you are trying to predict on is not active."
    assert refusal(predict("disabled", CSV), 422) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/predApi/v1.0/deployments/{}",
        "/predApi/v1.0/deployments/{}/predict",
        "/predApi/v1.0/predictions",
        "/predApi/v2.0/deployments/{}/predictions",
        "/api/v2/deployments/{}/predictions/more",
        "/api/v1/deployments/{}/predictions",
        "/favicon.ico",
        "/",
    ],
)
def test_unknown_url(client, site, path):
    answer = client.post(path.format(site.deployments["churn"]), data=CSV)
    assert refusal(answer, 404) == UNKNOWN_URL


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("layout", ["/predApi/v1.0", "/api/v2"])
def test_other_methods(client, site, method, layout):
    path = f"{layout}/deployments/{site.deployments['churn']}/predictions"
    answer = client.open(path, method=method)
    assert refusal(answer, 405) == "The method is not allowed for the requested URL."
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_options_and_slashes_are_let_in(client, predict, site):
    churn = site.deployments["churn"]
    path = f"/predApi/v1.0/deployments/{churn}/predictions"
    assert client.options(path).status_code == 200
    header = {"Authorization": f"Bearer {site.tokens['ann@example.com']}"}
    for spelled in (f"{path}/", f"/{path}", path.replace("/", "//"), f"{path}//"):
        # A test client takes a path that begins with two slashes for a host.
        environ = {"PATH_INFO": spelled}
        answer = client.post(path, data=CSV, headers=header, environ_overrides=environ)
        assert answer.status_code == 200, spelled


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*"])
def test_unacceptable_answer(predict, accept):
    answer = predict("churn", CSV, headers={"Accept": accept})
    expected = "Accept must allow application/json or text/csv"
    assert refusal(answer, 406) == expected


@pytest.mark.parametrize(
    "kind", ["image/png", "application/pdf", "application/x-parquet"]
)
def test_unsupported_content_type(predict, kind):
    message = refusal(predict("churn", CSV, kind), 415)
    assert message.startswith(f"Content-Type '{kind}' is not supported")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_unsupported_content_encoding(predict, encoding):
    answer = predict("churn", CSV, headers={"Content-Encoding": encoding})
    message = refusal(answer, 415)
    assert message.startswith(f"Content-Encoding '{encoding}' is not supported")


def test_unsupported_charset(predict):
    message = refusal(predict("churn", CSV, "text/csv; charset=klingon"), 415)
    assert message == "charset 'klingon' is not supported"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("wd=1", "'wd': wd is not allowed key"),
        ("wd=1&wd=2", "'wd': wd is not allowed key"),
        (
            "decimalsNumber=1&decimalsNumber=2",
            "'decimalsNumber': value is given more than once",
        ),
        ("decimalsnumber=1", "'decimalsnumber': decimalsnumber is not allowed key"),
        ("passthroughColumns=", "'passthroughColumns': blank value is not allowed"),
        (
            "passthroughColumns=plan&passthroughColumns=",
            "'passthroughColumns': blank value is not allowed",
        ),
        (
            "passthroughColumnsSet=",
            "'passthroughColumnsSet': value is not exactly 'all'",
        ),
        (
            "passthroughColumnsSet=ALL",
            "'passthroughColumnsSet': value is not exactly 'all'",
        ),
        (
            "passthroughColumns=plan&passthroughColumnsSet=all",
            "'passthroughColumns': passthroughColumns and passthroughColumnsSet are"
            " mutually exclusive",
        ),
        (
            "predictionWarningEnabled=perhaps",
            "'predictionWarningEnabled': value can't be converted to Bool",
        ),
        (
            "predictionWarningEnabled=",
            "'predictionWarningEnabled': value can't be converted to Bool",
        ),
        (
            "predictionWarningEnabled=f",
            "'predictionWarningEnabled': value can't be converted to Bool",
        ),
        ("decimalsNumber=three", "'decimalsNumber': value can't be converted to int"),
        ("decimalsNumber=", "'decimalsNumber': value can't be converted to int"),
        ("decimalsNumber=1.5", "'decimalsNumber': value can't be converted to int"),
        ("decimalsNumber=-1", "'decimalsNumber': value is less than 0"),
        ("maxCodes=a", "{'max_codes': DataError(value can't be converted to int)}"),
        (
            "maxExplanations=2.5",
            "{'max_codes': DataError(value can't be converted to int)}",
        ),
        (
            "maxExplanations=all",
            "{'max_codes': DataError(value can't be converted to int)}",
        ),
        ("maxExplanations=-1", "{'max_codes': DataError(value is less than 0)}"),
        (
            "thresholdHigh=x",
            "{'threshold_high': DataError(value can't be converted to float)}",
        ),
        (
            "thresholdLow=",
            "{'threshold_low': DataError(value can't be converted to float)}",
        ),
        (
            "excludeAdjustedPredictions=2",
            "{'exclude_adjusted_predictions':"
            " DataError(value can't be converted to Bool)}",
        ),
        (
            "explanationAlgorithm=lime",
            "{'explanation_algorithm': DataError(value doesn't match any variant)}",
        ),
        (
            "explanationNumTopClasses=0",
            "{'explanation_num_top_classes': DataError(value is less than 1)}",
        ),
        (
            "explanationNumTopClasses=11",
            "{'explanation_num_top_classes': DataError(value is greater than 10)}",
        ),
        (
            "relaxKnownInAdvanceFeaturesCheck=x",
            {"relaxKnownInAdvanceFeaturesCheck": "value can't be converted to Bool"},
        ),
        (
            "forecastPoint=2020-01-01",
            "Predictions on models that are not time series models are not supported on"
            " this endpoint. Please use the predict endpoint instead.",
        ),
        (
            "explanationNumTopClasses=1",
            "{'explanation_num_top_classes':"
            " DataError(the model is binary, not multiclass)}",
        ),
        (
            "maxExplanations=1&explanationClassNames=Yes",
            "{'explanation_class_names':"
            " DataError(the model is binary, not multiclass)}",
        ),
        *(
            (
                f"maxExplanations=1&thresholdLow={text}",
                "{'threshold_low': DataError(value can't be converted to float)}",
            )
            for text in ("nan", "inf", "-Infinity", "1e999", "low")
        ),
    ],
)
def test_refused_query(predict, client, site, query, message):
    assert refusal(predict("churn", CSV, query=query), 422) == message
    assert refusal(predict("churn", CSV, query=query, layout="serverless"), 422) == (
        message
    )
    for path in older_paths(site.deployments["churn"], predict):
        assert refusal(older(client, site, f"{path}?{query}"), 422) == message


def older_paths(deployment, predict):
    """The older addresses of a deployment."""
    model = predict.services.store.deployment(deployment).model_id
    yield f"deployments/{deployment}/predictionExplanations"
    for name in ("predict", "predictionExplanations", "reasonCodesPredictions"):
        yield f"{deployment}/{model}/{name}"


def older(client, site, path, **headers):
    """The answer of an older address, to ann."""
    token = site.tokens["ann@example.com"]
    return client.post(
        f"/predApi/v1.0/{path}",
        data=CSV,
        content_type="text/csv",
        headers={"Authorization": f"Bearer {token}", **headers},
    )


MULTICLASS = "Multiclass models cannot be used for Prediction Explanations"
EXPLAINED_ROUTES = ("predictionExplanations", "reasonCodesPredictions")


@pytest.mark.parametrize("layout", ["legacy", "serverless"])
@pytest.mark.parametrize("name", ["plan", "onnx-iris"])
def test_shap_of_a_multiclass_model(predict, name, layout):
    query = "explanationAlgorithm=shap&maxExplanations=2"
    assert refusal(predict(name, CSV, query=query, layout=layout), 422) == MULTICLASS


def test_multiclass_model_on_the_older_routes(client, site, predict):
    for path in older_paths(site.deployments["plan"], predict):
        for query in ("", "?maxExplanations=1"):
            answer = older(client, site, path + query)
            if path.endswith(EXPLAINED_ROUTES):
                assert refusal(answer, 422) == MULTICLASS
            else:
                assert answer.status_code == 200


def test_bundle_without_exemplars(predict, client, site):
    expected = "Prediction Explanations are not initialized for the model"
    for layout in ("legacy", "serverless"):
        answer = predict("onnx-risk", CSV, query="maxExplanations=1", layout=layout)
        assert refusal(answer, 422) == expected
    for path in older_paths(site.deployments["onnx-risk"], predict):
        if path.endswith(EXPLAINED_ROUTES):
            assert refusal(older(client, site, path), 422) == expected


def test_unknown_class_is_named(predict):
    query = {"maxExplanations": 1, "explanationClassNames": ["S", "größte"]}
    assert refusal(predict("plan", CSV, query=query), 422) == (
        "{'explanation_class_names': DataError(the model has no class named 'größte')}"
    )


def test_words_of_texts_are_not_explained(predict):
    body = b"colour,width,pieces\nred,1,1\n"
    query = "maxExplanations=1&maxNgramExplanations=2"
    assert refusal(predict("onnx-parcel", body, query=query), 422) == (
        "{'max_ngram_explanations':"
        " DataError(the words of a text are not explained one by one)}"
    )
    assert predict("churn", CSV, query=query).status_code == 200


@pytest.mark.parametrize("query", ["maxExplanations=2", "explanationAlgorithm=shap"])
def test_explanations_over_their_time(serve, query):
    predict = serve(explanation_seconds=1e-9)
    body = b"sepal length,sepal width,p\xc3\xa9tale\n" + b"1,2,3\n" * 20
    assert refusal(predict("onnx-price", body, query=query), 422) == (
        "The rows cannot be explained in the time that explanations may take:"
        " send fewer rows at once"
    )
    assert predict("onnx-price", body).status_code == 200


@pytest.mark.parametrize("name", EXPLAINED_ROUTES)
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((UNKNOWN, UNKNOWN), "Not found"),
        (("nonsense", UNKNOWN), "Bad request"),
        ((UNKNOWN, "ABCDEF" * 4), "Bad request"),
    ],
)
def test_project_and_model_that_nothing_has(client, site, name, ids, message):
    for route in (name, "predict"):
        answer = older(client, site, f"{'/'.join(ids)}/{route}")
        assert refusal(answer, 404) == message


def test_unknown_deployment_on_the_older_route(client, site):
    for unknown, message in ((UNKNOWN, "Not found"), ("nonsense", "Bad request")):
        for query in ("", "?maxExplanations=0"):
            path = f"deployments/{unknown}/predictionExplanations{query}"
            assert refusal(older(client, site, path), 404) == message


def test_project_of_another_user(client, site, predict):
    header = {"Authorization": f"Bearer {site.tokens['bob']}"}
    for path in older_paths(site.deployments["churn"], predict):
        assert refusal(older(client, site, path, **header), 404) == "Not found"


def test_oldest_deployment_of_a_project_answers(client, site, predict):
    ids = {"project_id": "7" * 24, "project_model_id": "8" * 24}
    threshold = {0.125: "first", 0.25: "second"}
    made = [predict.deploy("churn", threshold=each, **ids) for each in threshold]
    answer = older(client, site, f"{'7' * 24}/{'8' * 24}/predict")
    assert json.loads(answer.data)["data"][0]["predictionThreshold"] == 0.125
    # Under its own ids it is not found any more.
    model = predict.services.store.deployment(made[0]).model_id
    answer = older(client, site, f"{made[0]}/{model}/predict")
    assert refusal(answer, 404) == "Not found"


def test_older_routes_want_the_key_and_a_token(serve, site):
    predict = serve(datarobot_key="DR-key-1")
    for path in older_paths(site.deployments["churn"], predict):
        answer = older(predict.client, site, path)
        assert refusal(answer, 401) == "The datarobot-key header is missing"
        headers = {"datarobot-key": "DR-key-1", "Authorization": "Bearer wrong"}
        answer = older(predict.client, site, path, **headers)
        assert refusal(answer, 401) == "Invalid API token"
        answer = older(predict.client, site, path, **{"datarobot-key": "DR-key-1"})
        assert answer.status_code == 200


def test_external_and_disabled_deployments_on_the_older_route(client, site):
    for name, status, message in (
        ("external", 400, "Bad request"),
        ("disabled", 422, "The deployment you are trying to predict on is not active."),
    ):
        path = f"deployments/{site.deployments[name]}/predictionExplanations"
        assert refusal(older(client, site, path), status) == message


def test_query_that_is_not_utf8(client, predict, site):
    header = {"Authorization": f"Bearer {site.tokens['ann@example.com']}"}
    for query in ("w\xe4=1", "w%E4=1"):
        answer = client.post(
            f"/api/v2/deployments/{site.deployments['churn']}/predictions",
            data=CSV,
            headers=header,
            environ_overrides={"QUERY_STRING": query},
        )
        assert refusal(answer, 422) == "'w\ufffd': w\ufffd is not allowed key"


@pytest.mark.parametrize("given", ["", "tomorrow", "2020-13-01T00:00:00Z"])
def test_malformed_date(predict, given):
    for name in ("forecastPoint", "predictionsStartDate", "predictionsEndDate"):
        answer = predict("churn", CSV, query={name: given})
        expected = {name: f"Invalid RFC 3339 datetime string: {given}"}
        assert refusal(answer, 400) == expected


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["Name"], "u'Name'"),
        (["Name", "plan", "Sex"], "u'Name', u'Sex'"),
        (["größe"], r"u'gr\xf6\xdfe'"),
        (["it's"], 'u"it\'s"'),
    ],
)
def test_unknown_passthrough_column(predict, names, listed):
    answer = predict("churn", CSV, query={"passthroughColumns": names})
    assert refusal(answer, 400) == (
        "passthroughColumns do not match columns, columns expected but not found:"
        f" [{listed}]"
    )


def test_passthrough_column_named_like_an_output(predict):
    body = CSV.replace(b"senior\n", b"senior,THRESHOLD\n").replace(b"ue\n", b"ue,1\n")
    body = body.replace(b"False\n", b"False,1\n")
    asked = {"query": "passthroughColumns=THRESHOLD"}
    answer = predict("churn", body, headers={"Accept": "text/csv"}, **asked)
    assert refusal(answer, 422) == (
        "'passthroughColumns': the answer itself has columns named 'THRESHOLD'"
    )
    assert predict("churn", body, **asked).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "text/csv"),
        (b"", None),
        (b"", "application/json"),
        (b" \r\n\n", "text/csv"),
        (b"\xef\xbb\xbf", "text/csv"),
        (CSV.splitlines()[0], "text/plain"),
        (CSV.splitlines()[0] + b"\r\n\r\n", "text/csv"),
        (b"a,b", "text/csv"),
        (b"[]", "application/json"),
    ],
)
def test_no_data(predict, body, kind):
    assert refusal(predict("churn", body, kind), 422) == "No data to predict on"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[{]", "application/json"),
        (b'[{"a": 1}, 2]', "application/json"),
        (b"[1, 2]", "application/json"),
        (b"[[1, 2]]", "application/json"),
        (b'"text"', "application/json"),
        (b"12", "application/json"),
        (b"null", "application/json"),
        (b"a,b\n1,2\n", "application/json"),
        (b'{"data": [{"tenure": 1}]}', "application/json"),
        (b'{"tenure": {"0": 1, "1": 2}}', "application/json"),
        (b'{"tenure": 1}\n{"tenure": 2}', "application/json"),
        (CSV + b'"1,2\n', "text/csv"),
        (b'"tenure,plan\n1,2\n', "text/csv"),
        (CSV + b"1,2\n", "text/csv"),
        (CSV + b"1,2,3,4,5,6,7\n", "text/csv"),
        (b"tenure\xff,plan\n1,2\n", "text/csv"),
        (b"tenure,plan\n1\xe9,2\n", "text/csv; charset=utf-8"),
        (b"tenure,plan\n1,2\n", "multipart/form-data"),
        (b"tenure,plan\n1,2\n", "multipart/form-data; boundary=x"),
    ],
)
def test_unreadable_body(predict, body, kind):
    message = refusal(predict("churn", body, kind), 400)
    assert isinstance(message, str)
    assert message


def test_json_that_is_no_array_of_rows_is_told_the_form(predict):
    for body in (b'{"data": [{"tenure": 1}]}', b"[1]", b"3"):
        message = refusal(predict("churn", body, "application/json"), 400)
        assert "array of row objects" in message


@pytest.mark.parametrize("encoding", ["gzip", "bz2"])
def test_damaged_compression(predict, encoding):
    answer = predict("churn", b"not compressed", headers={"Content-Encoding": encoding})
    assert refusal(answer, 400) == "The compressed body is damaged"


def test_columns_that_the_model_takes_are_missing(predict):
    body = b"tenure,contract,region,plan\n1,,,2\n"
    expected = "columns that the model takes are not in the data: 'monthly charge',"
    expected += " 'senior'"
    assert refusal(predict("churn", body), 422) == expected
    records = json.dumps([{"tenure": 1, "contract": "", "region": "", "plan": 2}])
    assert refusal(predict("churn", records, "application/json"), 422) == expected


def test_duplicate_column(predict):
    body = CSV.replace(b"region", b"tenure")
    message = refusal(predict("churn", body), 422)
    assert "'tenure'" in message


def test_text_in_a_numeric_column(predict):
    body = CSV.replace(b"18.25", b"cheap")
    expected = "column 'monthly charge', row 1: a number is expected, not 'cheap'"
    assert refusal(predict("churn", body), 422) == expected


def test_unknown_category_where_it_is_refused(predict):
    body = CSV.replace(b"One year", b"Ten years")
    assert predict("churn", body).status_code == 200
    strict = predict.deploy("churn", unknown_categories="error")
    expected = "column 'contract', row 0: a known level is expected, not 'Ten years'"
    assert refusal(predict(strict, body), 422) == expected


@pytest.mark.parametrize("value", ["[1]", '{"a": 1}'])
def test_array_or_object_in_a_cell(predict, value):
    row = '{{"tenure": {}, "monthly charge": 1, "contract": "", "region": "", '
    row += '"plan": 1, "senior": true}}'
    answer = predict("churn", f"[{row.format(value)}]", "application/json")
    message = refusal(answer, 422)
    assert message.startswith("column 'tenure', row 0: a number is expected, not an ")


def test_prediction_that_is_not_finite_names_the_row(predict):
    rows = b"0,0,0\n1,1,1\n1e38,1e38,-1e38\n3e38,-3e38,3e38\n"
    body = "sepal length,sepal width,pétale\n".encode() + rows
    expected = "row 3: the model's prediction is not a finite number"
    assert refusal(predict("onnx-price", body), 422) == expected


def test_body_over_the_limit(serve):
    predict = serve(max_body=1000)
    small = CSV + b",1,,,3,False\n" * 30
    assert predict("churn", small).status_code == 200
    for answer in (
        predict("churn", CSV + b",1,,,3,False\n" * 80),
        predict("churn", io.BytesIO(CSV + b",1,,,3,False\n" * 80)),
    ):
        assert refusal(answer, 413) == "The body is larger than 1000 bytes"


def test_inflated_body_over_the_limit(serve):
    predict = serve(max_body=1000)
    packed = gzip.compress(CSV + b",1,,,3,False\n" * 1000)
    answer = predict("churn", packed, headers={"Content-Encoding": "gzip"})
    assert len(packed) < 1000
    assert refusal(answer, 413) == "The body is larger than 1000 bytes"


def test_rows_and_columns_over_the_limit(serve):
    predict = serve(max_rows=3, max_columns=6)
    assert predict("churn", CSV + b",1,,,3,False\n").status_code == 200
    answer = predict("churn", CSV + b",1,,,3,False\n" * 2)
    assert refusal(answer, 413) == "The body has more than 3 rows"
    wide = b"a,tenure,monthly charge,contract,region,plan,senior\n0,1,1,,,1,True\n"
    answer = predict("churn", wide)
    assert refusal(answer, 413) == "The body has more than 6 columns"


def test_explanations_over_the_limit(serve):
    predict = serve(max_explanations=6)
    assert predict("churn", CSV, query="maxExplanations=3").status_code == 200
    answer = predict("churn", CSV + b",1,,,3,False\n", query="maxExplanations=3")
    assert refusal(answer, 413) == (
        "The answer has room for the explanations of 2 rows: send fewer rows at once,"
        " or ask for fewer explanations"
    )


def test_server_without_a_free_place(serve):
    predict = serve(max_in_flight=1, workers=1)
    with predict.services.admission:
        answer = predict("churn", CSV)
    assert refusal(answer, 503) == "The server is busy; try again shortly"
    assert int(answer.headers["Retry-After"]) >= 1
    assert predict("churn", CSV).status_code == 200


def test_request_over_its_time(serve):
    predict = serve(request_seconds=0.05, bulk_body=10)
    with predict.services.admission.bulk(time.monotonic() + 1):
        answer = predict("churn", CSV)
    expected = "The request took longer than the server allows"
    assert refusal(answer, 504) == expected


def test_body_over_its_time(serve):
    answer = serve(request_seconds=1e-9)("churn", CSV)
    assert refusal(answer, 408) == "The request's body did not arrive in time"


def test_model_that_is_no_bundle(serve, tmp_path):
    predict = serve()
    predict.services.models._path = lambda model_id: tmp_path
    answer = predict("churn", CSV)
    assert refusal(answer, 503) == "The deployment's model cannot be loaded"


def test_model_whose_bundle_is_gone(serve, tmp_path):
    predict = serve()
    predict.services.models._path = Bundles(tmp_path).path
    answer = predict("churn", CSV)
    assert refusal(answer, 503) == "The deployment's model cannot be loaded"


def test_documented_texts_are_quoted_exactly():
    if not CONTRACT.is_file():
        pytest.skip("the contract's page is not on this machine")
    page = CONTRACT.read_text(encoding="utf-8")
    for text in (
        "Invalid API token",
        "Invalid Authorization header. No credentials provided.",
        "The datarobot-key header is missing",
        "passthroughColumns do not match columns, columns expected but not found:"
        " [u'Name']",
        "'wd': wd is not allowed key",
        "'passthroughColumns': blank value is not allowed",
        "'passthroughColumnsSet': value is not exactly 'all'",
        "No data to predict on",
        UNKNOWN_URL,
        "Not found",
        "Bad request",
        "{'max_codes': DataError(value can't be converted to int)}",
        "{'threshold_high': DataError(value can't be converted to float)}",
        "{'exclude_adjusted_predictions': DataError(value can't be converted to Bool)}",
        "'predictionWarningEnabled': value can't be converted to Bool",
        "Predictions on models that are not time series models are not supported on"
        " this endpoint. Please use the predict endpoint instead.",
        "The deployment you are trying to predict on is not active.",
        "Multiclass models cannot be used for Prediction Explanations",
        "Humility ReturnError action triggered.",
    ):
        assert f"`{text}`" in page, text
    assert '"Prediction Explanations are not initialized for the model"' in page
