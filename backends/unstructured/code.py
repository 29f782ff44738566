"""The Python code of a hook, as a file: what runs it is `hook_process`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from backends import bundle
from backends.base import ModelFileRejected
from backends.bundle import BundleRejected
from backends.model import Model

_FUNCTION: Final = "score_unstructured"


class HookCode:
    """A bundle's hook. Nothing of it is imported or run.

    folder: of the bundle, which has the module and what it reads.
    """

    engine = "python hook"
    nbytes = 0

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder = folder
        self.model = model

    def check_whole(self) -> None:
        """Raise BundleRejected unless it still is the code that the model's id says."""
        if bundle.read(self.folder).id != self.model.id:
            raise BundleRejected(f"{str(self.folder)!r} holds another model")


def check(path: str) -> None:
    """Raise ModelFileRejected for a file that is no module with a hook.

    Parsed, not run, and meant for a process that may be killed.
    """
    source = Path(path)
    try:
        module = ast.parse(source.read_bytes(), source.name)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ModelFileRejected(f"{source.name} is no Python module: {error}") from None
    if not any(_defines(each) for each in module.body):
        raise ModelFileRejected(
            f"{source.name} has no function {_FUNCTION}(model, data, query, **kwargs)"
        )


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return statement.name == _FUNCTION
    if isinstance(statement, ast.ImportFrom):
        # Another file of the bundle may have it.
        names = {each.asname or each.name for each in statement.names}
        return bool(names & {_FUNCTION, "*"})
    return isinstance(statement, ast.Assign) and any(
        isinstance(each, ast.Name) and each.id == _FUNCTION
        for each in statement.targets
    )
