"""Batch jobs over HTTP: made, uploaded to, looked at, downloaded, ended."""

import gzip
import io
from datetime import UTC, datetime, timedelta

import pytest

from app.batch.transfers import Transfers
from app.blueprints import batch
from app.store.errors import UnknownJob
from app.store.jobs import Jobs

PATH = "/api/v2/batchPredictions/"
CSV = {"Content-Type": "text/csv"}
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Batch:
    """Speaks of batch jobs as one user."""

    def __init__(self, predict, token):
        self.predict = predict
        self.token = token
        self.services = predict.services

    def ask(self, method, path, **given):
        headers = {"Authorization": f"Bearer {self.token}"}
        headers |= given.pop("headers", {})
        return self.predict.client.open(path, method=method, headers=headers, **given)

    def create(self, deployment="churn", **more):
        deployment_id = self.predict.site.deployments.get(deployment, deployment)
        return self.ask("POST", PATH, json={"deploymentId": deployment_id, **more})

    def job(self, deployment="churn", **more):
        answer = self.create(deployment, **more)
        assert answer.status_code == 202, answer.json
        return answer.json["id"]

    def put(self, job_id, body, below="csvUpload/", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"{PATH}{job_id}/{below}"
        return self.ask("PUT", path, data=body, headers=CSV | headers)

    def status(self, job_id):
        return self.ask("GET", f"{PATH}{job_id}/").json

    def done(self, job_id, *parts, **changes):
        """Have it scored, as a runner would."""
        job = self.services.jobs.get(job_id)
        for number, part in enumerate(parts):
            self.services.files.write(job.part_path(number), part)
        changes = {"parts_done": len(parts), **changes}
        return self.services.jobs.change(job_id, changes, "changed")


@pytest.fixture
def jobs(predict, monkeypatch):
    """Ann's; nothing runs them."""
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    predict.services.refresh()
    return Batch(predict, predict.site.tokens["ann@example.com"])


def rows(specimens, count=3):
    frame = specimens["churn"].frame[:count]
    return frame.to_csv(index=False).encode()


def errors(answer):
    assert (answer.status_code, answer.content_type) == (422, "application/json")
    assert answer.json["message"] == "Invalid field data"
    return answer.json["errors"]


# Made


def test_new_job_is_told_with_every_field(jobs):
    answer = jobs.create()
    job, base = answer.json, f"http://localhost{PATH}{answer.json['id']}/"
    assert answer.status_code == 202
    assert answer.headers["Location"] == base
    assert answer.headers["Location"].split("/")[-2] == job["id"]
    assert job["links"] == {"self": base, "csvUpload": f"{base}csvUpload/"}
    assert job["status"] == "INITIALIZING" and job["percentageCompleted"] == 0.0
    assert type(job["elapsedTimeSec"]) is int
    assert job["statusDetails"].startswith("Job created by ann@example.com at 20")
    assert job["logs"] == [job["statusDetails"]]
    assert job["createdBy"] == {
        "userId": jobs.predict.site.users["ann@example.com"],
        "username": "ann@example.com",
        "fullName": "ann@example.com",
    }
    assert job["created"].endswith("Z") and len(job["created"]) == 27
    counts = [job[name] for name in ("scoredRows", "failedRows", "skippedRows")]
    assert counts == [0, 0, 0] and job["queued"] is True
    assert type(job["queuePosition"]) is int
    assert "jobIntakeSize" not in job and "jobOutputSize" not in job


def test_spec_is_told_with_its_defaults(jobs):
    spec = jobs.create().json["jobSpec"]
    told = {
        "maxExplanations": 0,
        "intakeSettings": {"type": "localFile"},
        "outputSettings": {"type": "localFile"},
        "csvSettings": {"delimiter": ",", "quotechar": '"', "encoding": "utf-8"},
        "chunkSize": "auto",
        "abortOnError": True,
        "skipDriftTracking": False,
        "includeProbabilities": True,
        "includePredictionStatus": False,
        "includeProbabilitiesClasses": [],
        "disableRowLevelErrorHandling": False,
        "redactedFields": [],
    }
    assert told.items() <= spec.items()
    assert spec["numConcurrent"] >= 1 and None not in spec.values()


@pytest.mark.parametrize(
    ("agent", "source"),
    [("DataRobotPythonClient/3.20.0 (Linux)", "api_client_python"), ("curl/8", "api")],
)
def test_source_is_the_client(jobs, agent, source):
    body = {"deploymentId": jobs.predict.site.deployments["churn"]}
    answer = jobs.ask("POST", PATH, json=body, headers={"User-Agent": agent})
    assert answer.json["source"] == source


def test_secrets_of_the_prediction_instance_are_not_kept(jobs):
    answer = jobs.create(predictionInstance={"hostName": "h", "datarobotKey": "hush"})
    assert answer.status_code == 202 and b"hush" not in answer.data


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("wd", 1, "wd is not allowed key"),
        ("maxExplanations", -1, "value is less than 0"),
        ("maxExplanations", "x", "value can't be converted to int"),
        ("maxExplanations", "all", "value can't be converted to int"),
        ("abortOnError", "perhaps", "value can't be converted to Bool"),
        ("thresholdHigh", "x", "value can't be converted to float"),
        ("predictionThreshold", 2, "value is greater than 1"),
        ("passthroughColumns", "a", "value is not a list"),
        ("passthroughColumns", [""], {"0": "blank value is not allowed"}),
        ("passthroughColumnsSet", "some", "value is not exactly 'all'"),
        ("explanationAlgorithm", "lime", "value doesn't match any variant"),
        ("chunkSize", "huge", "value can't be converted to int"),
        (
            "csvSettings",
            {"delimiter": ";;"},
            {"delimiter": "value is not one character"},
        ),
        ("intakeSettings", {"type": "x"}, {"type": "value doesn't match any variant"}),
        (
            "intakeSettings",
            {"type": "jdbc"},
            {"type": "jdbc is not supported by this server"},
        ),
        ("secondaryDatasetsConfigId", "x", "is not supported by this server"),
        (
            "columnNamesRemapping",
            [
                {"inputName": "outcome_PREDICTION", "outputName": name}
                for name in ("one", "two")
            ],
            "inputName 'outcome_PREDICTION' is given more than once",
        ),
        ("modelId", "x", "is not supported by this server"),
        ("explanationNumTopClasses", 2, "the model is binary, not multiclass"),
        ("includeProbabilitiesClasses", ["no"], "the model has no class named 'no'"),
        (
            "timeseriesSettings",
            {"type": "historical"},
            "the model is no time series model",
        ),
    ],
)
def test_wrong_field_is_refused_by_its_name(jobs, field, value, expected):
    assert errors(jobs.create(**{field: value})) == {field: expected}


