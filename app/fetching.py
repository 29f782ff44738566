"""Models of other servers, brought here before a request asks for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.files import Files

log = logging.getLogger(__name__)


class Fetching:
    """What is on its way here, and what cannot be fetched.

    bundles, compiled: which fetch what is asked of them and not here.
    """

    def __init__(
        self, files: Files, bundles: Bundles, compiled: CompiledModels
    ) -> None:
        self._files = files
        self._bundles = bundles
        self._compiled = compiled
        self._is_on = False
        # With the reason.
        self._unfetched: dict[str, str] = {}

    def start(
        self,
        wanted: Callable[[], set[str]],
        is_stopping: Callable[[], bool],
        pause: float,
    ) -> None:
        """Begin to fetch, in a thread of its own, until the worker stops.

        wanted: ids of the models that are to be here. pause: between two looks (s).
        """
        self._is_on = True
        threading.Thread(
            target=self._follow,
            args=(wanted, is_stopping, pause),
            name="fetch",
            daemon=True,
        ).start()

    def is_on_its_way(self, model_id: str | None) -> bool:
        """Whether a model is not here yet and is going to be."""
        # Seconds, of a large model, in which nothing else of the store would count.
        return (
            self._is_on
            and model_id is not None
            and model_id not in self._unfetched
            and not self._bundles.has(model_id)
        )

    def _follow(
        self,
        wanted: Callable[[], set[str]],
        is_stopping: Callable[[], bool],
        pause: float,
    ) -> None:
        # The first look takes longest: libraries are loaded, a connection is opened.
        with suppress(OSError):
            self._files.exists("bundles/")
        wait = threading.Event()
        while not is_stopping():
            for model_id in sorted(wanted()):
                if not self._bundles.has(model_id):
                    self._fetch(model_id)
            wait.wait(pause)

    def _fetch(self, model_id: str) -> None:
        try:
            # First: the bundle says that all is here.
            self._compiled.fetched(model_id)
            self._bundles.path(model_id)
        except Exception as error:
            # Requests for it say so; it may come with the store's return.
            if self._unfetched.get(model_id) != str(error):
                log.warning("model %s is not on this server: %s", model_id, error)
            self._unfetched[model_id] = str(error)
        else:
            self._unfetched.pop(model_id, None)
