"""A deployed model that explains in this process, and LightGBM beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from app.explaining import Explaining
from backends.base import Backend
from backends.explanations.base import Strengths
from backends.explanations.materials import Materials
from backends.features import Columns
from benchmarks import in_process
from benchmarks.specimens.base import matrix
from benchmarks.timing import cpu_seconds
from benchmarks.workspace import Workspace, WrongAnswer, check_engine

# Of one call, and of those that are also explained one by one, in turn.
ROWS = 1000
SINGLE_ROWS = 200
# Features that an answer tells of a row unless the request says otherwise.
_TOLD = 3
# What explanations may differ by, and by that share of the margins' size.
_TOLERANCE = 1e-9
_SEED = 51

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """One specimen's model on both sides, and the rows, which differ from each other.

    rows: float64 (ROWS, n_columns); columns: the same as a worker decodes them.
    backend, materials: of the deployment, as a worker has them.
    """

    name: str
    rows: Floats
    columns: Columns
    backend: Backend
    materials: Materials
    booster: lgb.Booster

    @classmethod
    def load(cls, workspace: Workspace, name: str) -> Explained:
        """Raises WrongEngine if anything but the tree engine serves the model."""
        served = in_process.load(
            workspace.home, workspace.kernels, workspace.model_ids[name]
        )
        check_engine(f"model {name} in process", served.backend.engine)
        rows = matrix(workspace.specimens[name].frame(ROWS, _SEED))
        booster = lgb.Booster(model_file=workspace.model(name))
        return cls(name, rows, Columns(rows), served.backend, served.materials, booster)

    @cached_property
    def each_row(self) -> list[Columns]:
        """The first rows, one by one."""
        return [Columns(self.rows[row : row + 1]) for row in range(SINGLE_ROWS)]

    @cached_property
    def margins(self) -> Floats:
        """What LightGBM's trees add up to, float64 (ROWS,)."""
        return self.library_margins(self.rows)

    def library_margins(self, rows: Floats) -> Floats:
        """LightGBM's raw scores of any rows, float64 (n_rows,)."""
        found = self.booster.predict(rows, num_threads=1, raw_score=True)
        return np.asarray(found, np.float64)

    def explain(self, columns: Columns, algorithm: str) -> Strengths:
        """What a request has explained, by the same call."""
        return self.backend.explain(columns, algorithm, self.materials)

    def explain_each(self, algorithm: str) -> list[Strengths]:
        """One call for each of the first rows."""
        return [self.explain(row, algorithm) for row in self.each_row]

    def seconds_a_row(self, algorithm: str) -> float:
        """CPU seconds, all rows at once."""
        return cpu_seconds(partial(self.explain, self.columns, algorithm)) / ROWS

    def seconds_one_by_one(self, algorithm: str) -> float:
        """CPU seconds a row, one row a call."""
        return cpu_seconds(partial(self.explain_each, algorithm)) / SINGLE_ROWS

    def seconds_told(self, algorithm: str) -> float:
        """CPU seconds a row with the choice of what an answer tells of each."""
        values = self.backend.predict(self.columns)
        explaining = Explaining(
            self.materials, "shap" if algorithm == "shap" else "xemp", _TOLD
        )
        tell = partial(explaining.explain, self.backend, self.columns, values)
        return cpu_seconds(tell) / ROWS

    def check(self, what: str, found: Floats, wanted: Floats) -> float:
        """Hold explanations against what they have to be.

        Returns the largest difference. Raises WrongAnswer beyond 1e-9, and beyond that
        share of the largest margin.
        """
        if found.shape != wanted.shape:
            raise WrongAnswer(
                f"model {self.name}, {what}: {found.shape}, not {wanted.shape}"
            )
        largest = float(np.abs(found - wanted).max())
        # Not a number is no small difference.
        if not largest <= _TOLERANCE * min(1.0, float(np.abs(self.margins).max())):
            raise WrongAnswer(f"model {self.name}, {what}: {largest:.3g} off")
        return largest
