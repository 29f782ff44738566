"""What explains a model is read from its bundle, once, when first asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backends.bundle import EXEMPLARS, REFERENCE
from backends.explanations.base import NotInitialized
from backends.explanations.materials import Materials
from backends.model import Feature, Model

MODEL = Model(
    *("0" * 24, "m", "lightgbm", "model.txt", "regression", "y"),
    features=(Feature("x", "numeric"), Feature("y", "numeric")),
)


def save(folder: Path, name: str) -> None:
    content = {"features": [{"name": name, "values": [[1, 0.5], [None, 0.5]]}]}
    (folder / EXEMPLARS).write_text(json.dumps(content))


def test_exemplars_are_read_once(tmp_path: Path) -> None:
    save(tmp_path, "y")
    materials = Materials(tmp_path, MODEL)
    found = materials.exemplars
    assert found.features.tolist() == [1]
    (tmp_path / EXEMPLARS).unlink()
    assert materials.exemplars is found


def test_bundle_without_exemplars_is_not_initialized(tmp_path: Path) -> None:
    materials = Materials(tmp_path, MODEL)
    message = "^Prediction Explanations are not initialized for the model$"
    with pytest.raises(NotInitialized, match=message):
        _ = materials.exemplars


def test_damaged_exemplars_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, "z")
    materials = Materials(tmp_path, MODEL)
    for _ in range(3):
        with pytest.raises(NotInitialized):
            _ = materials.exemplars
    assert "takes no feature 'z'" in caplog.text
    assert MODEL.id in caplog.text
    assert len(caplog.records) == 1


def keep(folder: Path, **columns: list[object]) -> None:
    pq.write_table(pa.table(columns), folder / REFERENCE)


def test_reference_rows_are_decoded_once(tmp_path: Path) -> None:
    keep(tmp_path, target=["a", "b"], y=["1", ""], x=[2.5, 3.5])
    materials = Materials(tmp_path, MODEL)
    found = materials.reference
    assert str(found.matrix.tolist()) == "[[2.5, 1.0], [3.5, nan]]"
    (tmp_path / REFERENCE).unlink()
    assert materials.reference is found


def test_bundle_without_reference_rows_is_not_initialized(tmp_path: Path) -> None:
    with pytest.raises(NotInitialized):
        _ = Materials(tmp_path, MODEL).reference
    keep(tmp_path, x=[], y=[])
    with pytest.raises(NotInitialized):
        _ = Materials(tmp_path, MODEL).reference


@pytest.mark.parametrize("damage", ["cut", "another table", "a text for a number"])
def test_damaged_reference_rows_are_logged_once(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path, x=["much" if "text" in damage else "1"], y=[2.0])
    if damage == "another table":
        keep(tmp_path, z=[1.0])
    if damage == "cut":
        whole = (tmp_path / REFERENCE).read_bytes()
        (tmp_path / REFERENCE).write_bytes(whole[:-20])
    materials = Materials(tmp_path, MODEL)
    for _ in range(3):
        with pytest.raises(NotInitialized):
            _ = materials.reference
    assert f"reference rows of {MODEL.id} are not read" in caplog.text
    assert len(caplog.records) == 1


def test_no_more_reference_rows_are_read_than_memory_is_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, x=[1.0] * 4, y=[2.0] * 4)
    monkeypatch.setattr("backends.explanations.materials._MOST_CELLS", 7)
    with pytest.raises(NotInitialized):
        _ = Materials(tmp_path, MODEL).reference
    assert "they have 8 cells, more than 7" in caplog.text
    monkeypatch.setattr("backends.explanations.materials._MOST_CELLS", 8)
    assert len(Materials(tmp_path, MODEL).reference) == 4
