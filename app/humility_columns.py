"""What humility rules found, in the rows of an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from app.tokens import Tokens
from backends.humility import Humbled, Override, Rule
from backends.model import Label


def humility_keys(rules: Sequence[Rule], humbled: Humbled) -> Tokens:
    """For each row its `humility` key with a comma before it; nothing if none is due.

    The rules that triggered are listed in their order.
    """
    # Few sets of rules in many rows: each is written once.
    sets, of_row = np.unique(humbled.triggered, axis=1, return_inverse=True)
    texts = [_listed(rules, each) for each in sets.T.tolist()]
    return [texts[position] for position in of_row.reshape(-1).tolist()]


def _listed(rules: Sequence[Rule], triggered: Sequence[bool]) -> bytes:
    found = [
        {"ruleId": rule.id, "triggered": True, "ruleName": rule.name}
        for rule, is_triggered in zip(rules, triggered, strict=True)
        if is_triggered
    ]
    return b',"humility":' + orjson.dumps(found) if found else b""


def override_values(rules: Sequence[Rule]) -> list[Label | None]:
    """What each rule puts in the prediction's place; None if it leaves it there."""
    return [
        rule.action.value if isinstance(rule.action, Override) else None
        for rule in rules
    ]


def replaced(
    values: NDArray[np.float64], humbled: Humbled | None, rules: Sequence[Rule]
) -> NDArray[np.float64]:
    """Predictions of regression, float64 (n_rows,), with those of rules in the place
    of some."""
    if humbled is None:
        return values
    # One more, which no row takes, for what overrides nothing.
    numbers = [float(value or 0.0) for value in (*override_values(rules), None)]
    own = humbled.overriding < 0
    return np.where(own, values, np.array(numbers)[humbled.overriding])


def overridden(
    predicted: list[bytes], humbled: Humbled | None, values: Sequence[bytes]
) -> list[bytes]:
    """Predictions, with those of rules in the place of some.

    values: for each rule.
    """
    if humbled is None:
        return predicted
    rows = np.flatnonzero(humbled.overriding >= 0)
    if not rows.size:
        return predicted
    changed = list(predicted)
    for row, rule in zip(rows.tolist(), humbled.overriding[rows].tolist(), strict=True):
        changed[row] = values[rule]
    return changed
