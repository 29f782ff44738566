import socket

import pytest

from app.config import Config
from app.doctor.surroundings import cluster, shared_files, without_password


def test_nothing_elsewhere_is_nothing_to_tell(tmp_path):
    config = Config(home=tmp_path)
    assert (shared_files(config), cluster(config)) == (None, None)


def test_store_that_answers_is_no_problem(tmp_path):
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "a.tar").touch()
    finding = shared_files(Config(home=tmp_path, store_url=tmp_path.as_uri()))
    assert (finding.facts["bundles"], finding.problems) == (1, [])


@pytest.mark.parametrize("url", ["nonsense", "abc://bucket"])
def test_url_of_no_store_is_a_problem(tmp_path, url):
    (problem,) = shared_files(Config(home=tmp_path, store_url=url)).problems
    assert "FORETELL_STORE_URL" in problem.text + problem.remedy


def test_scheduler_that_listens_is_no_problem(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert cluster(Config(home=tmp_path, dask_scheduler=address)).problems == []


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://x:y"])
def test_scheduler_that_is_not_there_is_a_problem(tmp_path, address):
    (problem,) = cluster(Config(home=tmp_path, dask_scheduler=address)).problems
    assert address in problem.text


def test_passwords_of_urls_are_left_out():
    assert without_password("s3://key:secret@bucket/a?b=c") == "s3://bucket/a"
