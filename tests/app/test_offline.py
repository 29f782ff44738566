import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.batch import planning
from app.batch.job import ModelPlace, Task, Wishes
from app.config import Config
from app.errors import BodyUnreadable, NoDataToPredict
from app.offline import OutputRefused, ScoringRefused, score_file
from app.services import Services
from app.store.settings import DeploymentSettings
from tests.forecasts import as_csv

# From tests/conftest.py.
Specimens = Any
Caller = Any

NAMES = ("churn", "price", "plan", "grade", "onnx-price", "onnx-risk", "onnx-iris")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def place(services: Services, specimen: Any) -> ModelPlace:
    model_id = specimen.model.id
    compiled = services.compiled.path(model_id)
    return ModelPlace(model_id, services.bundles.path(model_id), compiled)


@pytest.fixture
def score(
    services: Services, specimens: Specimens, source: Path, tmp_path: Path
) -> Callable[..., str]:
    """Scores the source file with a specimen's model; returns the output's text."""

    def scored(name: str = "churn", end: str = ".csv", **options: Any) -> str:
        target = tmp_path / f"out{end}"
        settings = options.pop("settings", DeploymentSettings())
        threshold = options.pop("threshold", None)
        task = Task(
            place(services, specimens[name]),
            settings=settings,
            threshold=threshold,
            wishes=Wishes(**options),
        )
        rows = score_file(task, source, target, services.config)
        text = target.read_bytes().decode()
        assert end == ".json" or text.count("\n") == rows + 1
        return text

    return scored


@pytest.mark.parametrize("end", [".csv", ".json"])
@pytest.mark.parametrize("name", NAMES)
def test_output_is_that_of_a_request(
    name: str,
    end: str,
    score: Callable[..., str],
    source: Path,
    specimens: Specimens,
    predict: Caller,
) -> None:
    specimens[name].frame.to_csv(source)
    accept = {".csv": "text/csv", ".json": "application/json"}[end]
    answer = predict(name, source.read_bytes(), headers={"Accept": accept})
    assert score(name, end) == answer.text


def test_options_are_those_of_a_request(
    score: Callable[..., str], source: Path, specimens: Specimens, predict: Caller
) -> None:
    specimens["price"].frame.to_csv(source, index_label="row")
    answer = predict(
        "price",
        source.read_bytes(),
        query=(
            "passthroughColumns=row&passthroughColumns=region&decimalsNumber=2"
            "&predictionWarningEnabled=true"
        ),
        headers={"Accept": "text/csv"},
    )
    assert "IS_OUTLIER_PREDICTION" in answer.text
    assert answer.text == score(
        "price", passthrough=("row", "region"), decimals=2, prediction_warning=True
    )


def test_all_columns_are_passed_through(
    score: Callable[..., str], source: Path, specimens: Specimens, predict: Caller
) -> None:
    specimens["plan"].frame.to_csv(source)
    answer = predict(
        "plan",
        source.read_bytes(),
        query="passthroughColumnsSet=all",
        headers={"Accept": "text/csv"},
    )
    assert score("plan", passthrough="all") == answer.text


def test_settings_of_the_deployment_count(
    score: Callable[..., str], source: Path, specimens: Specimens, predict: Caller
) -> None:
    specimens["churn"].frame.to_csv(source, index_label="id")
    changes = {
        "association_id": "id",
        "labels": "names",
        "approval_workflow": True,
        "approval_status": "PENDING",
    }
    deployment_id = predict.deploy("churn", threshold=0.9, **changes)
    answer = predict(deployment_id, source.read_bytes())
    settings = DeploymentSettings().changed(changes)
    assert score(end=".json", settings=settings, threshold=0.9) == answer.text


def large(frame: Any, times: int) -> str:
    head, _, rows = frame.to_csv(index=False).partition("\n")
    return f"{head}\n{rows * times}"


def test_rows_are_numbered_over_the_whole_file(
    score: Callable[..., str], source: Path, specimens: Specimens
) -> None:
    frame = specimens["churn"].frame
    text = large(frame, 200)
    source.write_text(text)
    head, *rows = score().splitlines()
    assert len(rows) == 200 * len(frame)
    assert rows == rows[: len(frame)] * 200
    source.write_text(text + text.splitlines()[1].replace(",", ",x", 1) + "\n")
    with pytest.raises(ScoringRefused, match=f"row {200 * len(frame)}"):
        score()


