"""Symbols are those of recorded answers and of the documented table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from backends.explanations.strength import SYMBOLS, symbols

RECORDED = Path(__file__).parents[4] / "shared" / "contract" / "recorded"


def signs(strengths: list[float], features: int) -> list[str]:
    return [SYMBOLS[place] for place in symbols(np.array(strengths), features)]


def recorded(name: str) -> str:
    path = RECORDED / name
    if not path.is_file():
        pytest.skip("the recorded answers are not on this machine")
    return path.read_text(encoding="utf-8")


def test_loan_has_the_printed_symbols() -> None:
    row = [0.234768, 0.187849, 0.134023, 0.103569, 0.100954, 0.096393, 0.080559]
    row += [-0.051017, -0.031441, 0.025562]
    printed = ["+++", *["++"] * 6, "-", "-", "+"]
    assert signs(row, 30) == printed


def test_share_is_of_the_ten_largest_strengths() -> None:
    # Recorded: 0.207765 of their sum, 1.026683, is just above a fifth.
    sizes = [0.384449, 0.207765, 0.198126, 0.102627, 0.048203, 0.025553, 0.021204]
    sizes += [0.016235, 0.012780, 0.009741]
    row = [-size for size in sizes]
    assert signs(row, 10)[:4] == ["---", "---", "--", "--"]
    # More features than ten change nothing, whatever their order.
    rest = [0.009] * 40
    assert signs(rest + row, 50)[40:43] == ["---", "---", "--"]
    # With all fifty in the sum none but the first would have three signs.
    assert 0.207765 / (1.026683 + sum(rest)) < 0.2


def test_eleventh_strength_is_no_part_of_the_whole() -> None:
    assert signs([*[1.0] * 10, 0.505], 11)[-1] == "++"
    assert signs([*[1.0] * 10, 0.495], 11)[-1] == "+"


def test_customer_has_the_printed_symbols() -> None:
    row = [1.6384553678, 1.4430331107, -0.4825517423, 0.4031497398, 0.0931963148]
    assert signs(row, 5) == ["+++", "++", "--", "+", "+"]


def test_symbols_are_those_of_recorded_customers() -> None:
    rows = list(
        csv.DictReader(recorded("churn_batch_explanations_merged.csv").split("\n"))
    )
    assert len(rows) >= 10
    for row in rows:
        places = [f"EXPLANATION_{place}" for place in range(1, 6)]
        strengths = [float(row[f"{place}_STRENGTH"]) for place in places]
        told = [row[f"{place}_QUALITATIVE_STRENGTH"] for place in places]
        assert signs(strengths, 5) == told


@pytest.mark.parametrize(
    "name", ["10kDiabetes_5explanations.json", "10kDiabetes_mixed_explanations.json"]
)
def test_symbols_fit_recorded_patients(name: str) -> None:
    # Five or fewer of the strengths of each row were recorded. Those that were not are
    # no larger than the last of them, so the sum lies between two bounds.
    rows = json.loads(recorded(name))["data"]
    count = 0
    for row in rows:
        told = row["predictionExplanations"]
        if not told:
            continue
        strengths = [each["strength"] for each in told]
        last = abs(strengths[-1])
        possible = [
            signs(strengths + [last * share] * (10 - len(told)), 40)[: len(told)]
            for share in np.linspace(0, 1, 201)
        ]
        assert [each["qualitativeStrength"] for each in told] in possible
        count += len(told)
    assert count >= 25


@pytest.mark.parametrize(
    ("features", "share", "sign"),
    [
        (2, 0.76, "+++"),
        (2, 0.75, "++"),
        (2, 0.2501, "++"),
        (2, 0.25, "+"),
        (2, 0.001, "+"),
        (2, 0.00099, "<+"),
        (4, 0.51, "+++"),
        (4, 0.5, "++"),
        (4, 0.126, "++"),
        (4, 0.125, "+"),
        (9, 0.223, "+++"),
        (9, 0.222, "++"),
        (10, 0.201, "+++"),
        (10, 0.2, "++"),
        (10, 0.051, "++"),
        (10, 0.05, "+"),
        (50, 0.001, "+"),
        (50, 0.0009, "<+"),
    ],
)
def test_share_on_a_bound_is_worth_less(features: int, share: float, sign: str) -> None:
    mirrored = sign.replace("+", "-")
    assert signs([share, 1 - share], features)[0] == sign
    assert signs([-share, 1 - share], features)[0] == mirrored


@pytest.mark.parametrize("size", [0.1, 0.3, 0.7, 1e-9, 12345.678])
def test_noise_of_float64_moves_nothing_over_a_bound(size: float) -> None:
    # A fifth each is not above a fifth.
    assert signs([size] * 5, 12) == ["++"] * 5
    assert signs([0.25 * size, 0.75 * size], 2) == ["+", "++"]


def test_thousandth_is_no_trifle_however_it_is_rounded() -> None:
    sizes = np.random.default_rng(0).random(200)
    shares = sizes / (sizes + 999 * sizes)
    assert (shares < 0.001).any()
    pairs = np.transpose([sizes, 999 * sizes])
    assert {SYMBOLS[place] for place in symbols(pairs, 3)[:, 0]} == {"+"}


def test_only_feature_has_all_signs_or_none() -> None:
    assert [signs([each], 1) for each in (2.0, -2.0, 0.0)] == [["+++"], ["---"], ["<-"]]


def test_nothing_at_all_counts_as_negative() -> None:
    assert signs([0.0, 0.0, 0.0], 3) == ["<-"] * 3
    assert signs([0.0, 1.0], 2) == ["<-", "+++"]


def test_rows_and_classes_are_counted_apart() -> None:
    strengths = np.array([[[1.0, 1.0, 2.0], [0.0, 5.0, -5.0]], [[1.0, 0.0, 0.0]] * 2])
    found = symbols(strengths, 3)
    assert found.shape == strengths.shape
    for row in range(2):
        for label in range(2):
            alone = symbols(strengths[row, label], 3)
            np.testing.assert_array_equal(found[row, label], alone)


def test_row_without_features_has_no_symbols() -> None:
    assert symbols(np.zeros((4, 1, 0)), 3).shape == (4, 1, 0)
