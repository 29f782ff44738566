"""What goes on after an answer, and where clients ask how it goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.management.times import moment
from app.store.identifiers import new_id
from app.store.operations import Operation, Operations
from app.store.records import Caller

_SILENCE: Final = timedelta(minutes=2)


def finish(operations: Operations, caller: Caller, kind: str, location: str) -> str:
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
    operations.save(operation)
    return operation.id


def find(operations: Operations, operation_id: str, caller: Caller) -> Operation | None:
    """The operation, if it is the caller's to see."""
    operation = operations.find(operation_id)
    if operation is None:
        return None
    user = caller.user
    if not user.admin and operation.owner_id != user.id:
        return None
    return interrupted(operation, datetime.now(UTC))


def interrupted(operation: Operation, now: datetime) -> Operation:
    """The operation, as an error if whoever was at it is gone.

    Who is at one moves its `updated_at` on every few seconds.
    """
    is_going = operation.status in ("INITIALIZED", "RUNNING")
    if not is_going or now - operation.updated_at < _SILENCE:
        return operation
    text = "It was interrupted by a restart of the server; send it again"
    return replace(operation, status="ERROR", message=text)


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
