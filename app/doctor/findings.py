"""What `foretell doctor` has found of one part of the installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps the server from working, or from working well."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the installation.

    facts: plain data, name to value; of the settings name to value and source.
    """

    part: str
    facts: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)
