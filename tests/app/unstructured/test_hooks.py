"""Hooks over HTTP: what they are given, what comes of what they do."""

from __future__ import annotations

import ast
import io
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.config import Config
from app.errors import DeadlineExceeded, Overloaded
from app.store.errors import InvalidSetting
from app.store.records import Actor
from app.unstructured.hooks import Hooks
from backends import bundle
from backends.unstructured.code import HookCode
from backends.unstructured.media import Content
from tests.liveness import alive_after, is_alive
from tests.unstructured_models import make_hook

WAY = "application/x-way"


def do(send, way, **options):
    return send("ways", way.encode(), WAY, layout="unstructured", **options)


def processes():
    """Those of hooks that are alive."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if is_alive(each) and is_hook(each)]


def is_hook(process):
    try:
        return "hook_child" in str(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def refused(answer):
    assert answer.content_type == "application/json"
    return answer.status_code, answer.json["message"]


@pytest.mark.parametrize("layout", ["unstructured", "serverless unstructured"])
def test_texts_are_counted(send, layout):
    answer = send("statistics", "the naïve end", "text/plain", layout=layout)
    assert answer.json == {"characters": 13, "words": 2}
    assert answer.content_type == "application/json; charset=utf8"


def test_bytes_pass_as_they_are(send):
    body = bytes(range(256)) * 100
    answer = send("ways", body, "application/x-any")
    assert (answer.status_code, answer.data) == (200, body)
    assert answer.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/plain", "str"),
        ("text/csv; charset=utf-8", "str"),
        ("application/json", "str"),
        ("application/octet-stream", "bytes"),
        ("image/png", "bytes"),
        (None, "bytes"),
    ],
)
def test_text_comes_as_str_and_all_else_as_bytes(send, content_type, kind):
    answer = send("ways", b"5", content_type)
    expected = "text/plain; charset=utf-8"
    if kind == "bytes":
        expected = "application/octet-stream"
    assert (answer.data, answer.content_type) == (b"5", expected)


def test_hook_is_told_of_the_request_without_its_secrets(send):
    headers = {"datarobot-key": "s3cret", "Cookie": "s3cret", "X-Trace": "7"}
    answer = send("ways", b"", "application/x-about; charset=latin-1", headers=headers)
    model, kind, query, told = ast.literal_eval(answer.text)
    assert (model, kind, query) == (None, "bytes", {})
    assert (told["mimetype"], told["charset"]) == ("application/x-about", "latin-1")
    assert told["headers"]["X-Trace"] == "7"
    assert "s3cret" not in answer.text
    assert send.site.tokens["ann@example.com"] not in answer.text


def test_charset_of_a_text_is_followed_both_ways(send):
    answer = send("ways", "ä".encode("latin-1"), "text/plain; charset=latin-1")
    assert answer.data == "ä".encode()
    answer = do(send, "latin")
    assert answer.data == b"\xe4"
    assert answer.content_type == "text/plain; charset=latin-1"


def test_text_in_another_charset_than_it_says_is_refused(send):
    answer = send("ways", b"\xff\xfe", "text/plain")
    assert refused(answer) == (
        422,
        "The body is no text in utf-8: invalid start byte",
    )


def test_empty_body_is_the_hooks_to_judge(send):
    answer = send("ways", b"", None)
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "The model's hook raised IndexError: list index out of range"),
        ("raise oddly", "The model's hook raised Odd"),
        ("leave", "The model's hook raised SystemExit: left"),
        ("allocate", "The model's hook raised MemoryError"),
        ("write", "The model's hook raised OSError: [Errno 27] File too large"),
        ("exit", "The model's hook ended its process (status 3)"),
        ("abort", "The model's hook ended its process (SIGABRT)"),
        ("fork and exit", "The model's hook ended its process (status 4)"),
        ("rubbish", "The model's hook wrote where its answer belongs"),
        ("nothing", "The model's hook answered NoneType, not bytes or str"),
        ("number", "The model's hook answered int, not bytes or str"),
        (
            "three",
            "The model's hook answered a tuple that is not (bytes or str, dict)",
        ),
        ("odd type", "The model's hook answered a mimetype that is none"),
    ],
)
def test_failing_hook_is_told_and_answers_the_next(send, way, reason):
    assert refused(do(send, way)) == (422, reason)
    assert send("ways", b"next", None).data == b"next"


def test_open_files_are_bounded(send):
    status, reason = refused(do(send, "open"))
    assert (status, "Too many open files" in reason) == (422, True)


def test_long_reason_is_cut(send):
    status, reason = refused(do(send, "raise at length"))
    assert (status, len(reason)) == (422, 500)


def test_answer_over_the_limit_is_refused(send):
    assert refused(do(send, "large")) == (
        413,
        "The answer is larger than 1048576 bytes: send less at once",
    )
    assert send("ways", b"next", None).data == b"next"


def test_odd_charset_is_no_header(send):
    answer = do(send, "odd charset")
    assert answer.content_type == "application/octet-stream"
    assert "X" not in answer.headers
    assert answer.data == "ä".encode()


@pytest.mark.parametrize("way", ["hang", "sleep"])
def test_slow_hook_is_ended(serve_unstructured, way):
    ask = serve_unstructured(hook_seconds=0.5)
    assert refused(do(ask, way)) == (
        504,
        "The model's hook took longer than the 0.5 seconds that it may",
    )
    assert do(ask, "count").data == b"1"


def test_process_is_kept_between_requests(send):
    do(send, "exit")
    assert [do(send, "count").data for _ in range(3)] == [b"1", b"2", b"3"]


def test_process_killed_between_requests_fails_none(send):
    do(send, "count")
    killed = processes()
    for each in killed:
        each.kill()
    assert alive_after(killed) == []
    assert do(send, "count").data == b"1"


def test_forks_of_a_hook_answer_nothing(send):
    first, second = do(send, "fork"), do(send, "fork")
    assert first.data == second.data != b""


def test_what_is_printed_goes_to_the_log(send, caplog):
    caplog.set_level(logging.INFO)
    assert do(send, "print").data == b"printed"
    deadline = time.monotonic() + 120
    while "second file" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "from the hook?[31m" in caplog.text
    assert "from its first file" in caplog.text


def test_much_printing_fills_no_log(send, caplog):
    caplog.set_level(logging.INFO)
    assert do(send, "print much").data == b"ok"
    deadline = time.monotonic() + 120
    while "it prints more" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(caplog.records) < 250


def test_process_has_nothing_of_the_servers(send, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    do(send, "exit")
    names = ["HOME", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    names += ["ORT_DISABLE_TELEMETRY", "PATH", "TMPDIR"]
    assert do(send, "told").text == f"[] {names} 0 1"


def test_process_gains_no_rights_and_has_none(send):
    status = do(send, "child").text
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["NoNewPrivs"] == "1"
    assert int(lines["CapEff"], 16) == 0


def test_hook_has_no_network(send):
    pytest.importorskip("ctypes")
    from backends.unstructured.confinement import can_isolate

    if not can_isolate():
        pytest.skip("the kernel gives no namespaces here")
    # Network is unreachable.
    assert do(send, "connect").text == "101"


def test_failing_import_is_told(send):
    answer = send("failing", b"", None)
    assert refused(answer) == (
        422,
        "The model's hook raised RuntimeError: there is no such library",
    )


def test_hook_that_is_not_allowed_is_not_run(send):
    before = len(processes())
    answer = send("off", b"exit", WAY)
    assert refused(answer) == (
        422,
        "The deployment's model is a Python hook, which is not run unless the server's"
        " operator allows it: foretell update <id> --allow-python-hook",
    )
    assert len(processes()) <= before


def test_permission_is_for_one_model_only(send):
    statistics = send.services.store.deployment(send.site.deployments["statistics"])
    settings = {"python_hook": statistics.settings.python_hook}
    deployment = send.deploy("ways", **settings)
    assert send(deployment, b"", None).status_code == 422


def test_hook_that_is_forbidden_again_ends(send):
    model = send.services.store.deployment(send.site.deployments["ways"]).model_id
    deployment = send.deploy("ways", python_hook=model)
    before = len(processes())
    assert send(deployment, b"x", None).data == b"x"
    assert len(processes()) > before
    store = send.services.store
    store.update_deployment(deployment, settings={"python_hook": None})
    send.services.refresh()
    assert send(deployment, b"x", None).status_code == 422
    deadline = time.monotonic() + 120
    while len(processes()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes()) <= before


def test_api_cannot_allow_a_hook(send):
    store = send.services.store.acting(Actor("ann@example.com", "api"))
    deployment = store.deployment(send.site.deployments["off"])
    with pytest.raises(InvalidSetting, match="by its command line"):
        store.update_deployment(
            deployment.id, settings={"python_hook": deployment.model_id}
        )
    kept = store.deployment(deployment.id)
    assert kept.settings.python_hook is None


def test_permission_is_in_the_audit(send):
    entries = send.services.store.audit(send.site.deployments["ways"])
    deployment = send.services.store.deployment(send.site.deployments["ways"])
    after = [each.after["settings"] for each in entries if each.action == "update"]
    assert {"python_hook": deployment.model_id} in after


def test_changed_code_is_not_run(tmp_path):
    made = make_hook(tmp_path / "b", "ways")
    code = HookCode(made.folder, made.model)
    with (made.folder / "many_ways.py").open("a") as file:
        file.write("\nprint('changed')\n")
    hooks = Hooks(Config(home=tmp_path), lambda *_: True)
    with pytest.raises(bundle.BundleRejected, match="was changed"):
        hooks.answer("a" * 24, code, Content(b""), {}, time.monotonic() + 60)
    hooks.close()


def test_many_clients_get_their_own_answers(send):
    def ask(number):
        body = f"{number} " * (number + 1)
        return json.loads(send("statistics", body, "text/plain").data)["words"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(200))) == [n + 1 for n in range(200)]


def test_too_many_that_wait_are_refused(tmp_path):
    made = make_hook(tmp_path / "b", "ways")
    code = HookCode(made.folder, made.model)
    hooks = Hooks(Config(home=tmp_path, max_in_flight=1, workers=1), lambda *_: True)

    def ask(way):
        sent = Content.of(way, WAY)
        end = time.monotonic() + 5
        try:
            return hooks.answer("a" * 24, code, sent, {}, end).data
        except (Overloaded, DeadlineExceeded, Exception) as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, [b"sleep"] * 8))
    hooks.close()
    assert "Overloaded" in found
    assert set(found) <= {"Overloaded", "DeadlineExceeded", "HookTooSlow"}


def test_idle_process_ends_with_its_folder(tmp_path):
    made = make_hook(tmp_path / "b", "ways")
    code = HookCode(made.folder, made.model)
    hooks = Hooks(Config(home=tmp_path), lambda *_: True, idle_seconds=600)
    before = set(processes())
    sent = Content.of(b"told", WAY)
    hooks.answer("a" * 24, code, sent, {}, time.monotonic() + 60)
    (first, *_) = set(processes()) - before
    home = Path(first.cwd())
    assert home.is_dir() and home.parents[1] == tmp_path / "hooks"
    # Only now: a busy machine might let it end before anybody looked.
    hooks._idle_seconds = 0.1
    deadline = time.monotonic() + 120
    while set(processes()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(processes()) - before
    assert not home.exists()
    hooks.close()


def test_closing_ends_all_processes(serve_unstructured):
    before = set(processes())
    ask = serve_unstructured()
    do(ask, "count")
    assert set(processes()) - before
    ask.services.close()
    assert not set(processes()) - before


def test_body_in_chunks_and_compressed(send):
    import gzip

    body = b"the end of it " * 1000
    answer = send("statistics", io.BytesIO(body), "text/plain")
    assert answer.json["words"] == 2000
    packed = gzip.compress(body)
    headers = {"Content-Encoding": "gzip"}
    answer = send("statistics", packed, "text/plain", headers=headers)
    assert answer.json["words"] == 2000