def test_unknown_encoding_is_refused(jobs):
    told = errors(jobs.create(csvSettings={"encoding": "klingon"}))
    assert "klingon" in told["csvSettings"]["encoding"]


def test_deployment_is_required(jobs):
    assert errors(jobs.ask("POST", PATH, json={})) == {"deploymentId": "is required"}


def test_columns_of_one_name_are_refused(jobs):
    told = errors(jobs.create(passthroughColumns=["THRESHOLD"]))
    assert "'THRESHOLD'" in told["passthroughColumns"]


def test_new_name_of_no_column_is_refused(jobs):
    told = errors(jobs.create(columnNamesRemapping={"nothing": "x"}))
    assert "'nothing'" in told["columnNamesRemapping"]


def test_disabled_deployment_is_refused(jobs):
    answer = jobs.create("disabled")
    assert answer.status_code == 422
    text = "The deployment you are trying to predict on is not active."
    assert answer.json == {"message": text}


def test_unknown_deployment_is_not_found(jobs):
    answer = jobs.create("f" * 24)
    user = jobs.predict.site.users["ann@example.com"]
    text = f"Deployment {'f' * 24} cannot be found for user {user}"
    assert (answer.status_code, answer.json["message"]) == (404, text)


def test_deployment_of_others_is_not_found(jobs):
    bob = Batch(jobs.predict, jobs.predict.site.tokens["bob"])
    assert bob.create().status_code == 404


# Uploaded to


def test_upload_is_taken_and_queued(jobs, specimens):
    job_id = jobs.job()
    body = rows(specimens)
    answer = jobs.put(job_id, body)
    assert (answer.status_code, answer.json) == (202, {})
    job = jobs.services.jobs.get(job_id)
    assert (job.phase, job.status) == ("score", "INITIALIZING")
    assert jobs.services.files.read(job.input_path) == body
    assert job.intake_bytes == len(body) and job.runner is None
    assert "Submitted job to queue. At the time of submission" in job.logs[-1]


