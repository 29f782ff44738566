"""What a graph of named tensors takes and answers: `foretell io`, and tables of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from app.commands.printing import json_option, print_json, print_table

_LISTED_LABELS = 5


@click.command("io")
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@json_option
def io_template(model: Path, as_json: bool) -> None:
    """Print the io.json that an ONNX graph has without one, to be edited.

    Every input and output is there, with what the graph says of it.
    """
    from app.config import Config
    from app.rows.packaging import read_graph
    from backends.tensors import io_json

    graph = read_graph(model, Config.from_environment())
    content = io_json.to_json(io_json.defaults(graph))
    if as_json:
        print_json(content)
    else:
        click.echo(_by_lines(content))


def _by_lines(content: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for each input and output."""
    sides = []
    for side, fields in content.items():
        lines = [
            f"    {json.dumps(name)}: {json.dumps(field)}"
            for name, field in fields.items()
        ]
        sides.append(f"  {json.dumps(side)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(sides) + "\n}"


def print_tensors(content: Mapping[str, Mapping[str, Any]]) -> None:
    """Inputs and outputs of a card, as tables."""
    for side, fields in content.items():
        click.echo(f"\n{side.capitalize()}")
        rows = [
            (name, field["type"], _shape(field, side), _labels(field))
            for name, field in fields.items()
        ]
        print_table(("NAME", "TYPE", "SHAPE", "LABELS"), rows)


def _shape(field: Mapping[str, Any], side: str) -> str:
    """As clients know it; open sizes as question marks."""
    sizes = field.get("shape", [1])
    if side == "outputs" and field["type"] == "categorical":
        sizes = [len(field["labels"])]
    return " x ".join("?" if size is None else str(size) for size in sizes)


def _labels(field: Mapping[str, Any]) -> str:
    labels = field.get("labels", [])
    more = len(labels) - _LISTED_LABELS
    listed = ", ".join(map(repr, labels[:_LISTED_LABELS]))
    return f"{listed} and {more} more" if more > 0 else listed
