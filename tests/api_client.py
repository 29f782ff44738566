"""The management API as client programs speak it: JSON, and absolute URLs followed.

Clients join paths to an endpoint, add a slash at the end, and go where `next`, links
and `Location` point. What they cannot do without is asserted here, once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask.testing import FlaskClient

from tests.conftest import Caller
from tests.server.processes import SECONDS, Answer, Endpoint

# Sends a method, a path with its query, a body and headers.
Send = Callable[[str, str, Any, Mapping[str, str]], Answer]


@dataclass
class Api:
    """One client: where the server is, and how it says who it is.

    headers: those of every request.
    """

    send: Send
    base: str
    token: str
    scheme: str = "Token"
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        **headers: str,
    ) -> Answer:
        """One request, redirects not followed.

        path: below /api/v2/, or an absolute URL as the server told it.
        data: sent as JSON. body: sent as it is; in chunks when it is an iterator.
        """
        url = path if path.startswith("http") else f"{self.base}/api/v2/{path}"
        assert url.startswith(self.base), url
        place = urlsplit(url[len(self.base) :])
        asked = urlencode(query or {}, doseq=True) or place.query
        target = place.path + (f"?{asked}" if asked else "")
        sent = {"Authorization": f"{self.scheme} {self.token}", **self.headers}
        if data is not None:
            sent["Content-Type"] = "application/json"
            body = json.dumps(data).encode()
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(method, target, body, sent)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON that a GET answers."""
        answer = self.ask("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def items(self, path: str, **query: Any) -> Iterator[Any]:
        """Every item of a list, page by page: `data` and `next` have to be there."""
        page = self.get(path, **query)
        yield from page["data"]
        while page["next"] is not None:
            page = self.get(page["next"])
            yield from page["data"]

    def resolved(self, answer: Answer) -> str:
        """The id of what an accepted change made, once that is done."""
        assert answer.status == 202, answer.body
        end = time.monotonic() + SECONDS
        while True:
            polled = self.ask("GET", answer.headers["location"])
            # Anything else ends the wait of a client with an error.
            assert polled.status in (200, 303), polled.body
            if polled.status == 303:
                # One of them reads every body as JSON before it looks at the status.
                assert not polled.body or polled.json is not None
                return id_of(polled.headers["location"])
            assert not polled.json["status"].lower().startswith(("error", "abort"))
            assert time.monotonic() < end, polled.body
            time.sleep(0.05)


def id_of(location: str) -> str:
    """The id in a URL, which has to be absolute and end in a slash after it."""
    assert location.startswith("http"), location
    assert location.endswith("/"), location
    return location.split("/")[-2]


def message_of(answer: Answer) -> Any:
    """An error's JSON; clients decode any other type as ASCII."""
    assert answer.status >= 400, answer.body
    assert answer.headers["content-type"] == "application/json"
    found = json.loads(answer.body.decode("ascii"))
    assert found["message"]
    return found


def without_nulls(value: Any) -> Any:
    """What clients keep of an object before they look at its types."""
    if isinstance(value, dict):
        kept = {key: without_nulls(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def in_process(client: FlaskClient) -> Send:
    """Sends to an application of this process."""

    def send(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        given = client.open(path, method=method, data=body, headers=dict(headers))
        found = {name.lower(): value for name, value in given.headers.items()}
        return Answer(given.status_code, found, given.data)

    return send


def over_http(server: Endpoint) -> Send:
    """Sends to a running server."""

    def send(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        return server.ask(method, path, body, headers)

    return send


def api_of(caller: Caller, user: str = "ann@example.com", **options: Any) -> Api:
    """A client of an application of this process."""
    token = caller.site.tokens[user]
    return Api(in_process(caller.client), "http://localhost", token, **options)


def api_at(server: Endpoint, **options: Any) -> Api:
    """A client of a running server."""
    base = f"http://127.0.0.1:{server.port}"
    return Api(over_http(server), base, server.models.token, **options)
