"""What a bundle holds to explain its model with, read when first asked for."""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from backends.bundle import REFERENCE, BundleRejected
from backends.explanations.base import NotInitialized
from backends.explanations.exemplars import Exemplars, read
from backends.features import Columns, DataError, Decoder
from backends.model import Model

# Reference rows times features: 256 MB. Few bytes of Parquet may hold any number.
_MOST_CELLS = 2**25

log = logging.getLogger(__name__)


class Materials:
    """The exemplars and reference rows of one bundle. Safe to use from many threads.

    What is damaged is logged when it is first asked for, and not read again.

    folder: the bundle's.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder = folder
        self._model = model
        self._reading = threading.Lock()

    @cached_property
    def exemplars(self) -> Exemplars:
        """What XEMP puts in a feature's place. Raises NotInitialized."""
        with self._reading:
            found = self._exemplars
        if found is None:
            raise NotInitialized
        return found

    @cached_property
    def reference(self) -> Columns:
        """Rows of the training data. Raises NotInitialized if there are none."""
        with self._reading:
            found = self._reference
        if found is None:
            raise NotInitialized
        return found

    @cached_property
    def _exemplars(self) -> Exemplars | None:
        try:
            return read(self.folder, self._model.features)
        except (BundleRejected, OSError) as error:
            # Deployment has read the file: it was damaged since.
            log.error("model %s cannot be explained: %s", self._model.id, error)
            return None

    @cached_property
    def _reference(self) -> Columns | None:
        path = self.folder / REFERENCE
        if not path.exists():
            return None
        try:
            with pq.ParquetFile(path) as file:
                self._refuse_huge(file.metadata.num_rows)
                # In one piece: `read_table` would bring pyarrow's scanner.
                columns = Decoder(self._model.features).from_table(file.read())
        except (DataError, OSError, pa.ArrowInvalid) as error:
            # Damaged since, or rows that the model is never asked.
            log.error("reference rows of %s are not read: %s", self._model.id, error)
            return None
        return columns if len(columns) else None

    def _refuse_huge(self, rows: int) -> None:
        cells = rows * len(self._model.features)
        if cells > _MOST_CELLS:
            raise DataError(f"they have {cells} cells, more than {_MOST_CELLS}")
