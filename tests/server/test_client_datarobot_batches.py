"""Batch jobs as DataRobot's Python client asks for them, on a running server."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from tests.api_client import api_at, message_of
from tests.server.batch_client import Aborted, Batches, read
from tests.server.processes import Server
from tests.server.served_models import FIRST, csv_body, frame

PREDICTIONS = [
    *("outcome_won_PREDICTION", "outcome_lost_PREDICTION", "outcome_PREDICTION"),
    *("THRESHOLD", "POSITIVE_CLASS"),
]


@pytest.fixture
def batches(server: Server) -> Batches:
    headers = {"User-Agent": "DataRobotPythonClient/3.20.0 (Linux)"}
    return Batches(api_at(server, headers=headers), FIRST)


def answered(server: Server, rows: pd.DataFrame, query: str = "") -> pd.DataFrame:
    """The same rows asked for at once."""
    return read(server.predict(FIRST, rows, query=query, Accept="text/csv").body)


def test_file_is_scored(batches: Batches, server: Server) -> None:
    rows = frame(300, seed=3)
    found = batches.scored(csv_body(rows))
    assert list(found.columns) == PREDICTIONS
    pd.testing.assert_frame_equal(found, answered(server, rows))


def test_data_frame_is_scored_with_its_index(batches: Batches, server: Server) -> None:
    rows = frame(25_000, seed=4)
    rows.index = pd.Index([f"k{number * 7 % 25_000}" for number in range(len(rows))])

    def pieces():
        """Every cell quoted, the header in the first piece alone, in chunks."""
        for start in range(0, len(rows), 10_000):
            piece = rows[start : start + 10_000]
            text = piece.to_csv(
                index_label="__DR_index__", header=start == 0, quoting=csv.QUOTE_ALL
            )
            yield text.encode()

    found = batches.scored(pieces(), passthroughColumns=["__DR_index__"])
    assert list(found["__DR_index__"]) == list(rows.index)
    joined = rows.merge(
        found.set_index("__DR_index__"), left_index=True, right_index=True, how="inner"
    )
    assert len(joined) == len(rows)
    wanted = answered(server, rows[-50:])
    assert list(joined[PREDICTIONS[0]][-50:]) == list(wanted[PREDICTIONS[0]])


def test_parts_are_put_together(batches: Batches, server: Server) -> None:
    rows = frame(400, seed=5)
    intake = {"type": "localFile", "multipart": True}
    job = batches.create(intakeSettings=intake)
    # Its own writer ends lines in this way.
    parts = [
        rows[start : start + 100].to_csv(index=False, lineterminator="\r\n").encode()
        for start in range(0, 400, 100)
    ]
    batches.upload_parts(job, parts)
    found = read(batches.download(job["id"]))
    pd.testing.assert_frame_equal(found, answered(server, rows))


def test_part_that_is_sent_again_counts_once(batches: Batches) -> None:
    intake = {"type": "localFile", "multipart": True, "async": False}
    job = batches.create(intakeSettings=intake)
    part = csv_body(frame(10, seed=6))
    url = f"{job['links']['csvUpload']}part/0/"
    for _ in range(3):
        again = batches.api.ask("PUT", url, body=part, **{"Content-Type": "text/csv"})
        assert again.status == 202
    batches.upload_parts(job, [part, csv_body(frame(5, seed=7))])
    assert len(read(batches.download(job["id"]))) == 15


def test_options_of_the_output(batches: Batches) -> None:
    rows = frame(20, seed=8)
    found = batches.scored(
        csv_body(rows),
        maxExplanations=2,
        thresholdHigh=0.0,
        predictionThreshold=0.3,
        passthroughColumns=["colour"],
        includePredictionStatus=True,
        columnNamesRemapping={"outcome_PREDICTION": "guess"},
        numConcurrent=2,
        chunkSize="auto",
        skipDriftTracking=True,
        abortOnError=False,
    )
    assert set(found["THRESHOLD"]) == {0.3}
    assert list(found["colour"]) == list(rows["colour"])
    assert set(found["prediction_status"]) == {"OK"}
    assert "guess" in found
    assert "outcome_PREDICTION" not in found
    assert "EXPLANATION_2_STRENGTH" in found


def test_probabilities_may_be_left_out(batches: Batches) -> None:
    body = csv_body(frame(5, seed=9))
    without = batches.scored(body, includeProbabilities=False)
    assert list(without.columns) == ["outcome_PREDICTION"]
    one = batches.scored(body, includeProbabilitiesClasses=["won"])
    assert "outcome_won_PREDICTION" in one
    assert "outcome_lost_PREDICTION" not in one


def test_every_column_is_passed_through(batches: Batches) -> None:
    rows = frame(5, seed=10)
    found = batches.scored(csv_body(rows), passthroughColumnsSet="all")
    assert list(found.columns[-3:]) == ["x", "y", "colour"]
    assert list(found["colour"]) == list(rows["colour"])


def test_tabs_and_another_encoding(batches: Batches) -> None:
    rows = frame(5, seed=11).assign(größe="grün")
    body = rows.to_csv(index=False, sep="\t").encode("latin-1")
    found = batches.scored(
        body,
        csvSettings={"delimiter": "tab", "encoding": "latin-1"},
        passthroughColumns=["größe"],
    )
    assert set(found["größe"]) == {"grün"}


def test_bad_row_aborts_the_job_and_is_named(batches: Batches) -> None:
    rows = frame(30, seed=12).astype(object)
    rows.loc[20, "x"] = "many"
    job = batches.create()
    batches.upload(job, csv_body(rows))
    with pytest.raises(Aborted, match="20"):
        batches.download(job["id"])
    assert batches.ended(job["id"])["status"] == "ABORTED"


def test_bad_row_is_reported_when_that_is_asked(batches: Batches) -> None:
    rows = frame(30, seed=13).astype(object)
    rows.loc[20, "x"] = "many"
    found = batches.scored(
        csv_body(rows), abortOnError=False, includePredictionStatus=True
    )
    assert len(found) == 30
    status = list(found["prediction_status"])
    assert status[20] != "OK"
    assert set(status[:20] + status[21:]) == {"OK"}
    assert found["outcome_PREDICTION"][20] == ""


def test_job_is_ended_by_the_client(batches: Batches) -> None:
    job = batches.create()
    told = batches.status(job["id"])
    assert "download" not in told["links"]
    ended = batches.api.ask("DELETE", f"batchPredictions/{job['id']}/")
    assert ended.status < 300, ended.body
    assert batches.ended(job["id"])["status"] == "ABORTED"
    with pytest.raises(Aborted):
        batches.download(job["id"])


def test_jobs_are_listed_by_status(batches: Batches) -> None:
    done = batches.create()
    batches.upload(done, csv_body(frame(3, seed=14)))
    assert batches.ended(done["id"])["status"] == "COMPLETED"
    waiting = batches.create()

    def listed(*statuses: str) -> set[str]:
        query = {"status": list(statuses)} if statuses else {}
        return {
            each["id"]
            for each in batches.api.items("batchPredictions/", limit=2, **query)
        }

    assert {done["id"], waiting["id"]} <= listed()
    assert done["id"] in listed("COMPLETED")
    assert waiting["id"] not in listed("COMPLETED")
    assert waiting["id"] in listed("COMPLETED", "INITIALIZING")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"maxExplanations": -1}, "maxExplanations"),
        (
            {"intakeSettings": {"type": "jdbc", "dataStoreId": "5" * 24}},
            "intakeSettings",
        ),
        ({"csvSettings": {"delimiter": "::"}}, "csvSettings"),
        ({"thresholdHigh": "größer"}, "thresholdHigh"),
        ({"passthroughColumns": "all"}, "passthroughColumns"),
    ],
)
def test_job_that_cannot_be_is_refused_by_field(
    batches: Batches, asked: dict[str, object], field: str
) -> None:
    assert field in batches.refusal(**asked)["errors"]


def test_job_of_no_deployment_is_refused(batches: Batches) -> None:
    refused = batches.post(deploymentId="0" * 24)
    assert refused.status in (404, 422)
    assert message_of(refused)


def test_upload_that_is_no_csv_is_refused(batches: Batches) -> None:
    job = batches.create()
    place = job["links"]["csvUpload"]
    json = {"Content-Type": "application/json"}
    assert batches.api.ask("PUT", place, body=b"[]", **json).status == 406
    assert batches.upload(job, b"").status == 422
    assert message_of(batches.upload(job, b"x,y\n\xff\xff,1\n"))


def test_second_upload_is_refused(batches: Batches) -> None:
    job = batches.create()
    assert batches.upload(job, csv_body(frame(3, seed=15))).status == 202
    again = batches.upload(job, csv_body(frame(3, seed=15)))
    assert again.status == 422
    assert message_of(again)
    assert len(read(batches.download(job["id"]))) == 3


def test_unknown_job_is_a_client_error(batches: Batches) -> None:
    answer = batches.api.ask("GET", f"batchPredictions/{'0' * 24}/")
    assert answer.status == 404
    assert message_of(answer)


def test_output_is_read_while_it_comes(batches: Batches, server: Server) -> None:
    rows = frame(60_000, seed=16)
    job = batches.create()
    batches.upload(job, csv_body(rows))
    place = batches.readable(job["id"])["links"]["download"]
    headers = {"Authorization": f"Token {batches.api.token}"}
    connection = server.connect(seconds=90)
    connection.request("GET", place[len(batches.api.base) :], None, headers)
    response = connection.getresponse()
    text = io.TextIOWrapper(response, encoding="utf-8")
    assert sum(1 for _ in csv.reader(text)) == len(rows) + 1
    assert batches.status(job["id"])["status"] == "COMPLETED"


def test_download_waits_for_a_job_that_waits(batches: Batches) -> None:
    job = batches.create()
    assert batches.upload(job, csv_body(frame(200, seed=17))).status == 202
    # Nobody runs it yet, but clients may have been told the link before.
    answer = batches.api.ask("GET", f"{job['links']['self']}download/")
    assert answer.status == 200, answer.body
    assert len(read(answer.body)) == 200


def test_download_of_a_job_that_fails_meanwhile_tells_why(batches: Batches) -> None:
    job = batches.create()
    batches.upload(job, b"x,y,colour\nmany,1,red\n")
    answer = batches.api.ask("GET", f"{job['links']['self']}download/")
    assert answer.status == 404
    assert "many" in message_of(answer)["message"]
