"""Everything that requests, jobs and the command line share, opened once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from app.admission import Admission
from app.batch.transfers import Transfers, most_transfers
from app.bulk import BulkPool
from app.chores import Chores
from app.config import Config
from app.fetching import Fetching
from app.humility_counts import HumilityCounts
from app.model_cache import ModelCache
from app.rate_limits import RateLimits
from app.sharing import bundles_of, check_store_url, compiled_of, share_all
from app.slow_clients import SlowClients
from app.store.errors import StoreUnavailable
from app.store.files import open_files
from app.store.humility_totals import HumilityTotals
from app.store.jobs import Jobs
from app.store.operations import Operations
from app.store.records import Actor, Caller, Deployment, Snapshot
from app.store.store import Store
from app.unstructured.hooks import Hooks
from app.uploads import Uploads
from backends import compiled

# Before the store was read: no generation is negative.
_NOTHING = Snapshot(-1, {}, {}, {}, {})

_CATCH_UP_SECONDS = 0.02

# How long requests wait for others that look at the store.
_TAKE_UP_SECONDS = 5.0

# Of how many users' passwords the tries of a minute are counted.
_LOGIN_PLACES = 1024

log = logging.getLogger(__name__)


class Services:
    """Store, models and admission of one process.

    Requests read `snapshot`, an immutable picture of users, tokens and deployments,
    and never wait for the database. `refresh` replaces the picture when the store's
    generation has moved; in a worker a thread of its own does so, ten times a second.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = Store(config.database_url, config.home)
        self.jobs = Jobs(self.store.database)
        self.operations = Operations(self.store.database)
        self.humility_totals = HumilityTotals(self.store.database)
        self.files = open_files(config.store_url or config.home.as_uri())
        self.bundles = bundles_of(config, self.files)
        self.compiled = compiled_of(config, self.files)
        self.models = ModelCache(
            self.bundles.path, self.compiled.fetched, config.model_cache
        )
        self.bulk = BulkPool(config.scoring_threads)
        self.admission = Admission(
            config.max_in_flight,
            config.bulk_slots,
            config.workers,
            # What the bulk threads may take, and as many small requests again.
            heavy_slots=2 * config.scoring_threads,
        )
        self.transfers = Transfers(most_transfers(config.max_in_flight))
        self.rate_limits = RateLimits()
        # Others than those of deployments: whoever guesses names makes no room there.
        self.logins = RateLimits(_LOGIN_PLACES)
        self.uploads = Uploads(config, self.operations)
        self.slow_clients = SlowClients()
        self.hooks = Hooks(config, self._may_run)
        self.humility_counts = HumilityCounts()
        self.fetching = Fetching(self.files, self.bundles, self.compiled)
        self.chores = Chores(
            config,
            self.jobs,
            self.operations,
            self.files,
            self.humility_counts,
            self.humility_totals,
        )
        self.snapshot = _NOTHING
        self._next_catch_up = 0.0
        self._refreshing = threading.Lock()
        self._is_following = True
        self._loaded = threading.Event()
        # Models that deployments wait for with their old ones.
        self._awaited: set[str] = set()
        self._is_stopping: Callable[[], bool] = lambda: False

    def store_of(self, caller: Caller) -> Store:
        """The store, whose changes are told as the caller's."""
        return self.store.acting(Actor(caller.user.name, "api"))

    def jobs_of(self, caller: Caller) -> Jobs:
        """The batch jobs, of which the audit tells what the caller does."""
        return self.jobs.acting(Actor(caller.user.name, "api"))

    @property
    def is_ready(self) -> bool:
        """Whether the deployed models are loaded and the worker is not stopping."""
        return self._loaded.is_set() and not self._is_stopping()

    @property
    def is_stopping(self) -> bool:
        """Whether the worker has been asked to end."""
        return self._is_stopping()

    @property
    def has_read_store(self) -> bool:
        """Whether users, tokens and deployments are known."""
        return self.snapshot is not _NOTHING

    def refresh(self) -> None:
        """Take up what changed in the store.

        A deployment whose new model is not loaded yet goes on with its old one until
        it is; everything else counts at once. Raises StoreUnavailable, also where
        somebody else has been waiting for the database for seconds.
        """
        with self._taking_up():
            is_known = self.store.generation() == self.snapshot.generation
            if is_known and all(map(self.fetching.is_on_its_way, self._awaited)):
                return
            new = self.store.snapshot()
            pending = self._pending(new)
            awaited = {
                each: new.deployments[each].model_id
                for each in pending
                if self.fetching.is_on_its_way(new.deployments[each].model_id)
            }
            if pending:
                deployments = {**new.deployments, **pending}
                self.snapshot = replace(new, deployments=deployments)
                self._preload(new, set(pending) - set(awaited))
                held = {each: pending[each] for each in awaited}
                new = replace(new, deployments={**new.deployments, **held})
            self._awaited = {each for each in awaited.values() if each}
            self.snapshot = new
            self.models.drop_all_but(_models(new.deployments))

    @contextmanager
    def _taking_up(self) -> Iterator[None]:
        if not self._refreshing.acquire(timeout=_TAKE_UP_SECONDS):
            # A database that hangs must not hold a thread for each request.
            raise StoreUnavailable("Others have been at the store for seconds")
        try:
            yield
        finally:
            self._refreshing.release()

    def catch_up(self) -> bool:
        """Look at the store now, for a client that may know more than this worker.

        A token or deployment made a moment ago is then known at once. Guesses must
        not become a load on the database, so this looks no more often than every
        20 ms. Returns whether anything changed.
        """
        before, moment = self.snapshot, time.monotonic()
        if moment < self._next_catch_up:
            return False
        self._next_catch_up = moment + _CATCH_UP_SECONDS
        self._refresh_safely()
        return self.snapshot is not before

    def _pending(self, new: Snapshot) -> Mapping[str, Deployment]:
        # Only models that were in use are worth the wait: a model that nobody asked
        # for yet is loaded by its first request.
        pending = {}
        for deployment_id, old in self.snapshot.deployments.items():
            deployment = new.deployments.get(deployment_id)
            if (
                deployment is not None
                and old.model_id is not None
                and deployment.model_id not in (None, old.model_id)
                and old.model_id in self.models
            ):
                pending[deployment_id] = replace(deployment, model_id=old.model_id)
        return pending

    def _preload(self, snapshot: Snapshot, deployment_ids: set[str]) -> None:
        for deployment_id in deployment_ids:
            model_id = snapshot.deployments[deployment_id].model_id
            if model_id is not None:
                self._load(model_id)

    def _load(self, model_id: str) -> None:
        try:
            self.models.get(model_id)
        except Exception:
            # A bundle that cannot be read fails its own requests, with the reason,
            # and must keep neither the worker nor other deployments from working.
            log.exception("model %s cannot be loaded", model_id)

    def compile_missing(self) -> None:
        """Compile deployed models that are not, before there are workers.

        Where servers share them, those of the others are fetched first, and those that
        only this one has are sent. Raises InvalidStoreUrl.
        """
        if self.config.store_url:
            check_store_url(self.config.store_url)
        # Packages and libraries that only this takes stay out of the workers.
        deployments = self.store.snapshot().deployments.values()
        model_ids = {each.model_id for each in deployments if each.model_id}
        if self.config.store_url:
            share_all(sorted(model_ids), self.bundles, self.compiled)
        missing = [
            model_id
            for model_id in sorted(model_ids)
            if compiled.is_missing(self.compiled.path(model_id))
        ]
        if missing:
            from app.compilation import compile_missing

            compile_missing(missing, self.bundles, self.compiled, self.config)

    def start(self, is_stopping: Callable[[], bool], cell: int = 0) -> None:
        """Begin to follow the store, in a worker that has just been forked.

        is_stopping: tells whether the worker has been asked to end.
        cell: where this worker counts its requests.
        """
        self.admission.use_cell(cell)
        self._is_stopping = is_stopping
        # Before the worker takes its first request, whose token it has to know.
        self._refresh_safely()
        threading.Thread(target=self._follow, name="refresh", daemon=True).start()
        if self.config.store_url:
            pause = self.config.refresh_seconds
            self.fetching.start(self._wanted, is_stopping, pause)
        self.slow_clients.start(is_stopping)

    def _follow(self) -> None:
        wait = threading.Event()
        while not self._is_stopping():
            self._refresh_safely()
            if not self._loaded.is_set():
                self._warm()
            self.chores.do()
            wait.wait(self.config.refresh_seconds)

    def _wanted(self) -> set[str]:
        return _models(self.snapshot.deployments) | self._awaited

    def _refresh_safely(self) -> None:
        try:
            self.refresh()
        except Exception:
            # A database that is away for a while must not end the only thread that
            # would notice its return; requests go on with the last picture.
            if self._is_following:
                log.exception("the store cannot be read")
            self._is_following = False
        else:
            if not self._is_following:
                log.warning("the store can be read again")
            self._is_following = True

    def _may_run(self, deployment_id: str, model_id: str) -> bool:
        deployment = self.snapshot.deployments.get(deployment_id)
        return deployment is not None and (
            deployment.model_id == deployment.settings.python_hook == model_id
        )

    def finish(self) -> None:
        """Keep what is still to be kept, in a worker that ends."""
        self.chores.keep_counts()
        self.close()

    def _warm(self) -> None:
        if not self.has_read_store:
            return
        for model_id in sorted(_models(self.snapshot.deployments)):
            if self.models.is_full:
                break
            if not self.fetching.is_on_its_way(model_id):
                self._load(model_id)
        self._loaded.set()

    def close(self) -> None:
        """Give back the database's connections, and end the hooks' processes."""
        self.hooks.close()
        self.store.dispose()


def _models(deployments: Mapping[str, Deployment]) -> set[str]:
    return {
        deployment.model_id
        for deployment in deployments.values()
        if deployment.model_id is not None and deployment.enabled
    }


def now() -> datetime:
    """The time that expiry is held against."""
    return datetime.now(UTC)
