"""Compiled kernels are kept, and found again only as they were kept."""

from __future__ import annotations

import ast
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backends.trees import kernel_cache, kernels
from backends.trees.kernel_files import KernelFiles

ROOT = Path(__file__).parents[3]

_PREPARE = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from backends.trees import kernel_cache
chosen = [each for each in kernel_cache._kernels()
          if sys.argv[2] in ("all", each[0].__name__)]
assert chosen
kernel_cache._kernels = lambda: chosen
kernel_cache.prepare(sys.argv[1])
"""


def prepared(folder: Path, root: Path = ROOT, kernel: str = "all") -> str:
    """What a process logs that prepares the kernels, or one of them.

    root: where the project is installed.
    """
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PREPARE, folder, kernel],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stderr


@pytest.fixture
def kept(kernels: Path, tmp_path: Path) -> Path:
    """A copy of the compiled kernels, alone in its folder."""
    source = kernels / kernel_cache._fingerprint()
    return Path(shutil.copytree(source, tmp_path / "kernels" / source.name))


def imported(source: Path) -> set[str]:
    """Names of the engine's modules that a source imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            package, _, module = str(node.module).rpartition(".")
            found |= {f"{module}.py"} if package == "backends.trees" else set()
    return found


def test_kept_kernels_are_named_by_all_their_sources() -> None:
    """Else a kernel of before a change would be taken for the one of after it."""
    folder = Path(kernel_cache.__file__).parent
    codes = [kernel.py_func.__code__ for kernel, _ in kernel_cache._kernels()]
    found, more = set(), {Path(code.co_filename).name for code in codes}
    while more:
        found |= more
        more = {name for each in more for name in imported(folder / each)} - found
    assert sorted(found) == list(kernel_cache._SOURCES)


def test_kept_kernels_are_loaded(kept: Path) -> None:
    assert prepared(kept.parent) == ""


def test_kept_kernels_serve_installations_elsewhere(kept: Path, tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "backends", tmp_path / "backends", ignore=skip)
    assert prepared(kept.parent, tmp_path) == ""
    # Nothing was compiled, which would have been added to what is kept.
    assert prepared(kept.parent) == ""


def test_code_is_looked_for_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "kernels"
    for kernel, _ in kernels.KERNELS:
        # numba's own choice is another folder if one cannot be written to.
        assert KernelFiles(kernel.py_func, folder).cache_path == str(folder)


def test_unreachable_folder_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert not kernel_cache._load(tmp_path / "0123")
    assert "cannot be loaded" in caplog.text


@pytest.mark.parametrize("damage", ["nbc", "nbi"])
def test_damaged_kernels_are_not_loaded(
    damage: str, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [path, *_] = kept.rglob(f"*.{damage}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not kernel_cache._load(kept)
    assert "are damaged" in caplog.text


def test_damaged_kernels_are_compiled_anew(kept: Path) -> None:
    [path, *_] = kept.rglob("*.nbc")
    path.write_bytes(path.read_bytes()[:1000])
    # Every kernel is compiled where a test run begins, which takes half a minute.
    said = prepared(kept.parent, kernel="weigh_exemplars")
    assert "are damaged" in said
    assert "compiling" in said
    assert prepared(kept.parent, kernel="weigh_exemplars") == ""
    assert [each.name for each in kept.parent.iterdir()] == [kept.name]


def test_folder_that_cannot_be_made_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Path | None] = []
    monkeypatch.setattr(kernel_cache, "_compile_in", compiled.append)
    (tmp_path / "kernels").write_text("a file")
    kernel_cache._compile(tmp_path / "kernels" / "0123")
    assert compiled == [None]
    assert "cannot be kept" in caplog.text


def test_full_disk_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Path | None] = []

    def compile_in(cache: Path | None) -> None:
        compiled.append(cache)
        if cache is not None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel_cache, "_compile_in", compile_in)
    with caplog.at_level(logging.WARNING):
        kernel_cache._compile(tmp_path / "kernels" / "0123")
    assert compiled[1:] == [None]
    assert "No space left on device" in caplog.text
    assert list((tmp_path / "kernels").iterdir()) == []
