"""What runs in the sandbox cannot take the server with it."""

import os
import time
from pathlib import Path

import pytest

from backends import sandbox
from backends.base import ModelFileRejected

MIB = 2**20


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the body of a function in the sandbox, in a module that lies in tmp_path."""

    def call(
        body: str, *arguments, seconds: float = 20, memory: int = 500 * MIB, **more
    ):
        # The child imports from its own program's folder; a copy of that stands here.
        (tmp_path / "probe.py").write_text(f"def probe(*arguments):\n    {body}\n")
        packages = tmp_path / "backends"
        packages.mkdir(exist_ok=True)
        for name in (
            "__init__.py",
            "base.py",
            "compiled.py",
            "model.py",
            "features.py",
            "sandbox.py",
        ):
            source = Path(sandbox.__file__).with_name(name)
            (packages / name).write_bytes(source.read_bytes())
        monkeypatch.setattr(sandbox, "__file__", str(packages / "sandbox.py"))
        caps = {"seconds": seconds, "memory": memory} | more
        return sandbox.run("probe:probe", *arguments, **caps)

    return call


def test_arguments_go_in_and_the_answer_comes_out(call) -> None:
    assert call("return [arguments, None]", "São", [1.5]) == [["São", [1.5]], None]


def test_what_libraries_print_does_not_mix_with_the_answer(call) -> None:
    assert call("import os; print('noise'); os.write(1, b'noise'); return 1") == 1


def test_hog_of_time_is_stopped(call) -> None:
    start = time.monotonic()
    with pytest.raises(ModelFileRejected, match="more than the 0.5 seconds"):
        call("while True: pass", seconds=0.5)
    assert time.monotonic() - start < 10


def test_sleeper_is_stopped(call) -> None:
    with pytest.raises(ModelFileRejected, match="more than the 0.3 seconds"):
        call("import time; time.sleep(60)", seconds=0.3)


def test_child_that_ignores_its_alarm_is_killed(
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_START_SECONDS", 1.0)
    with pytest.raises(ModelFileRejected, match="more than the 0.3 seconds"):
        call(
            "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN);"
            " time.sleep(60)",
            seconds=0.3,
        )


@pytest.mark.parametrize(
    "body",
    ["return len(bytearray(10**9))", "raise ValueError('std::bad_alloc')"],
    ids=["python", "library"],
)
def test_hog_of_memory_is_stopped(call, body: str) -> None:
    with pytest.raises(ModelFileRejected, match="more than the 104857600 bytes"):
        call(body, memory=100 * MIB)


def test_imports_do_not_count_against_the_memory_cap(call) -> None:
    # numpy and pyarrow alone reserve more address space than this.
    body = "import numpy; return int(numpy.ones(1000).sum())"
    assert call(body, memory=50 * MIB) == 1000


def test_crash_is_told_by_its_signal(call) -> None:
    with pytest.raises(ModelFileRejected, match=r"crashed .*\(SIGSEGV\)"):
        call("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ModelFileRejected, match=r"crashed .*\(status 3\)"):
        call("import os; os._exit(3)")


def test_rejection_keeps_its_message(call) -> None:
    with pytest.raises(ModelFileRejected, match="^too odd$"):
        call("raise ValueError('too odd')")


def test_other_failure_is_a_rejection_too(call) -> None:
    with pytest.raises(ModelFileRejected, match="could not be read: KeyError: 'x'"):
        call("return {}['x']")


def test_endless_output_is_cut_off(call, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileRejected, match="could not be read|crashed"):
        call("import os\n    while True: os.write(2, bytes(2**20))")


def test_child_sees_no_environment_and_no_input(
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETELL_SECRET", "hidden")
    environment, data, folder = call(
        "import os, sys; return [dict(os.environ), sys.stdin.read(), os.getcwd()]"
    )
    assert "FORETELL_SECRET" not in environment
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert (data, folder) == ("", "/")


def test_no_core_dump_is_left(call) -> None:
    limits = call("import resource; return resource.getrlimit(resource.RLIMIT_CORE)")
    assert limits == [0, 0]


def test_caps_stay_below_those_of_the_parent(call) -> None:
    hard = call(
        "import resource; return resource.getrlimit(resource.RLIMIT_AS)[1]",
        memory=100 * MIB,
    )
    assert 0 < hard < 8 * 2**30
    assert os.getpid() != call("import os; return os.getpid()")


def test_preparation_does_not_count_against_the_caps(call) -> None:
    body = "import time; time.sleep(arguments[0]); return len(bytes(arguments[1]))"
    prepare = ["probe:probe", 0.5, 200 * MIB]
    assert call(body, 0, 7, seconds=0.3, memory=100 * MIB, prepare=prepare) == 7
    with pytest.raises(ModelFileRejected, match="more than the 0.3 seconds"):
        call(body, 0.5, 7, seconds=0.3)


def test_larger_files_may_be_allowed(call, tmp_path: Path) -> None:
    file = str(tmp_path / "written")
    body = "open(arguments[0], 'wb').write(bytes(arguments[1])); return 1"
    with pytest.raises(ModelFileRejected, match="could not be read: OSError"):
        call(body, file, 65 * MIB)
    assert call(body, file, 65 * MIB, file_bytes=70 * MIB)
