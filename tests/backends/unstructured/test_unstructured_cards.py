"""Cards of unstructured models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.model import InvalidModelCard, Model

HOOK = Model("0" * 24, "n", "python", "hook.py", "unstructured", "", ())
IO = {"inputs": [], "outputs": []}


def read(model):
    return Model.from_json(model.to_json(), "0" * 24)


def test_hook_and_graph_are_read_back():
    assert read(HOOK) == HOOK
    graph = replace(HOOK, format="onnx", file="model.onnx", io=IO)
    assert read(graph) == graph


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"task": "regression", "format": "python"}, "features"),
        ({"format": "lightgbm"}, "format"),
        ({"file": "hook.txt"}, "file"),
        ({"file": "a-b.py"}, "file"),
        ({"io": IO}, "io"),
        ({"format": "onnx"}, "io"),
    ],
)
def test_card_that_fits_nothing_is_refused(changes, key):
    with pytest.raises(InvalidModelCard, match=f"model.json: {key}"):
        read(replace(HOOK, **changes))
