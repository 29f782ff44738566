import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.batch.cluster import Cluster, ClusterLost


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster("", 2, tmp_path / "dask") as opened:
        yield opened


def twice(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return 2 * number


def refused(number: int) -> int:
    if number == 3:
        raise ValueError("3 is refused")
    return number


def test_results_come_in_order(cluster: Cluster) -> None:
    assert list(cluster.map(twice, range(30))) == [2 * each for each in range(30)]
    assert list(cluster.map(twice, range(5))) == [2 * each for each in range(5)]


def test_few_items_are_read_ahead(cluster: Cluster) -> None:
    taken = []

    def items() -> Iterator[int]:
        for each in range(100):
            taken.append(each)
            yield each

    results = cluster.map(twice, items())
    for each in range(20):
        assert next(results) == 2 * each
        assert len(taken) <= each + 6
    results.close()
    assert len(taken) < 30


def test_what_an_item_raises_is_raised_in_its_turn(cluster: Cluster) -> None:
    found = []
    with pytest.raises(ValueError, match="3 is refused"):
        for each in cluster.map(refused, range(9)):
            found.append(each)
    assert found == [0, 1, 2]


def test_what_the_check_raises_ends_the_work(cluster: Cluster) -> None:
    end = threading.Event()

    def check() -> None:
        if end.is_set():
            raise InterruptedError

    results = cluster.map(twice, range(10**9), check)
    assert next(results) == 0
    end.set()
    with pytest.raises(InterruptedError):
        list(results)


def test_one_item_needs_no_cluster(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app.batch.cluster import Cluster\n"
        "with Cluster('', 2, Path()) as one: assert list(one.map(abs, [-1])) == [1]\n"
        "assert 'distributed' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path.cwd())


def test_check_ends_the_work_of_one_item(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    go_on, looks = threading.Event(), iter([None])

    def check() -> None:
        if next(looks, Ended) is Ended:
            raise Ended

    with Cluster("", 2, tmp_path) as cluster, pytest.raises(Ended):
        list(cluster.map(lambda _: go_on.wait(60), [1], check))
    go_on.set()


def test_what_one_item_raises_is_raised(tmp_path: Path) -> None:
    def work(item: int) -> int:
        raise TimeoutError(item)

    with Cluster("", 2, tmp_path) as cluster, pytest.raises(TimeoutError, match="7"):
        list(cluster.map(work, [7]))


def test_what_dask_does_is_in_no_log(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from pathlib import Path\n"
        "from app.batch.cluster import Cluster\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "with Cluster('', 2, Path(sys.argv[1])) as one:\n"
        "    assert list(one.map(abs, range(5))) == list(range(5))\n"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "dask")]
    done = subprocess.run(run, check=True, cwd=Path.cwd(), stderr=subprocess.PIPE)
    assert b"distributed" not in done.stderr


def test_threads_of_this_process_listen_on_no_port(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = set(Path.cwd().iterdir())
    results = cluster.map(lambda _: os.getpid(), range(20))
    assert next(results) == os.getpid()
    kinds = {each.status for each in psutil.Process().net_connections()}
    assert psutil.CONN_LISTEN not in kinds
    assert set(results) == {os.getpid()}
    assert set(Path.cwd().iterdir()) == before


def test_scheduler_that_is_not_there_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("app.batch.cluster._CONNECT_SECONDS", 0.5)
    with Cluster("tcp://127.0.0.1:9", 1, tmp_path) as cluster:
        with pytest.raises(ClusterLost, match="tcp://127.0.0.1:9"):
            list(cluster.map(twice, range(3)))