def anonymous_memory() -> int:
    """KiB of this process; a mapped file's pages, which can go at any time, aside."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "RssAnon" in line)


def test_memory_does_not_grow_with_the_file(
    services: Services, specimens: Specimens, source: Path, tmp_path: Path
) -> None:
    specimen = specimens["onnx-price"]
    task = Task(place(services, specimen))
    most: dict[int, int] = {}
    for times in (400, 8000):
        source.write_text(large(specimen.frame, times))
        before = anonymous_memory()
        with sampled(anonymous_memory) as samples:
            score_file(task, source, tmp_path / "out.csv", services.config)
        most[times] = max(samples) - before
    assert source.stat().st_size > 80e6
    assert max(most.values()) < 60_000, most


@contextmanager
def sampled(measure: Callable[[], int]) -> Iterator[list[int]]:
    samples = [measure()]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            samples.append(measure())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        stop.set()
        watcher.join()


def test_failure_leaves_the_old_output(
    score: Callable[..., str], source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    source.write_text("tenure\n1\n")
    with pytest.raises(ScoringRefused, match="contract"):
        score()
    assert target.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


def test_byte_order_mark_is_dropped(
    score: Callable[..., str], source: Path, specimens: Specimens
) -> None:
    specimens["price"].frame.to_csv(source, index=False)
    expected = score("price")
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    assert score("price") == expected
    assert source.read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("where", [10, mmap.PAGESIZE, 2**20 - 1, 2**20 + 5])
def test_other_encodings_are_refused(
    score: Callable[..., str], source: Path, where: int
) -> None:
    text = bytearray(b"tenure,x\n" + b"1,2\n" * 2**19)
    text[where : where + 1] = b"\xe9"
    source.write_bytes(text)
    with pytest.raises(BodyUnreadable, match=f"byte {where}:"):
        score()


def test_character_on_a_step_is_read(
    score: Callable[..., str], source: Path, specimens: Specimens
) -> None:
    frame = specimens["price"].frame
    head, row = frame.to_csv(index=False).splitlines()[:2]
    head, row = f"{head},note", f"{row},"
    padding = 2**20 - len(f"{head}\n{row}".encode()) - 1
    source.write_text(f"{head}\n{row}{'x' * padding}é\n")
    assert source.read_bytes()[2**20 - 1 : 2**20 + 1] == "é".encode()
    assert score("price").count("\n") == 2


@pytest.mark.parametrize("text", ["", "tenure,contract\n", "\n\n", " \n", "\ufeff\n"])
def test_file_without_rows_is_refused(
    score: Callable[..., str], source: Path, text: str
) -> None:
    source.write_text(text)
    with pytest.raises(NoDataToPredict):
        score()


def test_unknown_passthrough_column_is_refused(
    score: Callable[..., str], source: Path, specimens: Specimens
) -> None:
    specimens["churn"].frame.to_csv(source)
    with pytest.raises(ScoringRefused, match="colour"):
        score(passthrough=("colour",))


@pytest.mark.parametrize("end", [".csv", ".json"])
def test_series_in_groups_are_forecast_as_all_at_once(
    end: str, forecasters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, forecaster in forecasters.items():
        rows = forecaster.request()
        column = forecaster.spec.series_id_column
        first = rows[0].get(column)
        # Nothing of the first of several series is to be forecast.
        known = forecaster.spec.history + forecaster.spec.feature_derivation_window.end
        if len(forecaster.series()) > 1:
            mine = [row for row in rows if row[column] == first]
            rows = [*mine[:known], *(row for row in rows if row[column] != first)]
        source, target = tmp_path / "rows.csv", tmp_path / f"out{end}"
        source.write_bytes(as_csv(rows))
        task = Task(ModelPlace("", forecaster.folder), wishes=Wishes("all"))
        found = []
        for size in (1, 2**20):
            monkeypatch.setattr(planning, "GROUP_BYTES", size)
            number = score_file(task, source, target, Config(home=tmp_path))
            found.append((number, target.read_bytes()))
        assert found[0] == found[1], name
        assert found[0][0] > 0


def test_limits_of_requests_do_not_hold_for_files(
    services: Services, specimens: Specimens, source: Path, tmp_path: Path
) -> None:
    specimens["churn"].frame.to_csv(source)
    task = Task(place(services, specimens["churn"]))
    config = replace(services.config, max_rows=1, max_body=1, request_seconds=1e-9)
    rows = score_file(task, source, tmp_path / "out.csv", config)
    assert rows == len(specimens["churn"].frame)


@pytest.mark.parametrize("place", ["folder.csv", "rows.csv", "none/out.csv"])
def test_output_in_an_impossible_place_is_refused(
    services: Services, specimens: Specimens, source: Path, place: str
) -> None:
    specimens["churn"].frame.to_csv(source)
    before = source.read_bytes()
    (source.parent / "folder.csv").mkdir()
    task = Task(ModelPlace("", specimens["churn"].folder))
    with pytest.raises(OutputRefused):
        score_file(task, source, source.parent / place, services.config)
    assert source.read_bytes() == before


def test_output_clash_is_refused(
    score: Callable[..., str], source: Path, specimens: Specimens
) -> None:
    frame = specimens["churn"].frame.assign(THRESHOLD=1)
    frame.to_csv(source, index=False)
    with pytest.raises(ScoringRefused, match="THRESHOLD"):
        score(passthrough=("THRESHOLD",))
