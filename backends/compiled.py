"""What a deployment made of its model: the engine's arrays and the verdict on them.

A compiled folder holds the arrays of the tree engine and a verdict, which names the
engine that is to serve the model. Where that is its library, there are no arrays. Of a
model with a file for each forecast distance there is a compiled folder inside for each,
named by the distance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

VERDICT = "verdict.json"
TREES = "trees"

# What serves a format when the tree engine does not; see `Backend.engine`.
LIBRARIES = {"lightgbm": "lightgbm", "onnx": "onnxruntime"}

# Between the engines of a model of several files.
_AND = " and "

Reason = Literal["", "not covered", "differs", "failed", "missing", "damaged"]


class CompiledDamaged(ValueError):
    """A compiled folder is not what was written; the message says in what."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which engine serves a deployed model.

    engine: see `Backend.engine`.
    reason: why not the tree engine, in a word or two; empty if it is.
        not covered: the engine does not score such models. differs: its answers are
        not the library's. failed: compiling did not end well. missing, damaged: of the
        compiled folder.
    detail: the same for people.
    """

    engine: str
    reason: Reason = ""
    detail: str = ""

    @property
    def has_trees(self) -> bool:
        """Whether the tree engine serves the model, or some of its files."""
        return TREES in self.engine.split(_AND)


def together(engines: Collection[str]) -> str:
    """What serves a model of several files; engines: what serves each."""
    return _AND.join(sorted(set(engines)))


def of_all(verdicts: Mapping[int, Verdict]) -> Verdict:
    """The verdict on a model with one file for each forecast distance.

    verdicts: on each file, by its distance. The first that says more than that the
    tree engine serves it speaks for all that do.
    """
    engine = together([each.engine for each in verdicts.values()])
    told = [distance for distance, each in verdicts.items() if each.reason]
    told = told or [distance for distance, each in verdicts.items() if each.detail]
    if not told:
        return Verdict(engine)
    first = verdicts[told[0]]
    more = f" and {len(told) - 1} more" if len(told) > 1 else ""
    detail = f"at the forecast distance {told[0]}{more}, {first.detail}"
    return Verdict(engine, first.reason, detail)


def library(format: str) -> str:
    """The engine that serves a format when the tree engine does not."""
    return LIBRARIES.get(format, format)


def write(folder: Path, model_id: str, verdict: Verdict) -> None:
    """Put the verdict on a model beside its arrays, with their checksums."""
    content = {
        "model": model_id,
        "engine": verdict.engine,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "files": _checksums(folder),
    }
    text = json.dumps(content, indent=2)
    (folder / VERDICT).write_text(text + "\n", encoding="utf-8")


def read(folder: Path, format: str) -> Verdict:
    """The verdict; on a folder that is missing or damaged it is for the library.

    The arrays are not looked at; see `examine`.
    """
    try:
        content = _content(folder)
        return Verdict(content["engine"], content["reason"], content["detail"])
    except FileNotFoundError:
        detail = "the model is not compiled: a server does so when it starts"
        return Verdict(library(format), "missing", detail)
    except (OSError, CompiledDamaged) as error:
        return damaged(folder, format, error)


def is_missing(folder: Path) -> bool:
    """Whether there is no verdict, or one that cannot be followed."""
    return examine(folder, "").reason in ("missing", "damaged")


def check_model(folder: Path, model_id: str) -> None:
    """Raises CompiledDamaged if it is another model that was compiled, and OSError."""
    if (found := _content(folder)["model"]) != model_id:
        raise CompiledDamaged(f"{folder} holds what was compiled of model {found}")


def examine(folder: Path, format: str) -> Verdict:
    """The verdict, after every file was held against its checksum."""
    verdict = read(folder, format)
    if verdict.reason not in ("missing", "damaged"):
        try:
            _check(folder)
        except (OSError, CompiledDamaged) as error:
            return damaged(folder, format, error)
    return verdict


def _check(folder: Path) -> None:
    expected, found = _content(folder)["files"], _checksums(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CompiledDamaged(f"{name!r} in {folder} is not as it was written")


def damaged(folder: Path, format: str, error: Exception) -> Verdict:
    """The verdict on a folder that cannot be used."""
    remedy = "start the server again, which compiles the model anew"
    return Verdict(library(format), "damaged", f"{error}; {remedy}")


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / VERDICT).read_bytes())
        is_whole = (
            isinstance(content["model"], str)
            and isinstance(content["engine"], str)
            and content["reason"] in get_args(Reason)
            and (content["engine"] == TREES) == (content["reason"] == "")
            and isinstance(content["detail"], str)
            and isinstance(content["files"], dict)
        )
    except (KeyError, TypeError, ValueError):
        is_whole = False
    if not is_whole:
        raise CompiledDamaged(f"{VERDICT} in {folder} cannot be read")
    return dict(content)


def _checksums(folder: Path) -> dict[str, str]:
    own = folder / VERDICT
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != own
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
