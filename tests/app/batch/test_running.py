import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from app.batch import cutting, planning, running
from app.batch.running import LEASE, Runner
from app.batch.spec import TimeseriesSettings
from backends.humility import NoOperation, OutlyingInput, Rule

# From tests/conftest.py and tests/app/batch/conftest.py.
Specimens = Any
Caller = Any
Batch = Any

CSV = {"Accept": "text/csv"}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**cutting.cut_parts.__kwdefaults__, "part_bytes": 2000}
    monkeypatch.setattr(cutting.cut_parts, "__kwdefaults__", defaults)


@pytest.fixture
def text(specimens: Specimens) -> str:
    """Rows for the deployment `churn`; several parts of them."""
    return specimens["churn"].frame.to_csv(index_label="id")


def test_output_is_that_of_a_request(batch: Batch, text: str, predict: Caller) -> None:
    job = batch.add("churn", text, passthrough_columns=("id",), max_explanations=2)
    done = batch.run(job)
    query = "passthroughColumns=id&maxExplanations=2"
    answer = predict("churn", text.encode(), query=query, headers=CSV)
    assert batch.output(job) == answer.text
    assert (done.status, done.phase, done.runner) == ("COMPLETED", "done", None)
    assert done.parts_done > 3
    assert done.scored_rows == answer.text.count("\n") - 1
    assert done.output_bytes == len(answer.data)
    assert (done.next_offset, done.failed_rows) == (len(text.encode()), 0)
    assert "Job done processing at 2" in done.status_details
    assert "Job started processing at 2" in done.logs[-2]
    assert done.expires_at == done.finished_at + timedelta(hours=48)


def test_job_is_scored_with_what_was_pinned(
    batch: Batch, text: str, predict: Caller
) -> None:
    changes = {"approval_workflow": True, "association_id": "id"}
    job = batch.add("churn", text, settings=changes, threshold=0.9)
    other = batch.add(
        "churn", text, settings=changes, threshold=0.9, prediction_threshold=0.1
    )
    batch.run(other)
    deployment_id = predict.deploy("churn", threshold=0.9, **changes)
    answer = predict(deployment_id, text.encode(), headers=CSV).text
    assert batch.output(job) == answer
    assert batch.output(other).splitlines()[1].split(",")[3] == "0.1"


def test_first_bad_row_ends_the_job(batch: Batch, text: str) -> None:
    lines = text.splitlines()
    lines[200] = "1"
    for spec in ({}, {"disable_row_level_error_handling": True}):
        job = batch.add("churn", "\n".join(lines), **spec)
        done = batch.run(job)
        assert done.status == "ABORTED"
        assert "Row 199 of the CSV body has 1 fields" in done.status_details
        assert 0 < done.parts_done and done.scored_rows < 199


def test_bad_rows_are_counted_and_told(batch: Batch, text: str) -> None:
    lines = text.splitlines()
    lines[200] = lines[300] = "1"
    done = batch.run(job := batch.add("churn", "\n".join(lines), abort_on_error=False))
    assert (done.status, done.failed_rows) == ("COMPLETED", 2)
    assert done.scored_rows == len(lines) - 3
    output = batch.output(job).splitlines()
    assert [n for n, line in enumerate(output) if not line.strip(",")] == [200, 300]
    first = [line for line in done.logs if "could not be scored" in line]
    assert len(first) == 1 and "Row 199" in first[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenure,contract\n", "No data to predict on"),
        ("", "No data to predict on"),
        ("tenure\n1\n", "contract"),
        ('tenure,contract\n1,"x', "never closed"),
    ],
)
def test_input_that_is_none_ends_the_job(batch: Batch, text: str, said: str) -> None:
    done = batch.run(job := batch.add("churn", text, abort_on_error=False))
    assert done.status == "ABORTED" and said in done.status_details
    assert batch.output(job) == ""


def test_columns_that_are_not_there_end_the_job(batch: Batch, text: str) -> None:
    for spec, said in (
        ({"passthrough_columns": ("none",)}, "columns expected but not found"),
        ({"column_names_remapping": {"none": "x"}}, "no column named 'none'"),
        ({"passthrough_columns_set": "all"}, None),
    ):
        done = batch.run(batch.add("churn", text, **spec))
        assert done.status == ("ABORTED" if said else "COMPLETED")
        assert said is None or said in done.status_details


