import pytest

from benchmarks.http import BadAnswer, parse, post

ANSWER = b"HTTP/1.1 200 OK\r\nX-One:  a\r\ncontent-Length: 3\r\n\r\nxyz"


def test_answer_has_status_headers_and_body():
    answer = parse(ANSWER)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"xyz")
    assert answer.header(b"x-one") == b"a"
    assert answer.header(b"one") == b""
    assert not answer.closes


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_part_of_an_answer_is_not_parsed_yet(length):
    assert parse(ANSWER[:length]) is None


def test_connection_close_is_noticed():
    answer = parse(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
    )
    assert answer is not None
    assert answer.closes


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_it_cannot_read_is_refused(data):
    with pytest.raises(BadAnswer):
        parse(data)


def test_request_carries_path_headers_and_length():
    request = post("/a?b=c", b"{}", {"Accept": "text/csv"})
    head, body = request.split(b"\r\n\r\n")
    assert body == b"{}"
    assert head.split(b"\r\n") == [
        b"POST /a?b=c HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Accept: text/csv",
        b"Content-Length: 2",
    ]
