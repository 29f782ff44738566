"""What rows of a deployment have to bring, and how much each column matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from app.management.cards import folder_of
from app.services import Services
from app.store.records import Deployment
from backends.humility_bounds import BoundsUnknown, read_statistics
from backends.model import Model

_TYPES: Final = {
    "numeric": "Numeric",
    "categorical": "Categorical",
    "text": "Text",
    "binary": "Boolean",
    "image": "Image",
}


def features(
    services: Services, deployment: Deployment, card: Model | None
) -> list[dict[str, Any]]:
    """The columns, or the named inputs, in the model's order.

    card: None where the model is scored elsewhere: nothing is known then.
    """
    if card is None or deployment.model_id is None:
        return []
    if card.time_series is not None:
        return _of_series(card.time_series)
    if card.io is not None:
        inputs = card.io.get("inputs", ())
        return [_feature(each["name"], each["type"]) for each in inputs]
    impacts = _impacts(folder_of(services, deployment.model_id))
    known = len(impacts) == len(card.features)
    listed = [
        _feature(each.name, each.kind, impacts[place] if known else None)
        for place, each in enumerate(card.features)
    ]
    beside = card.columns[len(card.features) :]
    return [*listed, *(_feature(name, "numeric") for name in beside)]


def _of_series(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns that features are derived from; their impact is not known."""
    from backends.timeseries.spec_json import load_spec

    read = load_spec(spec)
    time = _feature(read.datetime_column, "")
    time |= {"featureType": "Date", "dateFormat": read.datetime_format}
    series = read.series_id_column
    listed = [] if series is None else [_feature(series, "categorical")]
    return [
        time,
        *listed,
        *(
            _feature(name, each.kind, in_advance=name in read.known_in_advance)
            for name, each in read.columns.items()
        ),
    ]


def _feature(
    name: str, kind: str, importance: float | None = None, *, in_advance: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "featureType": _TYPES.get(kind, kind.capitalize()),
        "importance": importance,
        "dateFormat": None,
        "knownInAdvance": in_advance,
    }


@lru_cache(maxsize=256)
def _impacts(folder: Path) -> Sequence[float | None]:
    """Of each feature, 1 for the one that matters most; empty if they are not known.

    A folder is named by what is in it, and so never has others.
    """
    try:
        found = read_statistics(folder).get("impact")
    except BoundsUnknown:
        return ()
    normalised = found.get("normalised") if isinstance(found, dict) else None
    if not isinstance(normalised, list):
        return ()
    return [
        float(each) if isinstance(each, int | float) else None for each in normalised
    ]
