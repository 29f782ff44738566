"""Where the jobs of a user may read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import NotPermitted
from app.store.records import User


def check_role(
    user: User, intake: Mapping[str, Any], output: Mapping[str, Any]
) -> None:
    """Raise NotPermitted where the server would read or write for a predictor.

    intake, output: the job's settings.
    """
    types = {intake["type"], output["type"]}
    if user.role == "predictor" and types != {"localFile"}:
        raise NotPermitted(
            f"User {user.id} may ask for predictions: the intake and the output of"
            " their batch jobs are localFile"
        )
