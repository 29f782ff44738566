"""What a bundle holds to explain its model with, read when first asked for."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path

from backends.explanations.exemplars import Exemplars
from backends.features import Columns
from backends.model import Model


class Materials:
    """The exemplars and reference rows of one bundle. Safe to use from many threads."""

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder = folder
        self._model = model
        self._reading = threading.Lock()

    @cached_property
    def exemplars(self) -> Exemplars:
        """What XEMP puts in a feature's place. Raises NotInitialized."""
        raise NotImplementedError

    @cached_property
    def reference(self) -> Columns:
        """Rows of the training data. Raises NotInitialized if there are none."""
        raise NotImplementedError
