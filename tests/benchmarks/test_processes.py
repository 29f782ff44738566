import mmap
import os
import subprocess
import sys
import time

import pytest

from benchmarks import processes


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        yield process.pid
        process.kill()


def test_cpu_time_of_another_process_grows_with_its_work(child):
    while (used := processes.cpu_seconds(child)) == 0:
        time.sleep(0.001)
    assert 0 < used < 60


def test_cpu_time_agrees_with_the_own_clock():
    before = time.process_time()
    assert before <= processes.cpu_seconds(os.getpid()) <= time.process_time()


def test_children_are_listed(child):
    assert child in processes.children(os.getpid())


def test_peak_covers_what_was_freed():
    pid = os.getpid()
    processes.reset_peak(pid)
    before = processes.peak(pid)
    # Fresh pages: the heap may have some to spare.
    with mmap.mmap(-1, 60_000_000) as memory:
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
    assert processes.peak(pid) >= before + 50
    assert processes.resident(pid) > 0


def test_shared_pages_count_in_part():
    pid = os.getpid()
    assert 0 < processes.pss(pid) <= processes.resident(pid) * 1.01


def test_mapped_files_are_listed_under_their_whole_names(tmp_path):
    path = tmp_path / "some tables.npy"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        assert str(path) in processes.mapped(os.getpid())
    assert str(path) not in processes.mapped(os.getpid())
