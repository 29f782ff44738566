"""The address that clients are told, whatever host they ask for."""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import pytest
from flask import Request
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.blueprints.addresses import base_url
from tests.contract.effort import effort

PLAIN = (
    *("a.example", "localhost:8080", "10.0.0.1", "my_app:8080", "_x", "a.example:80"),
    *("xn--n-nja.de", "[::1]", "[fe80::1]:8080", "A-B.C.", "[::ffff:10.0.0.1]"),
)
# Of no use in an address.
ODD = (
    *("", " ", "a b", "a/b", "a?b", "user@a", "a:", "a:x", "a:0", "a:65536", "a,b"),
    *("größe", "[", "[]", "[1]", "[g::]", "[::1", "[fe80::1%25a]", "[::1]x", ".", "-"),
    *("a\n", "a:8080:1", "a\\b", "a#b", "a%b", '"', "<script>", "::1", "a:1\u00b2"),
)
# What hosts are made of, and what they are not.
HOSTS = st.one_of(
    st.sampled_from(PLAIN + ODD),
    st.text(st.characters(codec="latin-1"), max_size=20),
    st.lists(
        st.sampled_from(
            [*"[]:._-@/% a1", "xn--", "n-nja", "ß", "::", "80", "99999", "b" * 64]
        ),
        max_size=8,
    ).map("".join),
)


def asked(host, **environ):
    environ = EnvironBuilder(path="/openapi.json").get_environ() | environ
    if host is None:
        del environ["HTTP_HOST"]
    else:
        environ["HTTP_HOST"] = host
    return Request(environ)


@pytest.mark.parametrize("host", PLAIN)
def test_plain_hosts_are_told_as_they_came(host):
    assert base_url(asked(host)) == f"http://{host}"
    https = asked(host, **{"wsgi.url_scheme": "https"})
    assert base_url(https) == f"https://{host}"


@pytest.mark.parametrize("host", [*ODD, None])
def test_without_a_host_paths_alone_are_told(host):
    assert base_url(asked(host)) == ""


@pytest.mark.parametrize(
    ("root", "path"),
    [
        *(("", ""), ("/", ""), ("/a/b", "/a/b"), ("/a/", "/a"), ("//a", "/a")),
        ("/gr\xc3\xb6\xc3\x9fe ?", "/gr%C3%B6%C3%9Fe%20%3F"),
    ],
)
def test_place_of_the_application_belongs_to_the_address(root, path):
    assert base_url(asked("a.example", SCRIPT_NAME=root)) == f"http://a.example{path}"
    assert base_url(asked(None, SCRIPT_NAME=root)) == path


def told(app, page, host, **headers):
    """Status and document, past Flask's client: it fails of some hosts itself."""
    environ = EnvironBuilder(path=page, headers=headers).get_environ()
    parts, status, _ = run_wsgi_app(app, environ | {"HTTP_HOST": host}, buffered=True)
    return int(status[:3]), json.loads(b"".join(parts))


def is_address(url):
    """Whether a URL is absolute, and its parts what RFC 3986 allows."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        assert IPv6Address(host)
    elif re.fullmatch("[a-z0-9._-]+", host) is None:
        return False
    assert parts.port is None or 0 < parts.port < 65536
    return parts.scheme == "http" and parts.username is None


@effort(200)
@given(HOSTS)
@example("xn--n-nja.de")
@example("a..b")
def test_any_host_is_answered_with_valid_addresses(predict, app, host):
    own = f"/deployment/{predict.site.deployments['churn']}"
    bearer = f"Bearer {predict.site.tokens['ann@example.com']}"
    pages = ("/openapi.json", f"{own}/openapi.json", own)
    answers = [told(app, page, host, Authorization=bearer) for page in pages]
    statuses = {status for status, _ in answers}
    # Flask routes no request for a name that is none, such as "a..b".
    if statuses == {400}:
        return
    assert statuses == {200}
    server, deployment, facts = (document for _, document in answers)
    base = server["servers"][0]["url"]
    assert base == "/" or (is_address(base) and base == f"http://{host}")
    assert deployment["servers"] == [{"url": base}]
    own = base.rstrip("/") + own
    assert facts["url"] == f"{own}/forward"
    assert facts["openapi"] == f"{own}/openapi.json"


@pytest.mark.parametrize("host", ["my_app:8080", "xn--n-nja.de", "a b", "größe"])
def test_documents_are_valid_whatever_the_host(app, host):
    status, document = told(app, "/openapi.json", host)
    assert status == 200
    validate(document)
