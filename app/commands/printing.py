"""What verbs print: aligned text for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for machines."
)


def print_json(value: Any) -> None:
    """Plain data as indented ASCII JSON."""
    click.echo(json.dumps(value, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under a head, in columns two blanks apart."""
    lines = [list(head), *([cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = map(str.ljust, line, widths)
        click.echo("  ".join(padded).rstrip())


def print_facts(facts: Mapping[str, object], title: str = "") -> None:
    """Names and values, one to a line, under a title."""
    if title:
        click.echo(f"\n{printable(title)}")
    indent = "  " if title else ""
    names = list(map(printable, facts))
    width = max(map(len, names), default=0)
    for name, value in zip(names, facts.values(), strict=True):
        click.echo(f"{indent}{name.ljust(width)}  {cell(value)}".rstrip())


def print_made(facts: Mapping[str, object], as_json: bool) -> None:
    """What was made, of which nothing is to be warned."""
    if as_json:
        print_json({**facts, "warnings": []})
    else:
        print_facts({name.replace("_", " "): each for name, each in facts.items()})


def cell(value: object) -> str:
    """A value for people, on one line and without control characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "-"
    return printable(str(value))


def printable(text: str) -> str:
    """The text with escapes for what a terminal would obey or break a line at.

    Names of columns and levels come from files that others may have made.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def moment(value: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: float) -> str:
    """Bytes for people: `1.5 GiB`."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
