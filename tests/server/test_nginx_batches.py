"""Files through a real nginx: batch jobs and bundles, which it must not hold."""

from __future__ import annotations

import gzip
import http.client
import json
from pathlib import Path

import pytest

from app.store.tars import pack
from tests.server.fronting import needs_nginx
from tests.server.processes import Endpoint, Server, read_response, wait_for
from tests.server.served_jobs import PATH, head, make, scoring
from tests.server.served_models import ServedModels, padded_body

MAX_UPLOAD = 80_000_000
# Beyond FORETELL_MAX_BODY.
SIZE = 60_000_000
SMALL = b"x,y,colour\n1,2,red\n"

pytestmark = needs_nginx
# Of the server behind nginx.
SETTINGS = {"max_upload": MAX_UPLOAD}
# As an administrator may have it for everything else.
BESIDE_THE_SITE = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;"


def held(folder: Path) -> int:
    """Bytes of bodies and answers that nginx has in files."""
    places = (folder / "body", folder / "proxy")
    files = [each for place in places for each in place.rglob("*")]
    return sum(each.stat().st_size for each in files if each.is_file())


def received(server: Server, job_id: str) -> int:
    """Bytes of a job's input that the server has written so far."""
    files = (server.home / "jobs" / job_id).rglob("*")
    return sum(each.stat().st_size for each in files if each.is_file())


