"""The Authorization header and the datarobot-key."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import authenticate, check_datarobot_key
from app.errors import AppError, DatarobotKeyMissing, InvalidToken, NoCredentials
from app.store.records import Caller, Snapshot, Token, User

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = User("a" * 24, "ann@example.com", NOW)
SECRET = "Sesame1"


def snapshot(expires_at=None):
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    token = Token("b" * 24, ANN.id, digest, NOW, expires_at, None, None)
    return Snapshot(1, {ANN.id: ANN}, {digest: token}, {}, {})


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {SECRET}",
        f"bearer {SECRET}",
        f"TOKEN   {SECRET} ",
        f"token {SECRET}",
        basic(ANN.name, SECRET),
        basic(SECRET, ""),
    ],
)
def test_three_schemes_name_the_user(header):
    assert authenticate(header, snapshot(), NOW) == Caller(ANN, None)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer other",
        "Digest x",
        SECRET,
        basic("bob", SECRET),
        basic(ANN.name, "other"),
        basic("", SECRET),
        basic("", ""),
        basic("other", ""),
        basic(ANN.name, ""),
        # Without the colon it is neither name nor token.
        "Basic " + base64.b64encode(SECRET.encode()).decode(),
        "Basic ###",
        "Basic ü",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "Bearer \xff\udcff",
    ],
)
def test_anything_else_is_an_invalid_token(header):
    with pytest.raises(InvalidToken, match="^Invalid API token$"):
        authenticate(header, snapshot(), NOW)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "token", "Basic  "])
def test_scheme_without_credentials_has_its_own_text(header):
    text = r"^Invalid Authorization header\. No credentials provided\.$"
    with pytest.raises(NoCredentials, match=text):
        authenticate(header, snapshot(), NOW)


def test_token_expires_at_its_moment():
    expiring = snapshot(expires_at=NOW)
    assert authenticate(f"Bearer {SECRET}", expiring, NOW - timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {SECRET}", expiring, NOW)


@pytest.mark.parametrize("given", [None, "", "wrong", "ké"])
def test_wrong_datarobot_key_counts_as_missing(given):
    with pytest.raises(DatarobotKeyMissing, match="datarobot-key header is missing"):
        check_datarobot_key(given, "secret")


def test_datarobot_key_is_asked_for_only_where_there_is_one():
    check_datarobot_key(None, "")
    check_datarobot_key("secret", "secret")


@given(st.text())
def test_no_header_breaks_the_reader(header):
    try:
        authenticate(header, snapshot(), NOW)
    except AppError:
        pass