def test_model_that_is_gone_fails_the_job(batch: Batch, text: str) -> None:
    job = batch.add("churn", text)
    batch.runner.jobs.change(job.id, {"pinned": {**job.pinned, "model_id": "0" * 24}})
    done = batch.run(job)
    assert done.status == "FAILED" and "0" * 24 in done.status_details


def test_input_that_cannot_be_read_fails_the_job(
    batch: Batch, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_WAIT_SECONDS", 0.01)
    job = batch.add("churn", text)
    batch.runner.files.remove(job.folder)
    done = batch.run(job)
    assert done.status == "FAILED"
    assert "No such file" in done.status_details
    assert str(batch.runner.config.home) not in done.status_details


def test_job_whose_cluster_cannot_be_reached_fails(
    batches: Callable[..., Batch],
    site: Any,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr("app.batch.cluster._CONNECT_SECONDS", 0.2)
    batch = batches(site, dask_scheduler="tcp://127.0.0.1:9")
    done = batch.run(batch.add("churn", text))
    assert done.status == "FAILED"
    assert "tcp://127.0.0.1:9 cannot be reached" in done.status_details


def test_job_that_is_aborted_stops(batch: Batch, text: str) -> None:
    job = batch.add("churn", text * 3)
    advance = batch.runner.jobs.advance

    def aborting(*arguments: Any, **named: Any) -> Any:
        if batch.get(job).parts_done == 2:
            batch.runner.jobs.change(job.id, {"status": "ABORTED", "phase": "done"})
        return advance(*arguments, **named)

    batch.runner.jobs.advance = aborting
    done = batch.run(job)
    assert (done.status, done.parts_done) == ("ABORTED", 2)


@pytest.mark.parametrize("is_removed", [True, False])
def test_job_that_is_ended_meanwhile_leaves_no_files(
    batch: Batch, text: str, is_removed: bool
) -> None:
    job, runner = batch.add("churn", text * 3), batch.runner
    advance = runner.jobs.advance

    def ending(*arguments: Any, **named: Any) -> Any:
        if batch.get(job).parts_done == 2:
            runner.files.remove(job.folder)
            runner.jobs.change(job.id, {"status": "ABORTED", "phase": "done"})
            if is_removed:
                runner.jobs.remove(job.id)
        return advance(*arguments, **named)

    runner.jobs.advance = ending
    runner.run_next()
    # As a part that was being scored all the while.
    runner.files.write(job.part_path(3), b"late")
    runner.close()
    assert not runner.files.names(f"{job.folder}/output")


def test_job_that_ends_without_an_output_leaves_no_files(
    batch: Batch, text: str
) -> None:
    job, runner = batch.add("churn", text + "1\n"), batch.runner
    assert batch.run(job).status == "ABORTED"
    runner.close()
    assert not runner.files.exists(job.input_path)
    assert not runner.files.names(f"{job.folder}/output")


def test_job_that_another_runner_has_keeps_its_files(batch: Batch, text: str) -> None:
    job, runner = batch.add("churn", text * 3), batch.runner
    advance = runner.jobs.advance

    def stolen(job_id: str, name: str, *arguments: Any, **named: Any) -> Any:
        if batch.get(job).parts_done == 2:
            runner.jobs.change(job_id, {"runner": "another"})
        return advance(job_id, name, *arguments, **named)

    runner.jobs.advance = stolen
    runner.run_next()
    runner.close()
    assert len(runner.files.names(f"{job.folder}/output")) >= 2


def test_runner_that_is_stopped_lets_go_of_the_job(
    batch: Batch, text: str, predict: Caller
) -> None:
    job = batch.add("churn", text)
    other = Runner(batch.runner.config, lambda: batch.get(job).parts_done >= 2)
    assert other.run_next()
    other.close()
    held = batch.get(job)
    assert held.status == "RUNNING" and 2 <= held.parts_done < 5
    done = batch.run(job)
    assert done.status == "COMPLETED"
    answer = predict("churn", text.encode(), headers=CSV).text
    assert batch.output(job) == answer
    assert any("Job goes on at" in line for line in done.logs)


def test_place_where_runners_die_is_left_at_last(
    batch: Batch, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = batch.add("churn", text)
    monkeypatch.setattr(running, "_BEGINNINGS", 3)
    dying = Runner(batch.runner.config, lambda: False)

    class Died(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Died

    dying.cluster.map = die
    for _ in range(3):
        with pytest.raises(Died):
            dying.run_next()
        lapsed = {"lease_until": datetime.now(UTC) - LEASE}
        dying.jobs.change(job.id, lapsed)
    dying.close()
    done = batch.run(job)
    assert done.status == "FAILED" and "begun 3 times" in done.status_details


def test_lease_is_kept_while_a_part_is_waited_for(
    batch: Batch, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Much longer than a renewal takes on a busy machine, and shorter than what follows.
    monkeypatch.setattr(running, "LEASE", timedelta(seconds=2))
    monkeypatch.setattr(running, "_RENEW_SECONDS", 0.1)
    job = batch.add("churn", text)
    waiting, go_on = threading.Event(), threading.Event()
    whole = batch.runner.cluster.map

    def slow(*arguments: Any) -> Any:
        waiting.set()
        go_on.wait()
        return whole(*arguments)

    batch.runner.cluster.map = slow
    thread = threading.Thread(target=batch.runner.run_next)
    thread.start()
    waiting.wait()
    for _ in range(30):
        assert batch.runner.jobs.claim("another", LEASE) is None
        threading.Event().wait(0.1)
    go_on.set()
    thread.join()
    assert batch.get(job).status == "COMPLETED"


def test_humility_rules_are_counted(batch: Batch, text: str) -> None:
    store = batch.runner.store
    deployment_id = batch.site.deployments["churn"]
    rule = Rule("1" * 24, "new", OutlyingInput("tenure", 12, 1e9), NoOperation())
    settings = store.deployment(deployment_id).settings.changed({"humility": (rule,)})
    batch.run(batch.add("churn", text, settings=settings.to_stored()))
    (total,) = batch.runner.humility_totals.read(deployment_id)
    assert total.looked_at == text.count("\n") - 1


def test_series_are_forecast_in_one_part(
    batches: Callable[..., Batch],
    forecast_site: Any,
    forecasters: Any,
    forecast: Caller,
) -> None:
    batch = batches(forecast_site)
    name = next(iter(forecasters))
    body = pd.DataFrame(forecasters[name].request()).to_csv(index=False)
    answer = forecast(name, body.encode(), headers=CSV)
    assert answer.status_code == 200, answer.text
    job = batch.add(name, body, timeseries_settings=TimeseriesSettings())
    done = batch.run(job)
    assert batch.output(job) == answer.text
    assert done.status == "COMPLETED"
    assert done.scored_rows == answer.text.count("\n") - 1
    assert done.scored_rows + done.skipped_rows == body.count("\n") - 1


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group for each series."""
    monkeypatch.setattr(planning, "GROUP_BYTES", 1)


@pytest.mark.usefixtures("small_groups")
def test_series_are_forecast_in_groups_as_in_a_request(
    batches: Callable[..., Batch],
    forecast_site: Any,
    forecasters: Any,
    forecast: Caller,
) -> None:
    batch = batches(forecast_site)
    most = 0
    for name, forecaster in forecasters.items():
        frame = pd.DataFrame(forecaster.request())
        time = forecaster.spec.datetime_column
        # Series take turns.
        body = frame.sort_values(time, kind="stable").to_csv(index_label="row")
        query = "passthroughColumns=row"
        answer = forecast(name, body.encode(), headers=CSV, query=query)
        assert answer.status_code == 200, answer.text
        settings = TimeseriesSettings()
        job = batch.add(
            name, body, timeseries_settings=settings, passthrough_columns=("row",)
        )
        done = batch.run(job)
        assert (done.status, batch.output(job)) == ("COMPLETED", answer.text), name
        assert done.scored_rows == answer.text.count("\n") - 1
        assert done.scored_rows + done.skipped_rows == body.count("\n") - 1
        most = max(most, done.parts_done)
    assert most > 1


@pytest.mark.usefixtures("small_groups")
def test_range_and_intervals_of_groups_are_those_of_a_request(
    batches: Callable[..., Batch],
    forecast_site: Any,
    forecasters: Any,
    forecast: Caller,
) -> None:
    batch = batches(forecast_site)
    groups = []
    for name, forecaster in forecasters.items():
        rows = forecaster.request(history=forecaster.spec.history + 3)
        times = sorted({forecaster.time(row) for row in rows})
        start, end = times[-forecaster.spec.forecast_window.end - 2], times[-1]
        body = pd.DataFrame(rows).to_csv(index=False)
        query = f"predictionsStartDate={start:%FT%TZ}&predictionsEndDate={end:%FT%TZ}"
        intervals = {
            "prediction_intervals": True,
            "prediction_interval_size": min(forecaster.spec.intervals, default=80),
        }
        changes = intervals if forecaster.spec.intervals else {}
        deployment = forecast.deploy(name, **changes)
        answer = forecast(deployment, body.encode(), headers=CSV, query=query)
        assert answer.status_code == 200, answer.text
        asked = TimeseriesSettings(
            type="historical", predictions_start_date=start, predictions_end_date=end
        )
        job = batch.add(name, body, settings=changes, timeseries_settings=asked)
        done = batch.run(job)
        assert (done.status, batch.output(job)) == ("COMPLETED", answer.text), name
        groups.append(done.parts_done)
        assert batch.runner.files.names(job.folder) == ["input.csv", "output"]
    assert max(groups) > 1


@pytest.mark.usefixtures("small_groups")
def test_groups_of_a_runner_that_ends_are_gone_on_with(
    batches: Callable[..., Batch],
    forecast_site: Any,
    forecasters: Any,
    forecast: Caller,
) -> None:
    batch = batches(forecast_site)
    name = next(n for n, each in forecasters.items() if len(each.series()) > 2)
    body = pd.DataFrame(forecasters[name].request()).to_csv(index=False)
    job = batch.add(name, body)
    left = batch.runner.scratch / "of one that was killed"
    left.mkdir(parents=True)
    stopping = Runner(
        batch.runner.config,
        lambda: stopping.jobs.get(job.id).parts_done > 0,
        place="here",
    )
    stopping.run_next()
    stopping.close()
    assert not left.exists()
    assert batch.get(job).parts_done == 1
    done = batch.run(job)
    answer = forecast(name, body.encode(), headers=CSV)
    assert (done.status, batch.output(job)) == ("COMPLETED", answer.text)
    assert done.scored_rows == answer.text.count("\n") - 1


@pytest.mark.usefixtures("small_groups")
def test_rows_of_groups_are_refused_by_their_numbers(
    batches: Callable[..., Batch], forecast_site: Any, forecasters: Any
) -> None:
    batch = batches(forecast_site)
    name = next(n for n, each in forecasters.items() if len(each.series()) > 2)
    rows = forecasters[name].request()
    rows[-1][forecasters[name].spec.datetime_column] = "never"
    done = batch.run(batch.add(name, pd.DataFrame(rows).to_csv(index=False)))
    assert done.status == "ABORTED" and "'never'" in done.status_details
    assert batch.runner.files.names(f"{done.folder}/series") == []


def test_job_that_ends_leaves_nothing_where_it_was_to_deliver(
    batches: Callable[..., Batch], site: Any, text: str, tmp_path: Path
) -> None:
    batch = batches(site, batch_locations=str(tmp_path))
    output = {"type": "filesystem", "path": str(tmp_path / "o.csv")}
    job = batch.add("churn", text + "1\n", output_settings=output)
    left = tmp_path / f".foretell-{job.id}-0.part"
    left.write_bytes(b"half")
    assert batch.run(job).status == "ABORTED"
    batch.runner.close()
    assert not left.exists()


@pytest.mark.parametrize("phase", ["intake", "deliver"])
def test_runner_that_is_stopped_ends_no_phase(
    batches: Callable[..., Batch], site: Any, text: str, tmp_path: Path, phase: str
) -> None:
    batch = batches(site, batch_locations=str(tmp_path))
    (tmp_path / "i.csv").write_text(text)
    places = {
        f"{name}_settings": {"type": "filesystem", "path": str(tmp_path / file)}
        for name, file in (("intake", "i.csv"), ("output", "o.csv"))
    }
    job = batch.add("churn", text, **places)
    batch.runner.files.write(job.part_path(0), b"x\n1\n")
    batch.runner.jobs.change(job.id, {"phase": phase, "parts_done": 1})
    other = Runner(batch.runner.config, lambda: True)
    assert other.run_next()
    other.close()
    assert (batch.get(job).status, batch.get(job).phase) == ("RUNNING", phase)
    assert not (tmp_path / "o.csv").exists()
