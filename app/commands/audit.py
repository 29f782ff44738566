"""`foretell audit`: who changed what, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from app.commands.printing import json_option, moment, print_json, print_table
from app.commands.state import opened_state

if TYPE_CHECKING:
    from app.store.records import AuditEntry


@click.command()
@click.option(
    "--object",
    "object_id",
    metavar="ID",
    help="Of this deployment, model, user, token or job.  [all]",
)
@click.option(
    "--most",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="How many changes.",
)
@click.option(
    "--before",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="Those before change N: what came after the last one listed.",
)
@json_option
def audit(object_id: str | None, most: int, before: int | None, as_json: bool) -> None:
    """List the changes, newest first: who, when, what, and from what to what."""
    with opened_state() as state:
        entries = state.store.audit(object_id, most=most, before=before)
    if as_json:
        print_json(list(map(_facts, entries)))
        return
    rows = [
        (
            *(each.number, each.created_at, each.actor, each.via),
            *(f"{each.action} {each.kind}", each.object_id, _change(each)),
        )
        for each in entries
    ]
    print_table(("#", "WHEN", "WHO", "BY", "WHAT", "ID", "CHANGE"), rows)


def _facts(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "created_at": moment(entry.created_at),
        "actor": entry.actor,
        "via": entry.via,
        "action": entry.action,
        "kind": entry.kind,
        "object_id": entry.object_id,
        "before": entry.before,
        "after": entry.after,
    }


def _change(entry: AuditEntry) -> str:
    """From what to what, by name; of what came or went, what it was."""
    before, after = entry.before, entry.after
    if before is None or after is None:
        told = after or before or {}
        return ", ".join(f"{name} {_shown(value)}" for name, value in told.items())
    return ", ".join(
        f"{name} {_shown(before.get(name))} -> {_shown(value)}"
        for name, value in after.items()
    )


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
