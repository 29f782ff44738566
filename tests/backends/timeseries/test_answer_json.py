"""A spec's intervals and files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.timeseries.specs import (
    CLASSES,
    DIRECT,
    GONE,
    changed,
    refusal,
)


def test_every_distance_has_an_interval() -> None:
    told = refusal(changed(DIRECT, "predictionIntervals.80.2", GONE))
    assert told == "predictionIntervals.80.2: missing"


def test_classes_have_no_intervals() -> None:
    spec = {**CLASSES, "predictionIntervals": {"space": "model"}}
    assert refusal(spec).startswith("predictionIntervals: only a target of Regression")


# What is put where in the direct spec, and how the message then begins.
MISTAKES: list[tuple[str, Any, str]] = [
    ("models.2", GONE, "models.2: missing"),
    ("models.3", "h3.txt", "models.3: unknown key; the known ones are 1, 2"),
    (
        "models.1",
        "../h1.txt",
        "models.1: the name of a file, without its folder, is exp",
    ),
    (
        "predictionIntervals.space",
        "target",
        "predictionIntervals.space: unknown 'target';",
    ),
    ("predictionIntervals.space", GONE, "predictionIntervals.space: missing"),
    (
        "predictionIntervals.101",
        {},
        "predictionIntervals.101: sizes are whole numbers from",
    ),
    (
        "predictionIntervals.080",
        {},
        "predictionIntervals.080: sizes are whole numbers from",
    ),
    (
        "predictionIntervals.80.3",
        [0, 1],
        "predictionIntervals.80.3: unknown key; the known",
    ),
    (
        "predictionIntervals.80.1",
        [1, 0],
        "predictionIntervals.80.1: low 1.0 is above high",
    ),
    (
        "predictionIntervals.80.1",
        [0],
        "predictionIntervals.80.1: low and high are expected",
    ),
    (
        "predictionIntervals.80.1.1",
        10**400,
        "predictionIntervals.80.1[1]: a finite number",
    ),
    ("explanations.reference", 1, "explanations.reference: a text is expected, not 1"),
    (
        "explanations.reference",
        "/etc/passwd",
        "explanations.reference: the name of a file, without its folder, is expected",
    ),
    (
        "goldenSample.expected",
        "../sample.json",
        "goldenSample.expected: the name of a file, without its folder, is expected",
    ),
    ("model.numFeatures", 10, "model.numFeatures: the spec has 11 features"),
    (
        "goldenSample.sample",
        "a",
        "goldenSample.sample: unknown key; the known ones are re",
    ),
]


@pytest.mark.parametrize(("place", "value", "message"), MISTAKES)
def test_mistake_is_named_by_its_path(place: str, value: Any, message: str) -> None:
    assert refusal(changed(DIRECT, place, value)).startswith(message)


def test_models_have_not_too_many_files() -> None:
    spec = changed(DIRECT, "predictionIntervals", GONE)
    spec = changed(spec, "forecastWindow.end", 1001)
    files = {str(each): f"h{each}.txt" for each in range(1, 1002)}
    assert refusal(changed(spec, "models", files)) == (
        "models: at most 1,000 files are allowed, and the forecast window has 1,001"
        " distances"
    )
