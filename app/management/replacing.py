"""Whether a model can take the place of a deployment's, check by check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.errors import ModelUnavailable
from app.management.cards import needed_card
from app.replacement import ReplacementRefused, check_fits, check_same_answers
from app.services import Services
from app.store.records import Deployment, StoredModel
from backends.model import PYTHON, Model


def validate(services: Services, deployment: Deployment, new: Model) -> dict[str, Any]:
    """How each check of a replacement ends: its status, and a sentence.

    The whole is as good as the worst: `passing`, `warning` or `failing`.
    """
    old = _old(services, deployment)
    checks = {
        "currentModel": _current(deployment, new),
        "target": _told(
            lambda: None if old is None else check_same_answers(old, new),
            "Clients read the answers as before",
        ),
        "features": _features(old, new),
        "settings": _settings(deployment, new),
    }
    for status in ("failing", "warning", "passing"):
        found = [
            each["message"] for each in checks.values() if each["status"] == status
        ]
        if found:
            break
    text = "; ".join(found) if status != "passing" else "The model can be replaced"
    return {"status": status, "message": text, "checks": checks}


def _old(services: Services, deployment: Deployment) -> Model | StoredModel | None:
    if deployment.model_id is None:
        return None
    try:
        return needed_card(services, deployment)
    except ModelUnavailable:
        # Replacing the model is how a bundle that was lost is mended.
        return services.snapshot.models[deployment.model_id]


def _current(deployment: Deployment, new: Model) -> dict[str, str]:
    if deployment.model_id == new.id:
        return _said("warning", "The deployment has this model already")
    return _said("passing", "The model is another one")


def _settings(deployment: Deployment, new: Model) -> dict[str, str]:
    """Also a warning where nothing is answered until the operator allows it."""
    if new.format == PYTHON and deployment.settings.python_hook != new.id:
        return _said(
            "warning",
            "The model is a Python hook: every request is refused until the server's"
            f" operator allows it, `foretell update {deployment.id}"
            " --allow-python-hook`",
        )
    return _told(
        lambda: check_fits(deployment, new),
        "The deployment's humility rules and settings fit the model",
    )


def _features(old: Model | StoredModel | None, new: Model) -> dict[str, str]:
    """A warning where rows need columns that clients may not send."""
    known = getattr(old, "columns", None)
    if known is not None and (
        more := [each for each in new.columns if each not in known]
    ):
        named = ", ".join(map(repr, more[:5]))
        rest = f" and {len(more) - 5} more" if len(more) > 5 else ""
        text = f"The model needs columns that the old one did not: {named}{rest}"
        return _said("warning", text)
    return _said("passing", "Rows need no other columns than before")


def _told(check: Callable[[], None], good: str) -> dict[str, str]:
    try:
        check()
    except ReplacementRefused as error:
        return _said("failing", str(error))
    return _said("passing", good)


def _said(status: str, text: str) -> dict[str, str]:
    return {"status": status, "message": text}
