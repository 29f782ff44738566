"""The series that a model was trained on, as its bundle lists them by their ids.

Ids are texts, as `backends.features` reads them: 1 and "1" are one series.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from backends.bundle import SERIES, BundleRejected
from backends.features import read_text
from backends.model import Label

# Far above what one model is trained on, and what one server should hold.
MOST_SERIES = 1_000_000
_MAX_BYTES = 64 * 2**20


def write(folder: Path, labels: Iterable[Label]) -> None:
    """Write the distinct ids among the labels to a bundle's folder.

    labels: of series in the training data, each as often as you like.
    Raises BundleRejected for what `read` would refuse.
    """
    listed = sorted({read_text(label) or "" for label in labels})
    try:
        _check(listed)
        lines = [json.dumps(each, ensure_ascii=False) for each in listed]
        data = ('{"series": [\n' + ",\n".join(lines) + "\n]}\n").encode()
        _check_size(len(data))
    except ValueError as error:
        raise BundleRejected(f"{SERIES}: {error}") from error
    (folder / SERIES).write_bytes(data)


def read(folder: Path) -> frozenset[str] | None:
    """Read the ids that a bundle lists; None if it has no list.

    Raises BundleRejected for anything that `write` would not have written.
    """
    path = folder / SERIES
    if not path.exists():
        return None
    try:
        _check_size(path.stat().st_size)
        listed = _listed(json.loads(path.read_bytes()))
        _check(listed)
    except (RecursionError, ValueError) as error:
        raise BundleRejected(f"{SERIES}: {error}") from error
    return frozenset(listed)


def _check_size(count: int) -> None:
    if count > _MAX_BYTES:
        raise ValueError(f"the file is larger than {_MAX_BYTES} bytes")


def _listed(content: Any) -> list[str]:
    if not isinstance(content, dict) or content.keys() != {"series"}:
        raise ValueError(
            "an object with a list of series, and nothing else, is expected"
        )
    listed = content["series"]
    if not isinstance(listed, list):
        raise ValueError("the series are a list")
    for each in listed:
        if not isinstance(each, str):
            raise ValueError("the id of a series is a text")
    return listed


def _check(listed: list[str]) -> None:
    """Raise ValueError unless these are ids, as many as there may be, in order."""
    if not listed:
        raise ValueError("a list of one series or more is expected")
    if len(listed) > MOST_SERIES:
        raise ValueError(f"{len(listed)} series, more than {MOST_SERIES}")
    if "" in listed:
        raise ValueError("a series has no id")
    for one, next_one in pairwise(listed):
        if one >= next_one:
            raise ValueError(
                f"{next_one!r} stands behind {one!r}: ids are sorted, each stands once"
            )
