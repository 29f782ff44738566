"""docs/batch.md on a real server: its walk works as it is printed."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests.server.processes import ROOT, Server
from tests.server.served_models import FIRST, environment, frame, prediction_path

PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
ROWS = 200


def walk(address: str) -> str:
    """The first code of the page, with a server and a deployment that are there."""
    found = re.search(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    assert found is not None
    printed = {"localhost:8080": address, "5dc5b1015e6e762a6241f9aa": FIRST}
    code = found[1]
    for each, ours in printed.items():
        assert each in code
        code = code.replace(each, ours)
    return code


def test_lines_of_the_page_score_a_file(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start()
    rows = frame(ROWS, seed=11).assign(id=range(ROWS))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    token = server.headers()["Authorization"].rpartition(" ")[2]
    done = subprocess.run(
        ["sh", "-ec", walk(f"127.0.0.1:{server.port}")],
        cwd=tmp_path,
        env=environment(server.home)
        | {"PATH": os.environ["PATH"], "TOKEN": token, "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scored = pd.read_csv(tmp_path / "scored.csv")
    query = "?passthroughColumns=id"
    headers = server.headers() | {"Accept": "text/csv", "Content-Type": "text/csv"}
    body = (tmp_path / "rows.csv").read_bytes()
    answer = server.ask("POST", prediction_path(FIRST, query), body, headers)
    pd.testing.assert_frame_equal(scored, pd.read_csv(io.BytesIO(answer.body)))