def ended(front: Endpoint, job_id: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        told = front.ask("GET", f"{PATH}{job_id}/", None, front.headers()).json
        return told if told["status"] in ("COMPLETED", "ABORTED", "FAILED") else None

    found: dict[str, object] = wait_for(look, 300)
    return found


@pytest.mark.parametrize("chunked", [False, True])
def test_large_input_passes_through_while_it_is_sent(
    front: Endpoint, behind: Server, front_folder: Path, chunked: bool
) -> None:
    job_id, body = make(front), padded_body(SIZE)
    place = f"{PATH}{job_id}/csvUpload/"
    half = SIZE // 2
    if chunked:
        announced, end = "Transfer-Encoding: chunked", b"\r\n0\r\n\r\n"
        pieces = [b"%x\r\n" % SIZE + body[:half], body[half:] + end]
    else:
        announced, pieces = f"Content-Length: {SIZE}", [body[:half], body[half:]]
    with front.open_socket(120) as opened:
        opened.sendall(head(front, "PUT", place, announced) + pieces[0])
        # The server has what was sent, nginx nothing.
        wait_for(lambda: received(behind, job_id) > half - 2**21)
        assert held(front_folder) == 0
        opened.sendall(pieces[1])
        answer = read_response(opened)
    assert (answer.status, answer.body) == (202, b"{}")
    assert ended(front, job_id)["scoredRows"] == 100
    output = front.ask("GET", f"{PATH}{job_id}/download/", None, front.headers())
    assert len(output.body.splitlines()) == 101
    front.ask("DELETE", f"{PATH}{job_id}/", None, front.headers())


def test_compressed_input_passes(front: Endpoint) -> None:
    job_id = make(front)
    headers = front.headers() | {"Content-Encoding": "gzip"}
    body = gzip.compress(SMALL)
    answer = front.ask("PUT", f"{PATH}{job_id}/csvUpload/", body, headers)
    assert answer.status == 202
    assert ended(front, job_id)["scoredRows"] == 1


def test_download_comes_while_the_job_runs_and_as_it_is(
    front: Endpoint, behind: Server
) -> None:
    # What nginx compresses elsewhere.
    wishes = front.headers() | {"Accept-Encoding": "gzip"}
    other = front.ask("GET", "/ping", None, wishes)
    assert other.headers["content-encoding"] == "gzip"
    with scoring(behind, b"x\n1\n") as job:
        connection = front.connect(120)
        connection.request("GET", f"{PATH}{job.id}/download/", None, wishes)
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("content-encoding") is None
        assert response.read(4) == b"x\n1\n"
        job.add(b"2\n")
        assert response.read(2) == b"2\n"
        job.complete()
        assert response.read() == b""


def test_large_output_is_not_held(
    front: Endpoint, behind: Server, front_folder: Path
) -> None:
    part = b"x\n" * 10_000_000
    with scoring(behind, part, part, part) as job:
        job.complete()
        with front.open_socket(120) as opened:
            opened.sendall(head(front, "GET", f"{PATH}{job.id}/download/"))
            assert opened.recv(1000, 0).startswith(b"HTTP/1.1 200")
            assert held(front_folder) == 0
        path = f"{PATH}{job.id}/download/"
        output = front.ask("GET", path, None, front.headers())
        assert output.body == part * 3


def test_download_that_breaks_off_does_not_look_complete(
    front: Endpoint, behind: Server
) -> None:
    with scoring(behind, b"x\n1\n") as job:
        connection = front.connect(120)
        connection.request("GET", f"{PATH}{job.id}/download/", None, front.headers())
        response = connection.getresponse()
        assert response.read(4) == b"x\n1\n"
        front.ask("DELETE", f"{PATH}{job.id}/", None, front.headers())
        with pytest.raises(http.client.IncompleteRead):
            response.read()


@pytest.mark.parametrize("announced", [True, False])
def test_input_beyond_the_limit_is_413_of_this_place(
    front: Endpoint, announced: bool
) -> None:
    job_id = make(front)
    place = f"{PATH}{job_id}/csvUpload/"
    told = (413, f"The body is larger than {MAX_UPLOAD} bytes")
    if announced:
        with front.open_socket() as opened:
            length = f"Content-Length: {MAX_UPLOAD + 1}"
            opened.sendall(head(front, "PUT", place, length))
            answer = read_response(opened)
    else:
        pieces = (SMALL + b"1,2,red\n" * 100_000 for _ in range(101))
        answer = front.ask("PUT", place, pieces, front.headers())
    assert (answer.status, answer.message) == told
    front.ask("DELETE", f"{PATH}{job_id}/", None, front.headers())


@pytest.mark.parametrize("size", [200_000, 5_000_000])
def test_input_that_nobody_reads_gets_its_answer(front: Endpoint, size: int) -> None:
    body = padded_body(size)
    for path, token, status in (
        (f"{PATH}{'f' * 24}/csvUpload/", None, 404),
        (f"{PATH}{'f' * 24}/csvUpload/", "x", 401),
        (f"{PATH}{'f' * 24}/nowhere/", None, 404),
    ):
        for _ in range(3):
            answer = front.ask("PUT", path, body, front.headers(token))
            assert answer.status == status
            assert answer.message


def test_links_have_the_address_that_was_asked(front: Endpoint) -> None:
    headers = front.headers() | {"Content-Type": "application/json"}
    body = json.dumps({"deploymentId": "0123456789abcdef00000001"})
    answer = front.ask("POST", PATH, body, headers)
    address = f"http://127.0.0.1:{front.port}{PATH}{answer.json['id']}/"
    assert answer.headers["location"] == address
    assert answer.json["links"] == {
        "self": address,
        "csvUpload": f"{address}csvUpload/",
    }
    page = front.ask("GET", f"{PATH}?limit=1", None, front.headers()).json
    assert page["data"][0]["links"]["self"] == address
    front.ask("DELETE", address, None, front.headers())


def test_bundle_passes_through(
    front: Endpoint, models: ServedModels, tmp_path: Path
) -> None:
    pack(models.bundles["first"], tmp_path / "first.tar")
    headers = front.headers() | {"Content-Type": "application/x-tar"}
    body = (tmp_path / "first.tar").read_bytes()
    answer = front.ask("POST", "/api/v2/modelPackages/", body, headers)
    assert answer.status == 202, answer.body
    place = answer.headers["location"]
    assert place.startswith(f"http://127.0.0.1:{front.port}/api/v2/status/")

    def checked() -> str | None:
        told = front.ask("GET", place, None, front.headers())
        assert told.status == 303 or told.json["status"] != "ERROR", told.json
        return told.headers.get("location") if told.status == 303 else None

    assert wait_for(checked).startswith(f"http://127.0.0.1:{front.port}/api/v2/model")
