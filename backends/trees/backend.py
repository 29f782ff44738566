"""Models of trees, scored by the tree engine instead of their own library."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from backends.compiled import TREES
from backends.features import Columns
from backends.model import Label, Model
from backends.trees.engine import Engine


class TreesBackend(Backend):
    """An ensemble that was compiled when its model was deployed.

    The arrays are mapped from their files: processes that serve a model share them.
    """

    engine = TREES

    def __init__(self, folder: Path, model: Model) -> None:
        """Open the arrays that `Engine.write` left in a compiled folder.

        Raises ValueError if they are damaged or another model's.
        """
        self.model = model
        self._engine = Engine.open(folder)
        self.nbytes = self._engine.nbytes
        widths = {"regression": (1,), "binary": (1, 2)}
        fitting = widths.get(model.task, (len(model.labels),))
        if self._engine.features != len(model.features) or (
            self._engine.outputs not in fitting
        ):
            raise ValueError(
                f"the arrays in {folder} take {self._engine.features} features and"
                f" answer {self._engine.outputs} values a row: they are not the model's"
            )
        self._is_graph = model.format == "onnx"
        # Of two probabilities the positive label's; a single one is the second label's.
        self._column: int | None = None
        self._flip = False
        if model.task == "binary":
            position = model.labels.index(cast(Label, model.positive_label))
            if self._engine.outputs == 2:
                self._column = position
            else:
                self._flip = position == 0

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        values = self._engine.score(columns.matrix)
        if self._flip:
            return 1.0 - values
        if self._column is not None:
            return values[:, self._column : self._column + 1]
        return values

    def raw_scores(self, columns: Columns) -> NDArray[np.float64]:
        """Score rows without the objective's transform; see Backend.

        Of a LightGBM model the sum of the trees; of a graph what it answers.
        """
        return self._engine.score(columns.matrix, raw=not self._is_graph)
