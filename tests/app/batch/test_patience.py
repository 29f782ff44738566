"""What is ended is what somebody waits for."""

import asyncio
import time

import pytest
from fsspec import asyn

from app.batch.patience import Patience


class Ended(Exception):
    pass


def end():
    raise Ended


def test_transfer_is_ended_and_nothing_else_of_its_loop():
    loop = asyn.get_loop()
    # As connections of before are closed.
    other = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5, "closed"), loop)
    begun = time.monotonic()
    with pytest.raises(Ended):
        Patience(end).wait(lambda: asyn.sync(loop, asyncio.sleep, 600))
    assert time.monotonic() < begun + 60
    assert other.result(60) == "closed"
