"""Models are replaced while clients ask: none fails, no answer mixes two models."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import pandas as pd
import pytest

from tests.server.load import clients
from tests.server.processes import Answer, Server, wait_for
from tests.server.served_models import FIRST, SECOND, ServedModels, csv_body, frame

TURNS = 24


@pytest.fixture
def deployment(server: Server, models: ServedModels) -> Iterator[str]:
    store = server.store()
    made = store.create_deployment("replaced", "admin", models.ids[FIRST]).id
    wait_for(
        lambda: all(
            server.predict(made, over=over).status == 200
            for over in server.connections()
        )
    )
    yield made
    store.delete_deployment(made)
    store.dispose()


class Expected:
    """Both models' own answers for many bodies of different lengths."""

    def __init__(self, models: ServedModels, lengths: list[int]) -> None:
        frames = [frame(rows, seed) for seed, rows in enumerate(lengths)]
        together = pd.concat(frames)
        starts = [sum(lengths[:number]) for number in range(len(lengths))]
        self.bodies = [csv_body(rows) for rows in frames]
        self.values = []
        both = [models.probabilities(each, together) for each in (FIRST, SECOND)]
        for start, rows in zip(starts, lengths, strict=True):
            by_model = {
                models.ids[each]: values[start : start + rows]
                for each, values in zip((FIRST, SECOND), both, strict=True)
            }
            self.values.append(by_model)

    def check(self, number: int, answer: Answer) -> None:
        """The answer is all of one model's, and names that one."""
        assert answer.status == 200, answer.body[:200]
        model = answer.headers["x-datarobot-model-id"]
        assert answer.positives == self.values[number][model], model


def test_replacement_fails_no_request_and_mixes_no_answer(
    server: Server, models: ServedModels, deployment: str
) -> None:
    expected = Expected(models, [1, 2, 3, 10, 100, 700] * 5)
    kept = [server.connect() for _ in range(4)]
    count = len(expected.bodies)
    seen = set()

    def ask(client: int, turn: int) -> None:
        number = (client * 7 + turn) % count
        # Half of the clients keep their connection, half come anew each time.
        over: http.client.HTTPConnection | None = None
        if client % 2:
            over = kept[client]
        answer = server.predict(deployment, expected.bodies[number], over=over)
        expected.check(number, answer)
        seen.add(answer.headers["x-datarobot-model-id"])

    store = server.store()
    with clients(4, ask) as load:
        for turn in range(TURNS):
            store.replace_model(deployment, models.ids[(SECOND, FIRST)[turn % 2]])
            time.sleep(0.1)
    store.dispose()
    assert load.faults == []
    assert load.answered > TURNS
    assert seen == {models.ids[FIRST], models.ids[SECOND]}


def test_large_answers_do_not_mix_models(
    server: Server, models: ServedModels, deployment: str
) -> None:
    # More than a megabyte: scored in several chunks by several threads.
    expected = Expected(models, [70_000])
    assert len(expected.bodies[0]) > 1_200_000

    def ask(client: int, turn: int) -> None:
        expected.check(0, server.predict(deployment, expected.bodies[0]))

    store = server.store()
    with clients(2, ask) as load:
        end = time.monotonic() + 2
        turn = 0
        while time.monotonic() < end or load.answered < 4:
            store.replace_model(deployment, models.ids[(SECOND, FIRST)[turn % 2]])
            turn += 1
            time.sleep(0.15)
            assert not load.faults
    store.dispose()
    assert load.faults == []
