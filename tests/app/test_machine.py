from pathlib import Path

import pytest

from app.machine import Cores, Memory, cores, memory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    return tmp_path


def in_group(root: Path, line: str, **files: str) -> None:
    (root / "proc/self/cgroup").write_text(line)
    for place, text in files.items():
        file = root / "sys/fs/cgroup" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_quota_of_a_version_2_group_is_read(root: Path) -> None:
    in_group(root, "0::/\n", **{"cpu.max": "150000 100000\n"})
    assert cores(root).quota == 1.5


def test_no_quota_is_max(root: Path) -> None:
    in_group(root, "0::/\n", **{"cpu.max": "max 100000\n"})
    assert cores(root).quota is None


def test_smallest_quota_of_the_groups_above_counts(root: Path) -> None:
    files = {
        "a.slice/cpu.max": "100000 100000",
        "a.slice/b.service/cpu.max": "400000 100000",
    }
    in_group(root, "0::/a.slice/b.service\n", **files)
    assert cores(root).quota == 1.0


def test_quota_of_a_version_1_group_is_read(root: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    # In a container the path is the host's, and its folder is not there.
    in_group(root, "4:cpu,cpuacct:/docker/0123\n0::/\n", **files)
    assert cores(root).quota == 2.5


def test_version_1_without_quota_is_minus_one(root: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    in_group(root, "4:cpu:/\n", **files)
    assert cores(root).quota is None


def test_machine_without_cgroups_has_no_limits(tmp_path: Path) -> None:
    assert cores(tmp_path).quota is None
    assert memory(tmp_path).limit is None


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"),
    [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.25, 1), (2, 16.0, 2)],
)
def test_quota_bounds_the_usable_cores(
    affinity: int, quota: float | None, usable: int
) -> None:
    assert Cores(64, affinity, quota).usable == usable


def test_memory_limit_of_version_2_is_read(root: Path) -> None:
    in_group(root, "0::/\n", **{"memory.max": "1073741824\n"})
    assert memory(root).limit == 2**30


def test_memory_limit_of_version_1_is_read(root: Path) -> None:
    files = {"memory/memory.limit_in_bytes": "1073741824\n"}
    in_group(root, "4:memory:/\n", **files)
    assert memory(root).limit == 2**30


def test_boundless_memory_of_version_1_is_no_limit(root: Path) -> None:
    files = {"memory/memory.limit_in_bytes": "9223372036854771712\n"}
    in_group(root, "4:memory:/\n", **files)
    assert memory(root).limit is None


def test_memory_limit_bounds_what_is_usable() -> None:
    assert Memory(machine=2**40, limit=2**30).usable == 2**30
    assert Memory(machine=2**30, limit=2**40).usable == 2**30
    assert Memory(machine=2**30, limit=None).usable == 2**30
