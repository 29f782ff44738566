"""What a graph of named tensors takes and answers: `foretell io`, and tables of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from app.commands.printing import json_option, print_json, print_table
from backends.strict_json import listed

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
    content = io_json.by_name(io_json.defaults(graph))
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


def print_tensors(card: Mapping[str, Any]) -> None:
    """Inputs and outputs of a card, as tables."""
    from backends.tensors import io_json
    from backends.tensors.spec import shown

    spec = io_json.from_json(card)
    for side, fields in (("Inputs", spec.inputs), ("Outputs", spec.outputs)):
        click.echo(f"\n{side}")
        rows = [
            (
                *(field.name, field.type, field.dtype, shown(field.shape)),
                listed(field.labels, _LISTED_LABELS),
            )
            for field in fields
        ]
        print_table(("NAME", "TYPE", "DTYPE", "SHAPE", "LABELS"), rows)
