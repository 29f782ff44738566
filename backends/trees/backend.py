"""Models of trees, scored by the tree engine instead of their own library."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from backends import adjusting
from backends.base import Backend
from backends.compiled import TREES
from backends.explanations.base import NotExplainable
from backends.features import Columns
from backends.model import Label, Model
from backends.trees.engine import Engine
from backends.trees.explainer import Explainer
from backends.trees.explaining import Explaining

if TYPE_CHECKING:
    from backends.explanations.base import Strengths
    from backends.explanations.materials import Materials

log = logging.getLogger(__name__)


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
        self._folder = folder
        self._engine = Engine.open(folder)
        self.nbytes = self._engine.nbytes
        self._has_paths = Explainer.is_in(folder)
        self._explaining: Explaining | None = None
        self._own_library: Backend | None = None
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
        if self.model.link is not None:
            margins = self.raw_scores(columns)
            return adjusting.predictions(self.model, margins, columns)
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

    def explain(
        self,
        columns: Columns,
        algorithm: str,
        materials: Materials,
        deadline: float = float("inf"),
    ) -> Strengths:
        """Tell what each feature adds to the predictions of rows; see Backend.

        Where it follows from what the features add to the sums of the trees, the
        engine tells; else the model is asked like any other. Of a model that has no
        tables for it, its library tells what adds up to the raw score.
        """
        if not self._has_paths:
            if algorithm == "shap" and not self._is_graph:
                library = self._library(materials)
                return library.explain(columns, algorithm, materials, deadline)
            return super().explain(columns, algorithm, materials, deadline)
        explaining = self._ready_to_explain(materials)
        matrix = columns.matrix
        if algorithm == "xemp":
            found = explaining.xemp(matrix, deadline)
        elif algorithm == "shap" or self.model.task == "regression":
            found = explaining.shap(matrix, deadline)
        elif self.model.link is None:
            answers = self.predict(columns)
            found = explaining.shap_probability(matrix, answers, deadline)
        else:
            # Reference rows would have to be taken at each row's own offset.
            found = None
        if found is None:
            return super().explain(columns, algorithm, materials, deadline)
        return found

    def _ready_to_explain(self, materials: Materials) -> Explaining:
        # Models that nobody asks explanations of do without the tables for them.
        if self._explaining is None:
            try:
                explainer = self._open_explainer()
            except ValueError as error:
                # They were proved when they were written: they were damaged since.
                log.error("model %s cannot be explained: %s", self.model.id, error)
                raise NotExplainable(
                    "The tables that explanations are made from are damaged: start"
                    " the server again, which compiles the model anew"
                ) from error
            self._explaining = Explaining(
                self.model, self._engine, explainer, materials
            )
        return self._explaining

    def _library(self, materials: Materials) -> Backend:
        # It is much memory for a worker, and wanted for few models.
        if self._own_library is None:
            from backends import backend_class

            wanted = backend_class(self.model.format)
            self._own_library = wanted(materials.folder, self.model)
        return self._own_library

    def _open_explainer(self) -> Explainer:
        """Raises ValueError if its tables are damaged or another model's."""
        explainer = Explainer.open(self._folder)
        shape = (self._engine.features, self._engine.sums)
        if (explainer.features, explainer.sums) != shape:
            raise ValueError(f"the paths in {self._folder} are not the model's")
        return explainer
