"""Two servers on one database and one object store are one service."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import psutil
import pytest

from app.store.job_record import Job
from app.store.jobs import Jobs
from app.store.store import Store
from backends.compiled import read
from tests.app.store.conftest import PostgresServer, postgres  # noqa: F401
from tests.liveness import alive_after
from tests.server.batch_client import JOB_SECONDS
from tests.server.load import clients
from tests.server.processes import Answer, Server, running, wait_for
from tests.server.served_models import (
    BIN,
    FIRST,
    SECOND,
    ServedModels,
    csv_body,
    environment,
    frame,
)

CHAOS_SECONDS = 7.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


NEW_JOB = json.dumps({"deploymentId": FIRST})
JSON = {"Content_Type": "application/json"}
CSV = {"Content_Type": "text/csv"}


@dataclass(eq=False)
class Twin:
    """A server with a state folder of its own, and a port that it keeps."""

    models: ServedModels
    home: Path
    settings: dict[str, Any]
    token: str
    port: int = field(default_factory=free_port)
    _started: ExitStack = field(default_factory=ExitStack)
    _server: Server | None = None

    def start(self, *, ready: bool = True) -> None:
        # Without it the models of other tests would be copied there.
        self.home.mkdir(mode=0o700, exist_ok=True)
        server = running(
            self.models,
            self.home,
            ready=ready,
            bind=f"127.0.0.1:{self.port}",
            **self.settings,
        )
        self._server = self._started.enter_context(server)

    def stop(self) -> None:
        self._started.close()

    def kill(self) -> None:
        """End all of its processes at once, as a power cut would."""
        assert self._server is not None
        master = psutil.Process(self._server.process.pid)
        processes = [master, *master.children(recursive=True)]
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        self._server.process.wait()
        alive_after(processes)
        self._started.close()

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = Store(self.settings["database_url"], self.home)
        try:
            yield store
        finally:
            store.dispose()

    def is_at(self, job: Job) -> bool:
        """Whether it is this server's runner that has the job."""
        runner = psutil.Process(int(str(job.runner).rsplit("-", 2)[1]))
        return runner.environ()["FORETELL_HOME"] == str(self.home)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        assert self._server is not None
        given = {"Authorization": f"Bearer {self.token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._server.ask(method, path, body, given)

    def predict(self, deployment: str, body: Any = None, token: str = "") -> Answer:
        assert self._server is not None
        return self._server.predict(deployment, body, token=token or self.token)

    def foretell(self, *arguments: object) -> str:
        """Run the command line on this server's machine."""
        done = subprocess.run(
            [BIN / "foretell", *map(str, arguments)],
            env=environment(self.home, **self.settings),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def shared(object_store: str) -> Iterator[str]:
    """The URL of what the servers share, which they can reach."""
    name = f"bucket-{secrets.token_hex(6)}"
    urlopen(Request(f"{object_store}/{name}", method="PUT")).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", object_store)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"s3://{name}/foretell"


@pytest.fixture(scope="module")
def twins(
    models: ServedModels,
    shared: str,
    postgres: PostgresServer,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Twin, Twin]]:
    url = postgres.new_database()
    folder = tmp_path_factory.mktemp("twins")
    store = Store(url, folder)
    try:
        store.migrate()
        store.add_user("admin", admin=True)
        _, token = store.create_token("admin")
    finally:
        store.dispose()
    settings = {"database_url": url, "store_url": shared, "workers": 1}
    one, other = (
        Twin(models, folder / name, settings, token) for name in ("one", "other")
    )
    try:
        starting = threading.Thread(target=other.start)
        starting.start()
        one.start()
        starting.join()
        yield one, other
    finally:
        one.stop()
        other.stop()


ROWS = frame(20, seed=11)
BODY = csv_body(ROWS)


def deploy(twin: Twin, bundle: str, deployment: str) -> None:
    arguments = ("--label", bundle, "--id", deployment)
    twin.foretell("deploy", twin.models.bundles[bundle], *arguments)


def until_answered(twin: Twin, deployment: str) -> Answer:
    """The first answer that is none of an unknown deployment."""

    def ask() -> Answer | None:
        answer = twin.predict(deployment, BODY)
        return None if answer.status == 404 else answer

    found: Answer = wait_for(ask)
    return found


@pytest.fixture(scope="module")
def deployed(twins: tuple[Twin, Twin]) -> str:
    """A deployment that the first server made and the second does not know yet."""
    deploy(twins[0], "first", FIRST)
    return FIRST


def test_deployment_of_one_server_answers_on_the_other(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    one, other = twins
    start = time.monotonic()
    answer = until_answered(other, deployed)
    print(f"the other server answered after {time.monotonic() - start:.3f} s")
    assert answer.status == 200, answer.body
    expected = models.probabilities(FIRST, ROWS)
    assert answer.positives == expected
    assert one.predict(deployed, BODY).positives == expected


def test_other_server_has_the_compiled_model_and_the_bundle(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    one, other = twins
    until_answered(other, deployed)
    made = [
        next((each.home / "compiled").glob(f"{models.ids[FIRST]}-*")) for each in twins
    ]
    assert [read(each, "lightgbm").engine for each in made] == ["trees", "trees"]
    kept = other.home / "bundles" / models.ids[FIRST] / "model.txt"
    same = one.home / "bundles" / models.ids[FIRST] / "model.txt"
    assert kept.read_bytes() == same.read_bytes()


def test_replacement_on_one_server_is_seen_by_both(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    one, other = twins
    with one.store() as store:
        model = models.ids[FIRST]
        deployment = store.create_deployment("replaced", "admin", model).id
    for each in twins:
        assert until_answered(each, deployment).status == 200
    other.foretell("replace-model", deployment, models.bundles["second"])
    expected = models.probabilities(SECOND, ROWS)
    for each in twins:
        wait_for(lambda: each.predict(deployment, BODY).positives == expected)  # noqa: B023
        name = each.predict(deployment, BODY).headers["x-datarobot-model-id"]
        assert name == models.ids[SECOND]


def test_token_that_one_server_ends_is_refused_by_the_other(
    twins: tuple[Twin, Twin], deployed: str
) -> None:
    one, other = twins
    with one.store() as store:
        made, token = store.create_token("admin")
    wait_for(lambda: other.predict(deployed, BODY, token).status == 200)
    one.foretell("token", "revoke", made.id)
    for each in twins:
        wait_for(lambda: each.predict(deployed, BODY, token).status == 401)  # noqa: B023


def test_server_on_an_empty_folder_has_all_when_it_is_ready(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    one, other = twins
    other.kill()
    shutil.rmtree(other.home)
    other.start()
    assert (other.home / "bundles" / models.ids[FIRST]).is_dir()
    assert other.predict(deployed, BODY).positives == models.probabilities(FIRST, ROWS)


def test_batch_job_of_a_server_that_dies_goes_on_at_the_other(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    for each in twins:
        until_answered(each, deployed)
    rows = frame(8_000, seed=21)
    # No model takes it: it makes parts of few rows.
    body = csv_body(rows.assign(padding="p" * 2_000))
    one, _ = twins
    job = one.ask("POST", "/api/v2/batchPredictions/", NEW_JOB, **JSON).json
    place = f"/api/v2/batchPredictions/{job['id']}/"
    assert one.ask("PUT", f"{place}csvUpload/", body, **CSV).status == 202
    with one.store() as store:
        jobs = Jobs(store.database)
        begun = wait_for(lambda: _begun(jobs, job["id"]), JOB_SECONDS)
        victim = next(each for each in twins if each.is_at(begun))
        (survivor,) = {*twins} - {victim}
        victim.kill()
        status = wait_for(lambda: _ended(survivor, place), JOB_SECONDS)
        left = jobs.get(job["id"])
    assert status["status"] == "COMPLETED", status["logs"]
    assert (status["scoredRows"], status["failedRows"]) == (len(rows), 0)
    assert left.runner is None and any("Job goes on" in each for each in left.logs)
    output = survivor.ask("GET", f"{place}download/", Accept="text/csv").body
    scored = pd.read_csv(io.BytesIO(output))["outcome_won_PREDICTION"]
    assert scored.tolist() == models.probabilities(FIRST, rows)
    victim.start()


def _begun(jobs: Jobs, job_id: str) -> Job | None:
    job = jobs.get(job_id)
    assert not job.has_ended, "the job was too fast to be interrupted"
    return job if job.parts_done >= 1 else None


def _ended(twin: Twin, place: str) -> Any:
    told = twin.ask("GET", place).json
    return told if told["status"] in ("COMPLETED", "ABORTED", "FAILED") else None


def test_servers_that_die_and_return_give_no_wrong_answer(
    twins: tuple[Twin, Twin], deployed: str, models: ServedModels
) -> None:
    bodies = [frame(rows, seed=rows) for rows in (1, 2, 5, 50, 300)]
    expected = [models.probabilities(FIRST, rows) for rows in bodies]
    texts = [csv_body(rows) for rows in bodies]
    right = [0, 0]

    def ask(client: int, turn: int) -> None:
        place, number = (client + turn) % 2, (client * 3 + turn) % len(bodies)
        try:
            answer = twins[place].predict(deployed, texts[number])
        except (OSError, http.client.HTTPException):
            # It is dead, or died while it answered.
            time.sleep(0.02)
            return
        if answer.status == 503:
            return
        assert answer.status == 200, answer.body
        assert answer.positives == expected[number]
        right[place] += 1

    chance = random.Random(5)
    with clients(4, ask) as load:
        end = time.monotonic() + CHAOS_SECONDS
        while time.monotonic() < end and not load.faults:
            time.sleep(chance.uniform(0.2, 1.0))
            victims = chance.choice([twins[:1], twins[1:], twins])
            for each in victims:
                each.kill()
                if chance.random() < 0.5:
                    shutil.rmtree(each.home)
            for each in victims:
                each.start(ready=False)
    assert load.faults == []
    assert min(right) > 0
    for each in twins:
        answer = wait_for(lambda: _answered(each, deployed))  # noqa: B023
        assert answer.positives == models.probabilities(FIRST, ROWS)


def _answered(twin: Twin, deployment: str) -> Answer | None:
    answer = twin.predict(deployment, BODY)
    return answer if answer.status == 200 else None
