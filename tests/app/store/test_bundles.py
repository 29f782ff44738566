"""Bundles appear complete or not at all, whatever happens meanwhile."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.store.bundles import Bundles
from app.store.errors import InvalidBundle, InvalidId, UnknownModel

ROOT = Path(__file__).parents[3]
MODEL = "ab" * 12
CONTENT = {
    "model.json": b"{}",
    "model.onnx": bytes(range(256)) * 64,
    "data/weights.bin": b"\0" * 100_000,
    "empty": b"",
}

PUT = """
import sys
from pathlib import Path
from app.store.bundles import Bundles
Bundles(Path(sys.argv[1])).put(Path(sys.argv[2]), sys.argv[3])
"""
# Ends the process, as a power cut would, before its n-th call that has an effect.
CRASH = """
import os, sys
left = int(sys.argv[4])
def crashing(call):
    def crash_or_call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **options)
    return crash_or_call
for name in ("mkdir", "open", "fsync", "rename", "rmdir", "unlink"):
    setattr(os, name, crashing(getattr(os, name)))
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bundle"
    write(folder, CONTENT)
    return folder


@pytest.fixture
def bundles(home):
    return Bundles(home)


def write(folder, content):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def read(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names(home):
    return sorted(path.name for path in (home / "bundles").iterdir())


def child(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT)


def test_bundle_is_kept_under_its_models_id(bundles, folder, home):
    kept = bundles.put(folder, MODEL)
    assert kept == bundles.path(MODEL) == home / "bundles" / MODEL
    assert read(kept) == CONTENT
    assert names(home) == [MODEL]


def test_putting_again_changes_nothing(bundles, folder):
    kept = bundles.put(folder, MODEL)
    before = kept.stat().st_ino
    assert bundles.put(folder, MODEL) == kept
    assert kept.stat().st_ino == before


def test_nobody_else_reads_a_bundle(bundles, folder, home):
    before = os.umask(0)
    try:
        (folder / "model.json").chmod(0o666)
        kept = bundles.put(folder, MODEL)
    finally:
        os.umask(before)
    paths = [home, home / "bundles", kept, *kept.rglob("*")]
    assert not [path for path in paths if path.stat().st_mode & 0o077]
    assert stat.S_IMODE((kept / "model.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("model_id", ["", "..", "../" * 8, "A" * 24, MODEL + "/x"])
def test_no_other_name_is_reached(bundles, folder, model_id):
    with pytest.raises(InvalidId):
        bundles.put(folder, model_id)
    with pytest.raises(InvalidId):
        bundles.path(model_id)


def test_absent_bundle_is_unknown(bundles):
    with pytest.raises(UnknownModel, match=MODEL):
        bundles.path(MODEL)


@pytest.mark.parametrize("kind", ["file link", "folder link", "pipe"])
def test_only_files_and_folders_are_copied(bundles, folder, home, kind):
    strange = folder / "data" / "strange"
    if kind == "pipe":
        os.mkfifo(strange)
    else:
        strange.symlink_to("/etc/passwd" if kind == "file link" else "/etc")
    with pytest.raises(InvalidBundle, match="'strange' is not a file or a folder"):
        bundles.put(folder, MODEL)
    assert names(home) == []


def test_failed_copy_leaves_nothing(bundles, folder, home, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        (home / "bundles").mkdir(parents=True)
        bundles.put(folder, MODEL)
    assert names(home) == []


def test_everything_is_on_the_disk_before_it_has_its_name(
    bundles, folder, home, monkeypatch
):
    synced, rename = [], os.rename

    def note(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def rename_after_all(source, target):
        incoming = Path(source)
        assert {incoming, *incoming.rglob("*")} <= set(synced)
        synced.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "rename", rename_after_all)
    bundles.put(folder, MODEL)
    assert synced[0] == home
    assert synced[-2:] == ["rename", home / "bundles"]


def test_crash_anywhere_leaves_the_old_state_or_the_new(tmp_path, folder):
    outcomes = set()
    for calls in range(100):
        home = tmp_path / str(calls)
        crashing = child(CRASH + PUT, home, folder, MODEL, calls)
        ended = crashing.wait()
        bundles = Bundles(home)
        try:
            left = bundles.path(MODEL)
        except UnknownModel:
            outcomes.add("old")
        else:
            assert read(left) == CONTENT
            outcomes.add("new" if ended else "done")
        # And the next one puts everything right.
        assert read(bundles.put(folder, MODEL)) == CONTENT
        assert names(home) == [MODEL]
        if ended == 0:
            break
        assert ended == 9
    assert ended == 0
    assert outcomes == {"old", "new", "done"}


def test_killed_process_leaves_the_old_state_or_the_new(tmp_path, home):
    folder = tmp_path / "large"
    write(folder, {f"{number}": os.urandom(1 << 20) for number in range(8)})
    content = read(folder)
    bundles = Bundles(home)
    unfinished = 0
    for number in range(8):
        model_id = f"{number:024x}"
        killed = child(PUT, home, folder, model_id)
        while not list(home.glob("bundles/.incoming-*")) and killed.poll() is None:
            time.sleep(0.001)
        # From the first file on, later and later.
        time.sleep(number * 0.005)
        killed.kill()
        killed.wait()
        unfinished += len(list(home.glob("bundles/.incoming-*")))
        if (home / "bundles" / model_id).exists():
            assert read(bundles.path(model_id)) == content
        assert read(bundles.put(folder, model_id)) == content
        assert not list(home.glob("bundles/.incoming-*"))
    assert unfinished


def test_unfinished_copy_of_a_living_process_is_left_alone(bundles, folder, home):
    # Several at once: each waits for its turn, and none removes another's work.
    errors = []

    def put(number):
        try:
            for each in range(5):
                bundles.put(folder, f"{number * 10 + each:024x}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(names(home)) == 20
    assert all(read(home / "bundles" / name) == CONTENT for name in names(home))
