"""A compiled folder appears whole, or not at all."""

import os
import stat

import pytest

from app.store.compiled import CompiledModels
from app.store.errors import InvalidId

MODEL = "5a1e" * 6


@pytest.fixture
def compiled(tmp_path):
    return CompiledModels(tmp_path / "home", "2")


def filling(text):
    def fill(folder):
        (folder / "arrays.npy").write_text(text)

    return fill


def never(folder):
    return False


def names(compiled):
    return sorted(path.name for path in compiled.path(MODEL).parent.iterdir())


def test_folder_is_private_and_named_by_model_and_layout(compiled):
    compiled.put(MODEL, filling("new"), unless=never)
    folder = compiled.path(MODEL)
    assert names(compiled) == [f"{MODEL}-2"]
    for path in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "arrays.npy").stat().st_mode) == 0o600


def test_what_is_good_stays(compiled):
    compiled.put(MODEL, filling("old"), unless=lambda folder: folder.exists())
    compiled.put(MODEL, filling("new"), unless=lambda folder: folder.exists())
    assert (compiled.path(MODEL) / "arrays.npy").read_text() == "old"


def test_what_is_not_is_replaced(compiled):
    compiled.put(MODEL, filling("old"), unless=never)
    with (compiled.path(MODEL) / "arrays.npy").open() as mapped:
        compiled.put(MODEL, filling("new"), unless=never)
        assert mapped.read() == "old"
    assert (compiled.path(MODEL) / "arrays.npy").read_text() == "new"
    assert names(compiled) == [f"{MODEL}-2"]


def test_older_layout_of_the_same_model_goes(compiled, tmp_path):
    other = "f00d" * 6
    older = CompiledModels(tmp_path / "home", "1")
    for model in (MODEL, other):
        older.put(model, filling("older"), unless=never)
    compiled.put(MODEL, filling("new"), unless=never)
    assert names(compiled) == [f"{MODEL}-2", f"{other}-1"]


def test_failure_leaves_what_was_there(compiled, monkeypatch):
    compiled.put(MODEL, filling("old"), unless=never)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            compiled.put(MODEL, filling("new"), unless=never)
    assert names(compiled) == [f"{MODEL}-2"]
    assert (compiled.path(MODEL) / "arrays.npy").read_text() == "old"


def test_what_a_dead_process_left_is_removed(compiled):
    folder = compiled.path(MODEL).parent
    (folder / ".incoming-x").mkdir(parents=True)
    compiled.put(MODEL, filling("new"), unless=never)
    assert names(compiled) == [f"{MODEL}-2"]


def test_name_that_is_no_id_is_refused(compiled):
    with pytest.raises(InvalidId):
        compiled.path("../bundles")
