"""The folders of hooks, of processes that live and of those that were killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.unstructured.folders import WorkerFolder
from tests.server.processes import ROOT

CODE = """
import sys
from pathlib import Path
from app.unstructured.folders import WorkerFolder
print(WorkerFolder(Path(sys.argv[1])).get(), flush=True)
sys.stdin.read()
"""


def begun(home: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process with a folder, which has a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, home],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    (folder / "of-a-hook").mkdir()
    (folder / "of-a-hook" / "file").write_text("left")
    return process, folder


def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    (killed, abandoned), (living, kept) = begun(tmp_path), begun(tmp_path)
    with killed, living:
        killed.kill()
        killed.wait()
        assert abandoned.is_dir()
        own = WorkerFolder(tmp_path)
        folder = own.get()
        assert {*(tmp_path / "hooks").iterdir()} == {kept, folder}
        assert (kept / "of-a-hook" / "file").read_text() == "left"
        living.kill()
        own.remove()


def test_folder_is_private_and_named_by_its_process(tmp_path: Path) -> None:
    own = WorkerFolder(tmp_path / "home")
    folder = own.get()
    assert own.get() == folder
    for each in (folder, folder.parent):
        assert each.stat().st_mode & 0o777 == 0o700
    assert folder.parent == tmp_path / "home" / "hooks"
    own.remove()
    assert list(folder.parent.iterdir()) == []
    assert own.get() != folder
    own.remove()


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "link").symlink_to(outside)
    own = WorkerFolder(tmp_path)
    own.get()
    assert outside.is_dir() and (tmp_path / "hooks" / "link").is_symlink()
    own.remove()


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "hooks").write_text("a file")
    with pytest.raises(OSError):
        WorkerFolder(tmp_path).get()
