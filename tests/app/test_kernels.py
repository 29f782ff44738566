"""Kernels are ready when a process scores, kept or not."""

from app.kernels import prepare_kernels
from backends.trees import kernels


def test_full_disk_stops_nothing(monkeypatch, tmp_path, caplog):
    seen = []

    def prepare(folder):
        seen.append(folder)
        if len(seen) < 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernels, "prepare", prepare)
    prepare_kernels(str(tmp_path))
    assert seen == [tmp_path] * 3
    assert caplog.text.count("No space left on device") == 2