def test_upload_in_chunks_is_taken(jobs, specimens):
    job_id = jobs.job()
    body = rows(specimens)
    answer = jobs.ask(
        "PUT",
        f"{PATH}{job_id}/csvUpload/",
        environ_overrides={"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": ""},
        headers=CSV | {"Transfer-Encoding": "chunked"},
    )
    assert answer.status_code == 202
    job = jobs.services.jobs.get(job_id)
    assert jobs.services.files.read(job.input_path) == body


def test_compressed_upload_is_taken(jobs, specimens):
    job_id = jobs.job()
    body = rows(specimens)
    packed = gzip.compress(body[:50]) + gzip.compress(body[50:])
    assert jobs.put(job_id, packed, Content_Encoding="gzip").status_code == 202
    job = jobs.services.jobs.get(job_id)
    assert jobs.services.files.read(job.input_path) == body


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_upload_of_another_type_is_not_acceptable(jobs, content_type):
    job_id = jobs.job()
    answer = jobs.put(job_id, b"a\n1\n", Content_Type=content_type)
    assert answer.status_code == 406
    assert jobs.put(job_id, b"a\n1\n").status_code == 202


def test_second_upload_is_refused(jobs):
    job_id = jobs.job()
    assert jobs.put(job_id, b"a\n1\n").status_code == 202
    answer = jobs.put(job_id, b"a\n2\n")
    assert answer.status_code == 422
    assert answer.json == {"message": "The job has its input, and takes no other"}


def test_upload_during_another_is_refused(jobs):
    job_id = jobs.job()
    jobs.services.jobs.receive(job_id, "another", timedelta(minutes=1))
    assert jobs.put(job_id, b"a\n1\n").status_code == 422


@pytest.mark.parametrize("status", ["INITIALIZING", "RUNNING"])
def test_link_to_what_is_not_there_yet_is_told_late(jobs, status):
    job_id = jobs.job()
    jobs.services.jobs.receive(job_id, "another", timedelta(minutes=1))
    for seconds, is_told in ((5, False), (15, True)):
        then = datetime.now(UTC) - timedelta(seconds=seconds)
        jobs.done(job_id, status=status, created_at=then, started_at=then)
        assert ("download" in jobs.status(job_id)["links"]) is is_told


def test_upload_takes_over_from_one_that_died(jobs):
    job_id = jobs.job()
    jobs.services.jobs.receive(job_id, "another", timedelta(seconds=-1))
    assert jobs.put(job_id, b"a\n1\n").status_code == 202


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "No data to predict on"),
        (b"a,b\n", "No data to predict on"),
        (b"a\n\xff\n", "not valid UTF-8"),
        (b'a\n"1\n', "never closed"),
    ],
)
def test_input_that_is_none_is_refused_and_ends_the_job(jobs, body, reason):
    job_id = jobs.job()
    answer = jobs.put(job_id, body)
    assert answer.status_code == 422 and reason in answer.json["message"]
    job = jobs.status(job_id)
    assert job["status"] == "ABORTED" and reason in job["statusDetails"]


def test_upload_that_breaks_off_can_be_sent_again(jobs):
    job_id = jobs.job()
    answer = jobs.ask(
        "PUT",
        f"{PATH}{job_id}/csvUpload/",
        environ_overrides={"wsgi.input": io.BytesIO(b"a\n1"), "CONTENT_LENGTH": "9"},
        headers=CSV,
    )
    assert answer.status_code == 400
    job = jobs.services.jobs.get(job_id)
    assert job.phase == "upload" and not jobs.services.files.exists(job.input_path)
    assert jobs.put(job_id, b"a\n1\n").status_code == 202


def test_upload_over_the_limit_is_refused(serve, monkeypatch):
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    caller = serve(max_upload=10)
    small = Batch(caller, caller.site.tokens["ann@example.com"])
    assert small.put(small.job(), b"a\n1234567890\n").status_code == 413
    bomb = gzip.compress(b"a\n" + b"1\n" * 1000)
    assert small.put(small.job(), bomb, Content_Encoding="gzip").status_code == 413


def test_parts_over_the_limit_in_all_are_refused(serve, monkeypatch):
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    caller = serve(max_upload=10)
    small = Batch(caller, caller.site.tokens["ann@example.com"])
    job_id = small.job()
    for number in range(2):
        answer = small.put(job_id, b"a\n123456\n", f"csvUpload/part/{number}/")
        assert answer.status_code == 202
    answer = small.ask("POST", f"{PATH}{job_id}/csvUpload/finalizeMultipart/")
    assert answer.status_code == 413
    assert small.status(job_id)["status"] == "ABORTED"


