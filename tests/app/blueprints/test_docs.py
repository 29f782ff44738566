"""The pages that tell what the server takes and answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import validate

from app.blueprints.docs import _FILES


class Loaded(HTMLParser):
    """What a page loads, and the scripts and styles that stand in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._tag = tag
        named = dict(attributes)
        self.addresses += [named[name] for name in ("src", "href") if name in named]
        self.inline += [name for name in named if name == "style" or name[:2] == "on"]

    def handle_data(self, data):
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def test_document_is_told_without_a_token(client):
    answer = client.get("/openapi.json", buffered=True)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = json.loads(answer.data)
    validate(document)
    assert document["servers"] == [{"url": "http://localhost"}]


def test_document_tells_nothing_of_deployments(client, site):
    text = client.get("/openapi.json", buffered=True).text
    for deployment_id in site.deployments.values():
        assert deployment_id not in text


def test_page_loads_its_own_files_only(client):
    loaded = Loaded(client.get("/docs", buffered=True).text)
    assert sorted(loaded.addresses) == sorted(f"/docs/{name}" for name in _FILES)
    assert not loaded.inline
    for address in loaded.addresses:
        assert client.get(address, buffered=True).status_code == 200, address


def test_style_sheet_loads_nothing(client):
    text = client.get("/docs/swagger-ui.css", buffered=True).text
    found = re.findall(r"url\(\s*[\"']?([^)\"']{0,20})", text)
    assert found and all(each.startswith("data:") for each in found)
    assert "@import" not in text


def test_viewer_is_told_to_ask_this_server_only(client):
    text = client.get("/docs/start.js", buffered=True).text
    assert "validatorUrl: null" in text and "queryConfigEnabled: false" in text
    assert not re.search(r"(https?:)?//[a-z]", text)


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_browser_is_told_to_load_nothing_from_elsewhere(client, path):
    answer = client.get(path, buffered=True)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("name", "media_type"), _FILES.items())
def test_files_have_their_types(client, name, media_type):
    answer = client.get(f"/docs/{name}", buffered=True)
    assert answer.mimetype == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/swagger-ui.css"])
def test_unchanged_files_are_not_sent_again(client, path):
    first = client.get(path, buffered=True)
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get(
        path, buffered=True, headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "name", ["page.html", "index.css", "..%2fdocs.py", "swagger-ui.js", "%00", ".."]
)
def test_no_other_files_are_served(client, name):
    answer = client.get(f"/docs/{name}", buffered=True)
    assert answer.status_code == 404
    assert json.loads(answer.data)["message"]


def test_viewers_package_is_not_imported():
    code = (
        "import sys, wsgi;"
        "answer = wsgi.application.test_client().get('/docs/swagger-ui-bundle.js');"
        "assert answer.status_code == 200;"
        "assert 'flask_swagger_ui' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
