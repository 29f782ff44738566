"""Batch jobs read and write where a setting lets them, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from app.batch.places import (
    LocationRefused,
    check,
    format_of,
    open_file,
    open_folder,
    path_of,
)
from app.config import Config

ALLOWED = (
    "s3://bucket/jobs https://files.example.com/in http://other.example.com:8000"
    " http://[ http://a:b"
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "input.csv").write_text("a\n1\n")
    return folder


@pytest.fixture
def config(tmp_path: Path, shared: Path) -> Config:
    return Config(home=tmp_path / "home", batch_locations=f"{shared} {ALLOWED}")


def of_url(url: str) -> dict[str, Any]:
    return {"type": "s3" if url.startswith("s3") else "http", "url": url}


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/jobs/input.csv",
        "s3://bucket/jobs/a/b.parquet",
        "s3://bucket/jobs",
        "https://files.example.com/in/a.csv",
        "https://FILES.example.com:443/in/a.csv?X-Amz-Signature=1%2F2",
        "http://other.example.com:8000/any/where.csv",
    ],
)
def test_url_that_begins_as_an_allowed_one_is_taken(config: Config, url: str) -> None:
    check(of_url(url), config)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/jobs2/input.csv",
        "s3://bucket/jobs/",
        "s3://bucket",
        "s3://bucket/jobs/../secret.csv",
        "s3://bucket2/jobs/a.csv",
        "s3://bucket/other/a.csv",
        "s3://key:secret@bucket/jobs/a.csv",
        "s3://bucket/jobs/%2e%2e/a.csv",
        "https://files.example.com.evil.org/in/a.csv",
        "https://files.example.com@evil.org/in/a.csv",
        "https://files.example.com:444/in/a.csv",
        "http://files.example.com/in/a.csv",
        "https://files.example.com/in/../a.csv",
        "https://files.example.com/in/%2e%2e/a.csv",
        "https://files.example.com/in/%252e%252e/a.csv",
        "https://files.example.com/in/..%2fa.csv",
        "https://files.example.com/in/..%5ca.csv",
        "https://files.example.com/in\\..\\a.csv",
        "https://files.example.com/in/a.csv#x",
        "https://files.example.com/in/ a.csv",
        "https://files.example.com/in/a.csv\r\nHost: evil",
        "https://files.example.com:99999999/in/a.csv",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1/a.csv",
        "file:///etc/passwd",
        "ftp://files.example.com/in/a.csv",
        "/etc/passwd",
        "",
    ],
)
def test_other_url_is_refused(config: Config, url: str) -> None:
    with pytest.raises(LocationRefused) as refused:
        check(of_url(url), config)
    assert refused.value.field == "url"


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_url_of_the_other_type_is_refused(config: Config, kind: str) -> None:
    url = {"http": "s3://bucket/jobs/a.csv", "s3": "https://files.example.com/in/a.csv"}
    with pytest.raises(LocationRefused, match="is to be"):
        check({"type": kind, "url": url[kind]}, config)


def test_file_in_an_allowed_folder_is_taken(config: Config, shared: Path) -> None:
    settings = {"type": "filesystem", "path": str(shared / "input.csv")}
    check(settings, config)
    with open(open_file(path_of(settings, config), config)) as file:
        assert file.read() == "a\n1\n"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "input.csv",
        "{shared}",
        "{shared}/",
        "{shared}/..",
        "{shared}/../secret.csv",
        "{shared}2/input.csv",
        "{shared}/sub/../../secret.csv",
        "{shared}/link/secret.csv",
        "{shared}/link.csv",
        "{shared}/a\0b",
        "",
    ],
)
def test_other_path_is_refused(config: Config, shared: Path, path: str) -> None:
    (shared.parent / "secret.csv").write_text("secret")
    (shared / "link").symlink_to(shared.parent)
    (shared / "link.csv").symlink_to(shared.parent / "secret.csv")
    settings = {"type": "filesystem", "path": path.format(shared=shared)}
    with pytest.raises(LocationRefused) as refused:
        check(settings, config)
    assert refused.value.field == "path"


def test_link_that_is_put_there_later_is_not_followed(
    config: Config, shared: Path
) -> None:
    outside = shared.parent / "outside"
    outside.mkdir()
    (outside / "input.csv").write_text("secret")
    (shared / "sub").mkdir()
    settings = {"type": "filesystem", "path": str(shared / "sub" / "input.csv")}
    path = path_of(settings, config)
    (shared / "sub").rmdir()
    (shared / "sub").symlink_to(outside)
    with pytest.raises(LocationRefused):
        open_file(path, config)
    with pytest.raises(LocationRefused):
        open_folder(path, config)
    (shared / "input.csv").unlink()
    (shared / "input.csv").symlink_to(outside / "input.csv")
    with pytest.raises(OSError, match="symbolic link"):
        open_file(shared / "input.csv", config)


def test_pipe_is_no_input(config: Config, shared: Path) -> None:
    os.mkfifo(shared / "pipe.csv")
    with pytest.raises(LocationRefused, match="not a file"):
        open_file(shared / "pipe.csv", config)


def test_state_folder_is_never_allowed(tmp_path: Path) -> None:
    config = Config(home=tmp_path / "home", batch_locations=str(tmp_path))
    settings = {"type": "filesystem", "path": str(config.home / "foretell.db")}
    with pytest.raises(LocationRefused, match="state folder"):
        check(settings, config)


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "filesystem", "path": "/tmp/a.csv"},
        {"type": "s3", "url": "s3://bucket/a.csv"},
        {"type": "http", "url": "http://localhost/a.csv"},
    ],
)
def test_nothing_is_allowed_unless_it_is_named(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(LocationRefused, match="FORETELL_BATCH_LOCATIONS names no"):
        check(settings, Config(home=tmp_path))


def test_upload_is_always_allowed(tmp_path: Path) -> None:
    check({"type": "localFile"}, Config(home=tmp_path))


def test_credentials_are_the_servers_own(config: Config) -> None:
    settings = {
        **of_url("s3://bucket/jobs/a.csv"),
        "credentialId": "5e4bc555",
    }
    with pytest.raises(LocationRefused, match="environment") as refused:
        check(settings, config)
    assert refused.value.field == "credentialId"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"path": "/a/b.parquet"}, "parquet"),
        ({"url": "s3://b/a.PQ"}, "parquet"),
        ({"url": "https://b/a.parquet?sig=1"}, "parquet"),
        ({"url": "https://b/a?name=a.parquet"}, "csv"),
        ({"path": "/a/b.parquet", "format": "csv"}, "csv"),
        ({"path": "/a/b", "format": "parquet"}, "parquet"),
    ],
)
def test_format_is_said_or_the_names_end(
    settings: dict[str, Any], expected: str
) -> None:
    assert format_of(settings) == expected


@pytest.mark.parametrize("name", ["a" * 300 + ".csv", "\u00e9" * 200])
def test_name_that_no_file_has_is_refused(
    config: Config, shared: Path, name: str
) -> None:
    with pytest.raises(LocationRefused, match="more than 255 bytes"):
        check({"type": "filesystem", "path": f"{shared}/{name}"}, config)
