"""A batch job from a file of the server to another one, both Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.api_client import api_at
from tests.server.batch_client import Batches
from tests.server.processes import Server
from tests.server.served_models import FIRST, ServedModels, frame


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def batches(start: Callable[..., Server], shared: Path) -> Batches:
    server = start(batch_locations=str(shared), workers=1)
    return Batches(api_at(server), FIRST)


def place(path: Path) -> dict[str, str]:
    return {"type": "filesystem", "path": str(path)}


def test_parquet_of_the_server_is_scored_into_parquet(
    batches: Batches, shared: Path, models: ServedModels
) -> None:
    rows = frame(5_000, seed=31)
    rows.to_parquet(shared / "input.parquet", index=False)
    asked = {
        "intakeSettings": place(shared / "input.parquet"),
        "outputSettings": place(shared / "output.parquet"),
        "passthroughColumns": ["colour"],
    }
    job = batches.ended(batches.create(**asked)["id"])
    assert job["status"] == "COMPLETED", job["logs"]
    scored = pq.read_table(shared / "output.parquet")
    assert scored.schema.field("outcome_won_PREDICTION").type == pa.float64()
    values = scored["outcome_won_PREDICTION"].to_pylist()
    assert values == models.probabilities(FIRST, rows)
    assert scored["colour"].to_pylist() == rows["colour"].tolist()
    assert sorted(each.name for each in shared.iterdir()) == [
        "input.parquet",
        "output.parquet",
    ]


def test_place_that_is_not_allowed_is_refused(batches: Batches) -> None:
    told = batches.refusal(intakeSettings=place(Path("/etc/passwd")))
    assert "FORETELL_BATCH_LOCATIONS" in str(told)


def test_input_that_is_not_there_ends_the_job(batches: Batches, shared: Path) -> None:
    asked = {"intakeSettings": place(shared / "no.csv")}
    job = batches.ended(batches.create(**asked)["id"])
    assert job["status"] == "ABORTED"
    assert "no such file" in job["statusDetails"]
