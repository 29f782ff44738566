"""What a change made different, for the audit."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final

from app.store.records import (
    Actor,
    AuditEntry,
    Deployment,
    StoredModel,
    Token,
    User,
)

_KINDS: Final[dict[type, str]] = {
    User: "user",
    Token: "token",
    StoredModel: "model",
    Deployment: "deployment",
}

_SECRETS: Final = frozenset({"digest", "password"})


def changed(
    actor: Actor,
    old: User | Token | StoredModel | Deployment | None,
    new: User | Token | StoredModel | Deployment | None,
    now: datetime,
) -> AuditEntry | None:
    """The entry of a change, None where nothing changed; the database numbers it.

    old, new: the record before and after; one of them may be None.
    """
    record = new if new is not None else old
    assert record is not None
    kind = _KINDS[type(record)]
    return entry(actor, kind, record.id, _plain(old), _plain(new), now)


def entry(
    actor: Actor,
    kind: str,
    object_id: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    now: datetime,
) -> AuditEntry | None:
    """The same of an object of which this much is told; one of both may be None."""
    action = "create" if before is None else "delete" if after is None else "update"
    if before is not None and after is not None:
        before, after = _differences(before, after)
        if not after:
            return None
    return AuditEntry(
        number=0,
        created_at=now,
        actor=actor.name,
        via=actor.via,
        action=action,
        kind=kind,
        object_id=object_id,
        before=_without_secrets(before),
        after=_without_secrets(after),
    )


def _differences(
    before: dict[str, Any], after: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, of both; of settings those that do, None for the default."""
    names = [
        name
        for name in {**before, **after}
        # The entry says when.
        if name != "updated_at" and before.get(name) != after.get(name)
    ]
    parts = (
        {name: before.get(name) for name in names},
        {name: after.get(name) for name in names},
    )
    if "settings" in names:
        settings = _differences(before["settings"], after["settings"])
        for part, each in zip(parts, settings, strict=True):
            part["settings"] = each
    return parts


def _without_secrets(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Whoever reads the audit needs no hash to attack; that there is one stays."""
    if values is None:
        return None
    return {
        name: "(hidden)" if name in _SECRETS and value is not None else value
        for name, value in values.items()
    }


def _plain(record: object) -> dict[str, Any] | None:
    """A record as JSON has it; settings that have their default are left out."""
    if record is None:
        return None
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    values = {name: getattr(record, name) for name in names}
    if isinstance(record, Deployment):
        values["settings"] = record.settings.to_stored()
    return {name: _json(value) for name, value in values.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
