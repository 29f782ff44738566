"""Shared files, in a folder and in an object store."""

import gc
import os
import stat

import pytest

from app.store.errors import InvalidStoreUrl
from app.store.files import Folder, Objects, open_files


@pytest.fixture(params=["folder", "objects"])
def url(request, tmp_path):
    if request.param == "folder":
        return (tmp_path / "a folder").as_uri()
    return request.getfixturevalue("bucket") + "/below/it"


@pytest.fixture
def files(url):
    return open_files(url)


def test_file_is_read_as_written(files):
    data = os.urandom(100_000)
    files.write("jobs/1/input.csv", data)
    assert files.read("jobs/1/input.csv") == data
    assert files.size("jobs/1/input.csv") == len(data)
    with files.open("jobs/1/input.csv") as file:
        assert file.read(10) == data[:10]
        file.seek(90_000)
        assert file.read() == data[90_000:]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        *((2, 5, b"cde"), (8, None, b"ij"), (8, 99, b"ij"), (0, 0, b"")),
        *((5, 5, b""), (0, None, b"abcdefghij")),
    ],
)
def test_bytes_of_a_range_are_read(files, start, end, expected):
    files.write("x", b"abcdefghij")
    assert files.read("x", start, end) == expected


def test_writer_makes_the_file_at_its_end(files):
    with files.writer("a/b") as file:
        file.write(b"12")
        assert not files.exists("a/b")
        file.write(b"34")
    assert files.read("a/b") == b"1234"


@pytest.mark.parametrize("nbytes", [0, 1, 60_000_000])
def test_writer_takes_any_size(files, nbytes):
    with files.writer("big") as file:
        for start in range(0, nbytes, 2**20):
            file.write(b"x" * min(2**20, nbytes - start))
    assert files.size("big") == nbytes


@pytest.mark.parametrize("nbytes", [0, 10, 60_000_000])
def test_broken_writer_leaves_what_was_there(files, nbytes):
    files.write("a/b", b"before")
    with pytest.raises(RuntimeError, match="broken"), files.writer("a/b") as file:
        file.write(b"x" * nbytes)
        raise RuntimeError("broken")
    # What is collected must not be sent after all.
    del file
    gc.collect()
    assert files.read("a/b") == b"before"
    assert files.names("a") == ["b"]


def test_file_is_replaced_whole(files):
    files.write("x", b"long before")
    files.write("x", b"now")
    assert files.read("x") == b"now"


def test_names_are_those_of_one_folder(files):
    assert files.names("jobs/1") == []
    for name in ("jobs/1/b", "jobs/1/a", "jobs/10/c", "jobs/1x"):
        files.write(name, b"")
    assert files.names("jobs/1") == ["a", "b"]


def test_what_another_wrote_is_seen_at_once(files, url):
    other = open_files(url)
    assert files.names("jobs") == [] and not files.exists("jobs/a")
    other.write("jobs/a", b"1")
    assert files.names("jobs") == ["a"] and files.exists("jobs/a")
    other.write("jobs/a", b"22")
    assert files.size("jobs/a") == 2
    other.remove("jobs")
    assert files.names("jobs") == [] and not files.exists("jobs/a")


def test_folder_is_removed_with_all_in_it(files, url):
    other = open_files(url)
    other.names("jobs/1")
    for name in ("jobs/1/b", "jobs/1/output/a", "jobs/10"):
        files.write(name, b"")
    other.remove("jobs/1")
    other.remove("jobs/1")
    other.remove("nothing/there")
    assert files.names("jobs/1") == files.names("jobs/1/output") == []
    assert files.exists("jobs/10")


def test_missing_file_is_an_os_error(files):
    for verb in (files.read, files.size, lambda path: files.open(path).read()):
        with pytest.raises(FileNotFoundError):
            verb("jobs/none")


def test_url_makes_the_same_files(files):
    files.write("x", b"1")
    assert open_files(files.url).read("x") == b"1"


def test_files_are_good_on_both_sides_of_a_fork(files, in_child):
    files.write("x", b"1")
    assert in_child(lambda: files.read("x") == b"1")
    assert files.read("x") == b"1"


def test_folder_is_for_its_owner_only(tmp_path):
    before = os.umask(0)
    try:
        Folder(tmp_path / "home").write("jobs/1/x", b"1")
    finally:
        os.umask(before)
    place = tmp_path / "home/jobs/1/x"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for each in list(place.parents)[:2]:
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


def test_folder_that_stays_is_told(tmp_path, monkeypatch):
    files = Folder(tmp_path)
    files.write("jobs/1/x", b"1")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(OSError, match="not empty"):
        files.remove("jobs/1")


def test_store_that_is_not_there_is_an_os_error(bucket):
    gone = Objects(f"{bucket}-other/x")
    with pytest.raises(OSError, match="bucket"):
        gone.write("x", b"1")


def test_store_that_does_not_answer_is_an_os_error(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OSError, match="does not answer"):
        Objects(bucket).read("x")


@pytest.mark.parametrize("url", ["", "bucket", "s3:", "s3://", "/folder"])
def test_url_without_a_place_is_refused(url):
    with pytest.raises(InvalidStoreUrl, match="is a URL such as"):
        open_files(url)


def test_unknown_kind_of_store_is_refused():
    with pytest.raises(InvalidStoreUrl, match="FORETELL_STORE_URL"):
        open_files("ftq://host/folder").read("x")
