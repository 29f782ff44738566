"""This server, as clients know prediction servers and environments."""

from __future__ import annotations

import hashlib
from typing import Any


def _fixed_id(name: str) -> str:
    """24 hexadecimal digits that are the same on every server and for ever."""
    return hashlib.sha256(f"foretell {name}".encode()).hexdigest()[:24]


PREDICTION_SERVER = _fixed_id("prediction server")
_HERE = _fixed_id("prediction environment")
_ELSEWHERE = _fixed_id("external prediction environment")


def prediction_server(base_url: str, datarobot_key: str) -> dict[str, Any]:
    """Where predictions are asked for, and with which key.

    datarobot_key: "" where none is asked for. Clients do without an empty one, and
    stumble over one that is not there.
    """
    return {"id": PREDICTION_SERVER, "url": base_url, "datarobot-key": datarobot_key}


def prediction_environment(*, here: bool) -> dict[str, Any]:
    """here: whether this server makes the predictions.

    Clients ask `defaultPredictionServer` where the platform is "datarobot".
    """
    return {
        "id": _HERE if here else _ELSEWHERE,
        "name": "foretell" if here else "External",
        "platform": "datarobot" if here else "other",
        "plugin": None,
        "isManagedByManagementAgent": False,
        "supportedModelFormats": ["customModel"] if here else ["externalModel"],
    }