def test_no_upload_is_taken_without_a_place_for_it(serve, monkeypatch):
    caller = serve()
    own = Batch(caller, caller.site.tokens["ann@example.com"])
    monkeypatch.setattr(own.services, "transfers", Transfers(0))
    answer = own.put(own.job(), b"a\n1\n")
    assert answer.status_code == 503 and answer.headers["Retry-After"]


@pytest.mark.parametrize("last", ["csvUpload/finalizeMultipart/", "finalizeMultipart/"])
def test_parts_are_joined_in_their_order(jobs, last):
    job_id = jobs.job()
    for number in (1, 0, 10, *range(2, 10)):
        body = f"a,b\r\n{number},x\r\n".encode()
        assert jobs.put(job_id, body, f"csvUpload/part/{number}/").status_code == 202
    answer = jobs.ask("POST", f"{PATH}{job_id}/{last}")
    assert answer.status_code == 202
    job = jobs.services.jobs.get(job_id)
    lines = jobs.services.files.read(job.input_path).split()
    assert lines == [b"a,b", *(f"{number},x".encode() for number in range(11))]


def test_part_that_clients_cut_off_is_refused(jobs):
    job_id = jobs.job()
    text = "a,b\r\n1,ü\r\n2,ü\r\n"
    answer = jobs.put(job_id, text.encode()[: len(text)], "csvUpload/part/0/")
    assert answer.status_code == 422
    assert jobs.put(job_id, text.encode(), "csvUpload/part/0/").status_code == 202


def test_part_that_comes_while_others_are_joined_is_not_said_to_be_taken(jobs):
    job_id = jobs.job()
    jobs.services.jobs.receive(job_id, "joining", timedelta(minutes=1))
    assert jobs.put(job_id, b"a\n1\n", "csvUpload/part/1/").status_code == 422


def test_part_sent_while_others_are_joined_is_among_them_or_refused(jobs, monkeypatch):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n", "csvUpload/part/0/")
    receive, answers = Jobs.receive, []

    def racing(*arguments):
        if not answers:
            answers.append(None)
            answers[0] = jobs.put(job_id, b"a\n2\n", "csvUpload/part/1/").status_code
        return receive(*arguments)

    monkeypatch.setattr(Jobs, "receive", racing)
    jobs.ask("POST", f"{PATH}{job_id}/csvUpload/finalizeMultipart/")
    job = jobs.services.jobs.get(job_id)
    assert answers == [202]
    assert jobs.services.files.read(job.input_path) == b"a\n1\n2\n"


@pytest.mark.parametrize(
    ("number", "status"), [("0000000001", 202), ("1000000000", 422), ("100000", 422)]
)
def test_part_has_the_number_that_is_said(jobs, number, status):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n", "csvUpload/part/0/")
    place = f"csvUpload/part/{number}/"
    assert jobs.put(job_id, b"a\n2\n", place).status_code == status
    files = jobs.services.files
    assert files.read(f"jobs/{job_id}/parts/000000") == b"a\n1\n"


