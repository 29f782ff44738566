"""The process of a hook, asked without a server."""

from __future__ import annotations

import time

import psutil
import pytest

from backends.unstructured.hook_process import HookLimits, HookProcess
from backends.unstructured.media import Content
from backends.unstructured.refusals import AnswerTooLarge, HookFailed, HookTooSlow
from tests.liveness import alive_after
from tests.unstructured_models import HOOKS, make_hook

LIMITS = HookLimits(seconds=20, load_seconds=30, memory=2**30, answer=2**20)
WAY = "application/x-way"


@pytest.fixture
def begin(tmp_path):
    made = make_hook(tmp_path / "hook", "ways")
    begun = []

    def start(limits=LIMITS, file="many_ways.py"):
        process = HookProcess(made.folder, file, "m" * 24, limits, tmp_path)
        begun.append(process)
        process.load(soon())
        return process

    yield start
    for each in begun:
        each.end()


def soon(seconds=60):
    return time.monotonic() + seconds


def ask(process, way, deadline=None):
    return process.score(Content.of(way.encode(), WAY), {}, deadline or soon())


def test_large_bodies_pass_both_ways(begin):
    process = begin()
    body = bytes(range(256)) * 4096
    answer = process.score(Content.of(body, "application/x-any"), {}, soon())
    assert answer.data == body


def test_deadline_of_the_request_counts_too(begin):
    process = begin()
    with pytest.raises(HookTooSlow):
        ask(process, "sleep", soon(0.3))
    assert not process.is_alive


def test_deadline_counts_while_it_starts(begin, tmp_path):
    slow = tmp_path / "hook" / "slow.py"
    slow.write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(HookTooSlow):
        begin(HookLimits(20, 0.5, 2**30, 2**20), "slow.py")


def test_memory_is_bounded(begin):
    with pytest.raises(HookFailed, match="MemoryError"):
        ask(begin(), "allocate")


def test_size_of_an_answer_is_bounded(begin):
    process = begin()
    with pytest.raises(AnswerTooLarge):
        ask(process, "large")
    assert not process.is_alive


def test_what_is_written_behind_an_answer_is_no_answer(begin, tmp_path):
    module = tmp_path / "hook" / "late.py"
    module.write_text(
        "import os, threading, time\n"
        "def late():\n"
        "    time.sleep(0.5)\n"
        "    for number in range(3, 64):\n"
        "        try:\n"
        "            os.write(number, b'x' * 500)\n"
        "        except OSError:\n"
        "            pass\n"
        "def score_unstructured(model, data, query, **kwargs):\n"
        "    threading.Thread(target=late).start()\n"
        "    return b'first'\n"
    )
    process = begin(file="late.py")
    assert ask(process, "").data == b"first"
    time.sleep(1.5)
    with pytest.raises(HookFailed, match="where its answer belongs"):
        ask(process, "")
    assert not process.is_alive


def test_end_takes_all_that_was_started(begin, tmp_path):
    module = tmp_path / "hook" / "parent.py"
    module.write_text(
        "import subprocess\n"
        "def score_unstructured(model, data, query, **kwargs):\n"
        "    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "    return 'begun'\n"
    )
    process = begin(file="parent.py")
    ask(process, "")
    started = psutil.Process(process._child.pid).children(recursive=True)
    assert any("sleep" in each.name() for each in started)
    process.end()
    if not process.is_isolated:
        pytest.skip("the kernel gives no namespaces here")
    assert alive_after(started) == []


def test_headers_that_are_too_long_are_left_out(begin):
    process = begin()
    headers = {"A": "1", "Long": "x" * 100_000, "B": "ä" * 100}
    sent = Content.of(b"", "application/x-about")
    answer = process.score(sent, headers, soon()).data.decode()
    assert "'A': '1'" in answer and "'B'" in answer and "Long" not in answer


def test_hooks_of_the_tests_are_there():
    assert (HOOKS / "many_ways.py").exists()
