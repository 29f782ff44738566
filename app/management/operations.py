"""What goes on after an answer, and where clients ask how it goes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.management.times import moment
from app.store.records import Caller, Operation, new_id
from app.store.store import Store


def finish(store: Store, caller: Caller, kind: str, location: str) -> str:
    """Enter an operation that is done, and return its id.

    location: path of what it made or changed, from /api/v2 on.
    """
    now = datetime.now(UTC)
    operation = Operation(
        id=new_id(),
        owner_id=caller.user.id,
        created_at=now,
        kind=kind,
        status="COMPLETED",
        message="",
        location=location,
        updated_at=now,
    )
    store.save_operation(operation)
    return operation.id


def find(store: Store, operation_id: str, caller: Caller) -> Operation | None:
    """The operation, if it is the caller's to see."""
    operation = store.operation(operation_id)
    if operation is None:
        return None
    user = caller.user
    return operation if user.admin or operation.owner_id == user.id else None


def facts(operation: Operation) -> dict[str, Any]:
    """How it goes."""
    return {
        "statusId": operation.id,
        "status": operation.status,
        "message": operation.message,
        "description": operation.kind,
        "statusType": "",
        "code": 1 if operation.status == "ERROR" else 0,
        "created": moment(operation.created_at),
    }