def test_parts_that_are_refused_are_removed_at_once(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n", "csvUpload/part/0/")
    jobs.put(job_id, b"b\n1\n", "csvUpload/part/1/")
    assert jobs.ask("POST", f"{PATH}{job_id}/finalizeMultipart/").status_code == 422
    assert jobs.status(job_id)["status"] == "ABORTED"
    assert not jobs.services.files.names(f"jobs/{job_id}/parts")


def test_parts_beside_a_whole_input_are_removed_at_once(jobs, specimens):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n", "csvUpload/part/0/")
    assert jobs.put(job_id, rows(specimens)).status_code == 202
    assert not jobs.services.files.names(f"jobs/{job_id}/parts")
    assert jobs.services.files.names(f"jobs/{job_id}") == ["input.csv"]


@pytest.mark.parametrize("is_removed", [False, True])
def test_part_that_comes_when_the_job_has_ended_is_not_kept(
    jobs, monkeypatch, is_removed
):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n", "csvUpload/part/0/")
    get, seen = Jobs.get, []

    def ending(self, job_id):
        if len(seen) == 1:
            seen.append(None)
            for _ in range(1 + is_removed):
                jobs.ask("DELETE", f"{PATH}{job_id}/")
        seen.append(None)
        return get(self, job_id)

    monkeypatch.setattr(Jobs, "get", ending)
    answer = jobs.put(job_id, b"a\n2\n", "csvUpload/part/1/")
    monkeypatch.undo()
    assert answer.status_code == (404 if is_removed else 422)
    assert not jobs.services.files.names(f"jobs/{job_id}/parts")


def test_missing_part_is_named(jobs):
    job_id = jobs.job()
    for number in (0, 2):
        jobs.put(job_id, b"a\n1\n", f"csvUpload/part/{number}/")
    answer = jobs.ask("POST", f"{PATH}{job_id}/csvUpload/finalizeMultipart/")
    assert answer.json == {"message": "Part 1 was not sent"}


# Looked at


@pytest.mark.parametrize("slash", ["/", ""])
def test_status_is_told_with_and_without_a_slash(jobs, slash):
    job_id = jobs.job()
    answer = jobs.ask("GET", f"{PATH}{job_id}{slash}")
    assert answer.status_code == 200 and answer.json["id"] == job_id


def test_percentage_is_that_of_the_bytes_done(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1234567\n")
    jobs.done(job_id, b"x\n", status="RUNNING", next_offset=4, scored_rows=1)
    job = jobs.status(job_id)
    assert job["percentageCompleted"] == 40.0 and job["scoredRows"] == 1
    assert job["queuePosition"] is None and job["queued"] is False
    assert job["links"]["download"].endswith(f"{job_id}/download/")


def test_completed_job_tells_its_sizes(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    jobs.done(job_id, b"x\n1\n", status="COMPLETED", output_bytes=4, phase="done")
    job = jobs.status(job_id)
    assert job["percentageCompleted"] == 100.0
    assert (job["jobIntakeSize"], job["jobOutputSize"]) == (4, 4)


def test_job_of_others_is_not_found(jobs):
    job_id = jobs.job()
    bob = Batch(jobs.predict, jobs.predict.site.tokens["bob"])
    root = Batch(jobs.predict, jobs.predict.site.tokens["root"])
    answer = bob.ask("GET", f"{PATH}{job_id}/")
    text = f"Batch prediction job {job_id} cannot be found"
    assert (answer.status_code, answer.json) == (404, {"message": text})
    for method, below in (("PUT", "csvUpload/"), ("GET", "download/"), ("DELETE", "")):
        assert bob.ask(method, f"{PATH}{job_id}/{below}").status_code == 404
    assert root.status(job_id)["id"] == job_id


def test_list_is_filtered_by_every_status_given(jobs):
    made = [jobs.job("plan") for _ in range(3)]
    jobs.done(made[1], status="RUNNING")
    jobs.done(made[2], status="FAILED")
    own = jobs.predict.site.deployments["plan"]
    query = f"?status=RUNNING&status=FAILED&deploymentId={own}&limit=1"
    page = jobs.ask("GET", PATH + query).json
    assert (page["count"], page["totalCount"], page["previous"]) == (1, 2, None)
    assert page["data"][0]["id"] == made[2]
    assert page["next"].startswith(f"http://localhost{PATH}?status=RUNNING&status=")
    following = jobs.ask("GET", page["next"]).json
    assert [each["id"] for each in following["data"]] == [made[1]]
    assert following["next"] is None
    for job_id in made:
        jobs.ask("DELETE", f"{PATH}{job_id}/")


def test_list_is_ordered_as_asked(jobs):
    first, last = jobs.job("grade"), jobs.job("grade")
    own = jobs.predict.site.deployments["grade"]
    for order, expected in (("created", [first, last]), ("-created", [last, first])):
        page = jobs.ask("GET", f"{PATH}?deploymentId={own}&orderBy={order}").json
        assert [each["id"] for each in page["data"]] == expected


@pytest.mark.parametrize("query", ["status=x", "orderBy=x", "wd=1", "limit=0"])
def test_wrong_query_of_the_list_is_refused(jobs, query):
    assert list(errors(jobs.ask("GET", f"{PATH}?{query}"))) == [query.partition("=")[0]]


# Downloaded


def test_output_is_sent_part_after_part(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    jobs.done(job_id, b"x\n1\n", b"2\n", status="COMPLETED", phase="done")
    answer = jobs.ask(
        "GET", f"{PATH}{job_id}/download/", headers={"Accept-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.data) == (200, b"x\n1\n2\n")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


def test_download_follows_a_job_to_its_end(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    jobs.done(job_id, b"x\n1\n", status="RUNNING")
    answer = jobs.ask("GET", f"{PATH}{job_id}/download/", buffered=False)
    pieces = answer.iter_encoded()
    assert next(pieces) == b"x\n1\n"
    jobs.done(job_id, b"x\n1\n", b"2\n", status="COMPLETED", phase="done")
    assert list(pieces) == [b"2\n"]
    answer.close()


@pytest.mark.parametrize("status", ["ABORTED", "FAILED"])
def test_download_of_a_job_that_is_ended_breaks_off(jobs, status):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    jobs.done(job_id, b"x\n1\n", status="RUNNING")
    answer = jobs.ask("GET", f"{PATH}{job_id}/download/", buffered=False)
    pieces = answer.iter_encoded()
    assert next(pieces) == b"x\n1\n"
    jobs.done(job_id, b"x\n1\n", status=status)
    with pytest.raises(BrokenPipeError):
        next(pieces)
    answer.close()


def test_nothing_is_downloaded_before_it_is_there(jobs):
    job_id = jobs.job()
    answer = jobs.ask("GET", f"{PATH}{job_id}/download/")
    text = "The job's output is not available yet"
    assert (answer.status_code, answer.json) == (404, {"message": text})
    assert "download" not in jobs.status(job_id)["links"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 406), ("text/csv", 200), ("text/*;q=0.1", 200), ("*/*", 200)],
)
def test_download_is_csv_or_not_acceptable(jobs, accept, status):
    job_id = jobs.job()
    jobs.done(job_id, b"x\n", status="COMPLETED", phase="done")
    path = f"{PATH}{job_id}/download/"
    assert jobs.ask("GET", path, headers={"Accept": accept}).status_code == status


# Ended


def test_job_is_aborted_and_then_removed(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    answer = jobs.ask("DELETE", f"{PATH}{job_id}/")
    assert (answer.status_code, answer.json["status"]) == (202, "ABORTED")
    assert answer.json["statusDetails"].startswith("Job aborted by ann@example.com at")
    job = jobs.services.jobs.get(job_id)
    assert not jobs.services.files.exists(job.input_path)
    assert jobs.ask("DELETE", f"{PATH}{job_id}/").status_code == 204
    assert jobs.ask("DELETE", f"{PATH}{job_id}/").status_code == 404


def test_what_callers_do_to_jobs_is_in_the_audit(jobs):
    job_id = jobs.job(maxExplanations=2)
    root = Batch(jobs.predict, jobs.predict.site.tokens["root"])
    for status in (202, 204):
        answer = root.ask("DELETE", f"{PATH}{job_id}/")
        assert answer.status_code == status
    told = jobs.services.store.audit(job_id)
    assert [(each.action, each.actor, each.via) for each in told] == [
        ("delete", "root", "api"),
        ("update", "root", "api"),
        ("create", "ann@example.com", "api"),
    ]
    assert told[2].after["spec"]["maxExplanations"] == 2


def test_audit_tells_no_secrets_of_places(serve, monkeypatch):
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    caller = serve(batch_locations="https://127.0.0.1/")
    own = Batch(caller, caller.site.tokens["ann@example.com"])
    place = {"type": "http", "url": "https://127.0.0.1/x.csv?signature=s3cr3t"}
    job_id = own.job(intakeSettings=place, outputSettings=place)
    (told,) = own.services.store.audit(job_id)
    assert "s3cr3t" not in str(told)
    assert told.after["spec"]["intakeSettings"]["url"] == "https://127.0.0.1/x.csv"
    own.ask("DELETE", f"{PATH}{job_id}/")


def test_job_ended_after_its_runner_died_leaves_nothing_of_its_output(
    serve, monkeypatch, tmp_path
):
    monkeypatch.setattr(batch, "ensure_runner", lambda config: False)
    caller = serve(batch_locations=str(tmp_path))
    own = Batch(caller, caller.site.tokens["ann@example.com"])
    place = {"type": "filesystem", "path": str(tmp_path / "o.csv")}
    job_id = own.job(outputSettings=place)
    left = tmp_path / f".foretell-{job_id}-0.part"
    left.write_bytes(b"half")
    own.ask("DELETE", f"{PATH}{job_id}/")
    assert not left.exists()


def test_removed_job_leaves_no_files(jobs):
    job_id = jobs.job()
    jobs.put(job_id, b"a\n1\n")
    job = jobs.done(job_id, b"x\n", status="COMPLETED")
    assert jobs.ask("DELETE", f"{PATH}{job_id}/").status_code == 204
    assert not jobs.services.files.names(f"{job.folder}/output")
    with pytest.raises(UnknownJob):
        jobs.services.jobs.get(job_id)
