"""A time series model in the units of its target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from backends.explanations import xemp
from backends.explanations.base import Strengths
from backends.features import Columns
from backends.timeseries import forecasting
from backends.timeseries.forecasting import Forecast
from backends.timeseries.levels import inverse
from backends.timeseries.pairs import Pairs
from backends.timeseries.panel import Grid, Panel
from backends.timeseries.panel_decoder import PanelDecoder
from backends.timeseries.spec import Spec

if TYPE_CHECKING:
    from backends.explanations.materials import Materials

Floats = NDArray[np.float64]


class TargetBackend(Backend):
    """The backend of a model file, and the transforms of a spec around it.

    inner: predicts what the model was trained on: the target with its transforms.
    decoder: of the rows that forecasts are made from.
    """

    def __init__(self, inner: Backend, spec: Spec) -> None:
        self.inner = inner
        self.spec = spec
        self.decoder = PanelDecoder(spec)
        self.model = inner.model
        self.nbytes = inner.nbytes
        self.engine = inner.engine

    def forecast(self, panel: Panel, grid: Grid, pairs: Pairs) -> Forecast:
        """Forecast pairs; see `forecasting.forecast`."""
        return forecasting.forecast(panel, grid, pairs, self._answers)

    def _answers(self, matrix: Floats) -> Floats:
        return self.inner.predict(Columns(matrix))

    def predict(self, columns: Columns) -> Floats:
        """Score derived rows; see Backend.

        columns: with the offset that was derived with them.
        """
        answers = self.inner.predict(columns)
        if columns.offset is not None:
            answers = answers + columns.offset[:, None]
        return inverse(answers, self.spec)

    def raw_scores(self, columns: Columns) -> Floats:
        """Score derived rows without any transform; see Backend."""
        return self.inner.raw_scores(columns)

    def explain(
        self,
        columns: Columns,
        algorithm: str,
        materials: Materials,
        deadline: float = float("inf"),
    ) -> Strengths:
        """Tell what each derived feature adds to the predictions of rows; see Backend.

        xemp is in the target's units, with what is added back held as it is. shap adds
        up to the prediction, with a logarithm to log1p of it; what is added back is a
        part of the base.
        """
        if algorithm == "xemp" and self.spec.is_logarithmic:
            return xemp.explain(self, columns, materials, deadline)
        # A baseline is the same in all rows that are compared with a row.
        found = self.inner.explain(columns, algorithm, materials, deadline)
        if found.base is None or found.total is None or columns.offset is None:
            return found
        added = columns.offset[:, None]
        return replace(found, base=found.base + added, total=found.total + added)
