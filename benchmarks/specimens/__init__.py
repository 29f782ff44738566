"""The models that the bars are measured with, and rows for them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.specimens import adult
from benchmarks.specimens.base import Specimen
from benchmarks.specimens.made_up import MADE_UP


def known(data: Path) -> dict[str, Specimen]:
    """Specimens by name; that on real data only where the data lie in the folder."""
    real = [adult.Adult(data)] if adult.is_in(data) else []
    # The judged ones first.
    found: list[Specimen] = sorted(
        [*MADE_UP, *real], key=lambda specimen: not specimen.is_deployed
    )
    return {specimen.name: specimen for specimen in found}
