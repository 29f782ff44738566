"""docs/management.md on a real server: its lines work as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from app.store.operations import Operations
from tests.server.processes import ROOT, Server, wait_for
from tests.server.served_models import BIN, FIRST, ServedModels, environment

PAGE = (ROOT / "docs" / "management.md").read_text(encoding="utf-8")
# Behind what each request prints: its status.
MARK = "@@@"


def lines() -> str:
    """What the page has typed, in its order."""
    typed: list[str] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S):
        goes_on = False
        for line in block.splitlines():
            if line.startswith("$ "):
                typed.append(line[2:])
            elif goes_on:
                typed.append(line)
            # A line ends with a backslash or a pipe, or inside a text.
            goes_on = typed[-1].endswith(("\\", "|")) or is_open(typed)
    return "\n".join(typed)


def is_open(typed: list[str]) -> bool:
    return "\n".join(typed).count("'") % 2 == 1


def script(server: Server, models: ServedModels, folder: Path) -> str:
    """The same, of a server, models and users that are there."""
    (folder / "train").symlink_to(models.home)
    printed = {
        "127.0.0.1:8080": f"127.0.0.1:{server.port}",
        "5e7000000000000000000001": FIRST,
        "token create example": "token create admin",
        "~/.foretell/examples/sex.txt": "train/first.txt",
        "~/.foretell/examples/sex.csv": "train/train.csv",
        "--target sex ": "--target outcome ",
        'PATH="$PWD/.venv/bin:$PATH"': f'PATH="{BIN}:$PATH"',
    }
    code = lines()
    for each, ours in printed.items():
        assert each in code, each
        code = code.replace(each, ours)
    told = f"curl -w '\\n{MARK} %{{http_code}}\\n' -s"
    return re.sub("^curl -s", lambda _: told, code, flags=re.M)


def test_lines_of_the_page_work(
    start: Callable[..., Server], models: ServedModels, tmp_path: Path
) -> None:
    server = start()
    done = subprocess.run(
        ["sh", "-ec", script(server, models, tmp_path)],
        cwd=tmp_path,
        env=environment(server.home) | {"PATH": os.environ["PATH"], "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    statuses = re.findall(rf"^{MARK} ([0-9]+)$", done.stdout, re.M)
    assert len(statuses) == PAGE.count("$ curl ") == 11
    assert {*statuses} <= {"200", "201", "202", "204"}, done.stdout
    version = re.search(r'^{"major".*$', PAGE, re.M)
    assert version is not None and version[0] in done.stdout
    store = server.store()
    made = store.deployment(FIRST)
    assert (made.description, made.importance) == ("of Palmer Station", "HIGH")
    assert not made.enabled and made.settings.association_id == "penguin"
    assert [each.name for each in made.settings.humility] == ["unsure"]
    assert made.shared_with == (store.user_by_name("bob").id,)
    assert "Sex of a penguin" in {each.label for each in store.deployments()}
    # The package is checked after its answer.
    operations = Operations(store.database)
    wait_for(
        lambda: any("modelPackages" in each for each in operations.made_by(models.user))
    )
    store.dispose()
