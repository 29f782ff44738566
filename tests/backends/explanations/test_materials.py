"""What explains a model is read from its bundle, once, when first asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.bundle import EXEMPLARS
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


def test_damaged_exemplars_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, "z")
    with pytest.raises(NotInitialized):
        _ = Materials(tmp_path, MODEL).exemplars
    assert "takes no feature 'z'" in caplog.text
    assert MODEL.id in caplog.text
