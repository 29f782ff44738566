"""Workers serve trees by the project's own engine, and carry no library for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.processes import Answer, Server, wait_for
from tests.server.served_models import (
    FIRST,
    GRAPH,
    SECOND,
    ServedModels,
    csv_body,
    foretell,
    frame,
)

Start = Callable[..., Server]

MIB = 2**20


def engines(server: Server) -> dict[str, tuple[str, str]]:
    """Deployment to its engine and the reason, as monitoring is told."""
    text = server.ask("GET", "/metrics").body.decode()
    return {
        sample.labels["deployment"]: (sample.labels["engine"], sample.labels["reason"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "foretell_deployment_info"
    }


def libraries(worker: psutil.Process) -> list[str]:
    """What a worker has loaded of all that trees must not take into it."""
    heavy = ("lib_lightgbm", "libgomp", "onnxruntime", "/onnx/", "/pandas/", "/shap/")
    mapped = " ".join(each.path for each in worker.memory_maps())
    return [name for name in heavy if name in mapped]


def test_workers_take_no_library_for_trees(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    models.copy_to(home)
    # The graph is no tree: onnxruntime would serve it.
    store = Server(models, home=home).store()
    store.delete_deployment(GRAPH)
    store.dispose()
    server = start(workers=3)
    large = csv_body(frame(60_000, seed=4))
    for connection in server.connections():
        for deployment in (FIRST, SECOND):
            answer = server.predict(deployment, over=connection)
            assert answer.status == 200
    # Pages of its own are what a further worker costs.
    assert all(each.memory_full_info().uss < 60 * MIB for each in server.workers())
    for connection in server.connections():
        assert server.predict(FIRST, large, over=connection).status == 200
    for worker in server.workers():
        assert libraries(worker) == []
    assert engines(server)[FIRST] == engines(server)[SECOND] == ("trees", "")


def test_engine_answers_what_the_library_answers(
    server: Server, models: ServedModels
) -> None:
    assert engines(server)[FIRST] == ("trees", "")
    for count in (1, 2, 50, 400):
        rows = frame(count, seed=count)
        expected = models.probabilities(FIRST, rows)
        assert server.predict(FIRST, rows).positives == expected


def test_models_that_are_not_compiled_are_when_a_server_starts(
    start: Start, models: ServedModels, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    models.copy_to(home)
    shutil.rmtree(home / "compiled")
    server = start()
    assert engines(server)[FIRST] == ("trees", "")
    said = server.errors()
    for deployment in (FIRST, SECOND):
        assert f"model {models.ids[deployment]} is compiled for trees" in said
    assert "is compiled for onnxruntime: the tree engine does not cover it" in said
    rows = frame(5, seed=3)
    assert server.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_damaged_model_is_compiled_anew_at_the_start(
    start: Start, models: ServedModels, tmp_path: Path, damage: str
) -> None:
    home = tmp_path / "home"
    models.copy_to(home)
    [tables] = (home / "compiled").glob(f"{models.ids[FIRST]}-*/tables.*")
    content = tables.read_bytes()
    middle = len(content) // 2
    if damage == "changed":
        rest = bytes(byte ^ 0x55 for byte in content[middle:])
        tables.write_bytes(content[:middle] + rest)
    else:
        tables.write_bytes(content[:middle])
    server = start()
    rows = frame(300, seed=3)
    assert server.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)
    assert engines(server)[FIRST] == engines(server)[SECOND] == ("trees", "")
    assert f"{models.ids[FIRST]} is compiled for trees" in server.errors()


def test_model_of_an_older_command_line_is_served_with_a_warning(
    start: Start, models: ServedModels
) -> None:
    server = start(workers=1)
    store = server.store()
    store.delete_deployment(SECOND)
    wait_for(lambda: SECOND not in engines(server))
    [folder] = (server.home / "compiled").glob(f"{models.ids[SECOND]}-*")
    shutil.rmtree(folder)
    made = store.create_deployment("older", "admin", models.ids[SECOND]).id
    store.dispose()
    rows = frame(20, seed=9)
    answer = wait_for(lambda: asked(server, made, rows))
    assert answer.positives == models.probabilities(SECOND, rows)
    assert engines(server)[made] == ("lightgbm", "missing")
    assert f"model {models.ids[SECOND]} is served by lightgbm" in server.errors()


def asked(server: Server, deployment: str, rows: Any) -> Answer | None:
    answer = server.predict(deployment, rows)
    return answer if answer.status == 200 else None


def test_replacement_goes_from_engine_to_engine(
    start: Start, models: ServedModels
) -> None:
    server = start()
    rows = frame(20, seed=9)
    assert server.predict(FIRST, rows).positives == models.probabilities(FIRST, rows)
    before = engines(server)
    foretell(server.home, "replace-model", FIRST, models.bundles["second"])
    expected = models.probabilities(SECOND, rows)
    wait_for(lambda: server.predict(FIRST, rows).positives == expected)
    assert engines(server) == before
