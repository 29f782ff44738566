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

# Whoever reads the audit needs no hash to attack.
_SECRETS: Final = {"digest": "(changed)", "password": "(changed)"}


def changed(
    actor: Actor,
    old: User | Token | StoredModel | Deployment | None,
    new: User | Token | StoredModel | Deployment | None,
    now: datetime,
) -> AuditEntry:
    """The entry of a change; its number is given by the database.

    old, new: the record before and after; one of them may be None.
    """
    record = new if new is not None else old
    assert record is not None
    before, after = _plain(old), _plain(new)
    action = "create" if before is None else "delete" if after is None else "update"
    if before is not None and after is not None:
        names = [name for name in after if before.get(name) != after[name]]
        hidden = {name: _SECRETS[name] for name in names if name in _SECRETS}
        before = {name: before[name] for name in names} | hidden
        after = {name: after[name] for name in names} | hidden
    else:
        for each in filter(None, (before, after)):
            for name in _SECRETS.keys() & each.keys():
                del each[name]
    return AuditEntry(
        number=0,
        created_at=now,
        actor=actor.name,
        via=actor.via,
        action=action,
        kind=_KINDS[type(record)],
        object_id=record.id,
        before=before,
        after=after,
    )


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
