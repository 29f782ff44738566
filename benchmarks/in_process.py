"""What a large request costs without HTTP: the server's own steps, timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from app.bulk import BulkPool
from app.config import Config
from app.decode import Chunk, read_rows
from app.encode import Answer, CsvWriter, JsonWriter
from app.model_cache import ServedModel, load_served
from app.scoring import Predictions, Rules, score
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from backends.trees import fingerprint
from backends.trees.kernel_cache import prepare

Writer = JsonWriter | CsvWriter

WRITERS: dict[str, type[Writer]] = {
    "application/json": JsonWriter,
    "text/csv": CsvWriter,
}
_RULES = Rules(threshold=0.5)


def load(home: Path, kernels: Path, model_id: str) -> ServedModel:
    """A deployed model, as a worker has it.

    home, kernels: folders of the state and of the engine's compiled code.
    """
    prepare(kernels)
    compiled = CompiledModels(home, fingerprint())
    return load_served(Bundles(home).path(model_id), compiled.path(model_id))


def stages(served: ServedModel, body: bytes, accept: str) -> dict[str, float]:
    """Seconds of one thread for parse, predict and encode of a CSV body."""
    writer = _writer(served, accept)
    begun = time.perf_counter()
    chunks = list(_chunks(served, body))
    parsed = time.perf_counter()
    scored = [_score(served, chunk) for chunk in chunks]
    predicted = time.perf_counter()
    for chunk, predictions in zip(chunks, scored, strict=True):
        writer.rows(predictions, chunk)
    encoded = time.perf_counter()
    return {
        "parse": parsed - begun,
        "predict": predicted - parsed,
        "encode": encoded - predicted,
    }


def together(served: ServedModel, pool: BulkPool, body: bytes, accept: str) -> float:
    """Seconds for the same steps on the threads that a worker would use."""
    writer = _writer(served, accept)
    begun = time.perf_counter()
    work = partial(_answer, served, writer)
    parts = list(pool.map(work, _chunks(served, body), time.monotonic() + 600.0))
    b"".join(chain([writer.head], parts, [writer.foot]))
    return time.perf_counter() - begun


def _chunks(served: ServedModel, body: bytes) -> Iterator[Chunk]:
    return iter(
        read_rows(
            body,
            "text/csv",
            served.decoder,
            passthrough=(),
            limits=Config(),
            refuse_unknown=False,
            refuse_invalid=True,
        )
    )


def _score(served: ServedModel, chunk: Chunk) -> Predictions:
    return score(served.backend, chunk.columns, _RULES, first_row=chunk.first_row)


def _answer(served: ServedModel, writer: Writer, chunk: Chunk) -> bytes:
    return writer.rows(_score(served, chunk), chunk)


def _writer(served: ServedModel, accept: str) -> Writer:
    return WRITERS[accept](Answer(served.model, threshold=_RULES.threshold))
