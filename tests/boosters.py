"""Boosters of tests as files of bundles."""

from __future__ import annotations

from pathlib import Path

import lightgbm

from backends.onnx_graph import inspect, write_served


def save_booster(booster: lightgbm.Booster, path: Path, format: str) -> None:
    """Save a model as LightGBM's text, or as the ONNX graph that bundles have."""
    if format == "lightgbm":
        booster.save_model(path)
        return
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    # A graph's own categories would be strings.
    kinds = [("input", FloatTensorType([None, booster.num_feature()]))]
    made = convert_lightgbm(booster, initial_types=kinds, zipmap=False)
    source = path.with_suffix(".source")
    source.write_bytes(made.SerializeToString())
    write_served(source, path, inspect(source))
    source.unlink()
