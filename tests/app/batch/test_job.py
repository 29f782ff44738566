"""The one function that scores a part, held against requests with the same rows."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batch.cutting import cut_parts, read_head
from app.batch.job import ModelPlace, PartDone, Task, Wishes, score_part
from app.output_columns import OutputColumns
from app.services import Services
from app.store.files import Folder
from app.store.settings import DeploymentSettings
from backends.humility import NoOperation, OutlyingInput, Rule, ThrowError
from schemas.arguments import ExplanationArguments

# From tests/conftest.py.
Specimens = Any
Caller = Any

CSV = {"Accept": "text/csv"}


@pytest.fixture
def parts(
    services: Services, specimens: Specimens, tmp_path: Path
) -> Callable[..., list[PartDone]]:
    """Scores the parts of a CSV text with a specimen's model."""

    def scored(
        name: str, text: str | bytes, part_bytes: int = 4096, **task: Any
    ) -> list[PartDone]:
        source = tmp_path / "input.csv"
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        model_id = specimens[name].model.id
        place = ModelPlace(
            model_id, services.bundles.path(model_id), services.compiled.path(model_id)
        )
        with source.open("rb") as file:
            head = read_head(file, 1000)
            where = {"files": tmp_path.as_uri(), "input": source.name, "head": head}
            made = Task(place, **where, **task)
            cuts = list(cut_parts(file, head, part_bytes=part_bytes))
        return [score_part(made, part) for part in cuts]

    return scored


def joined(parts: list[PartDone]) -> str:
    assert not [part.refused for part in parts if part.refused]
    return b"".join(part.output or b"" for part in parts).decode()


@pytest.mark.parametrize("part_bytes", [100, 5000, 10**6])
@pytest.mark.parametrize("name", ["churn", "price", "plan", "grade", "onnx-iris"])
def test_parts_are_the_answer_of_a_request(
    name: str,
    part_bytes: int,
    parts: Callable[..., list[PartDone]],
    specimens: Specimens,
    predict: Caller,
) -> None:
    body = specimens[name].frame.to_csv(index_label="row")
    query = "passthroughColumns=row"
    answer = predict(name, body.encode(), query=query, headers=CSV)
    wishes = Wishes(passthrough=("row",))
    assert joined(parts(name, body, part_bytes, wishes=wishes)) == answer.text


def test_wishes_are_those_of_a_request(
    parts: Callable[..., list[PartDone]], specimens: Specimens, predict: Caller
) -> None:
    body = specimens["price"].frame.to_csv(index=False)
    query = (
        "passthroughColumnsSet=all&decimalsNumber=2&predictionWarningEnabled=true"
        "&maxExplanations=2"
    )
    answer = predict("price", body.encode(), query=query, headers=CSV)
    explanations = ExplanationArguments(most=2)
    wishes = Wishes("all", 2, prediction_warning=True, explanations=explanations)
    assert joined(parts("price", body, wishes=wishes)) == answer.text


def test_settings_and_threshold_are_those_of_the_task(
    parts: Callable[..., list[PartDone]], specimens: Specimens, predict: Caller
) -> None:
    body = specimens["churn"].frame.to_csv(index_label="id")
    changes = {"association_id": "id", "approval_workflow": True}
    deployment_id = predict.deploy("churn", threshold=0.9, **changes)
    answer = predict(deployment_id, body.encode(), headers=CSV)
    settings = DeploymentSettings().changed(changes)
    found = parts("churn", body, settings=settings, threshold=0.9)
    assert joined(found) == answer.text


def test_rows_are_numbered_over_the_whole_file(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    text = specimens["churn"].frame.to_csv(index=False)
    rows = text.count("\n") - 1
    found = parts("churn", text + text.splitlines()[1].replace(",", ",x", 1) + "\n")
    assert len(found) > 1 and not any(part.refused for part in found[:-1])
    assert f"row {rows}" in str(found[-1].refused)
    found = parts("churn", text + "1\n")
    assert f"Row {rows} of the CSV body has 1 fields" in str(found[-1].refused)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("tenure\n1\n", ""),
        ("tenure,tenure\n1,1\n", ""),
        ("{whole}", "passthroughColumns=none"),
        ("{whole}", "maxExplanations=2&explanationNumTopClasses=2"),
    ],
)
@pytest.mark.parametrize("keeps_bad_rows", [True, False])
def test_what_is_wrong_with_all_rows_is_told_as_to_a_request(
    text: str,
    query: str,
    keeps_bad_rows: bool,
    parts: Callable[..., list[PartDone]],
    specimens: Specimens,
    predict: Caller,
) -> None:
    text = text.format(whole=specimens["churn"].frame.to_csv(index=False))
    said = predict("churn", text.encode(), query=query, headers=CSV).json["message"]
    explained = ExplanationArguments(2, top_classes=2) if "Top" in query else None
    wishes = Wishes(("none",) if "none" in query else (), explanations=explained)
    found = parts("churn", text, wishes=wishes, keeps_bad_rows=keeps_bad_rows)
    assert {part.refused for part in found} == {said}
    assert not any(part.output for part in found)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_bad_rows_are_told_and_the_others_scored_as_if_alone(
    parts: Callable[..., list[PartDone]], specimens: Specimens, data: st.DataObject
) -> None:
    head, *lines = specimens["price"].frame.to_csv(index_label="id").splitlines()
    columns = head.count(",")
    bad = f"bad,{','.join(['x'] * columns)}"
    kinds = st.one_of(st.sampled_from(lines), st.sampled_from([bad, "short", "," * 99]))
    rows = data.draw(st.lists(kinds, min_size=1, max_size=40))
    task: dict[str, Any] = {
        "wishes": Wishes(passthrough=("id",), columns=OutputColumns(status=True)),
        "keeps_bad_rows": True,
    }
    text = "\n".join([head, *rows])
    size = data.draw(st.integers(1, 3000))
    found = parts("price", text, size, **task)
    told = list(csv.DictReader(io.StringIO(joined(found))))
    assert len(told) == len(rows) == sum(part.rows for part in found)
    alone = {
        row: joined(parts("price", f"{head}\n{row}", **task)).splitlines()[1]
        for row in set(rows) & set(lines)
    }
    for number, (row, line, each) in enumerate(
        zip(rows, joined(found).splitlines()[1:], told, strict=True)
    ):
        if row in alone:
            assert line == alone[row]
        else:
            assert each["id"] == ("bad" if row == bad else "")
            assert f"ow {number}" in each["prediction_status"]
    failed = [row for row in rows if row not in alone]
    assert sum(part.failed for part in found) == len(failed)
    assert (found[0].first_failure != "") == (found[0].failed > 0)


def test_row_that_cannot_be_scored_is_no_empty_line(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    head, first, *others = specimens["price"].frame.to_csv(index=False).splitlines()
    text = "\n".join([head, first, "short", *others])
    told = joined(parts("price", text, keeps_bad_rows=True)).splitlines()
    assert told[2] == '""'
    assert len(told) == len(others) + 3


def test_row_with_too_many_fields_passes_nothing_through(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    head, first, *_ = specimens["price"].frame.to_csv(index_label="id").splitlines()
    text = f"{head}\n{first}\n7{first.lstrip('0')},more\n"
    wishes = Wishes(passthrough=("id",))
    told = joined(parts("price", text, wishes=wishes, keeps_bad_rows=True))
    assert [row["id"] for row in csv.DictReader(io.StringIO(told))] == ["0", ""]


def test_bad_row_may_have_a_long_cell(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    head, first, *_ = specimens["price"].frame.to_csv(index_label="id").splitlines()
    long = "x" * (csv.field_size_limit() + 1)
    bad = f"bad{',x' * head.count(',')}"
    text = f"{head},note\n{first},{long}\n{bad},{long}\n"
    task: dict[str, Any] = {"wishes": Wishes(passthrough=("id",))}
    told = joined(parts("price", text, keeps_bad_rows=True, **task))
    assert [row["id"] for row in csv.DictReader(io.StringIO(told))] == ["0", "bad"]


def test_first_failure_of_a_part_is_told(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    head, first, *_ = specimens["price"].frame.to_csv(index=False).splitlines()
    text = "\n".join([head, first, "short", first, "short", ""])
    (part,) = parts("price", text, keeps_bad_rows=True)
    assert (part.failed, part.first_failure.split()[:2]) == (2, ["Row", "1"])


def with_rule(action: Any) -> DeploymentSettings:
    """Held against each row that has not been there for a year."""
    return DeploymentSettings(
        humility=(Rule("1" * 24, "new", OutlyingInput("tenure", 12, 1e9), action),)
    )


def test_humility_is_counted_once_for_each_row(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    lines = specimens["churn"].frame.to_csv(index=False).splitlines()
    good = len(lines) - 1
    lines[5:5] = ["x" + "," * lines[0].count(",")]
    lines[9:9] = ["1"]
    found = parts(
        "churn",
        "\n".join(lines),
        1000,
        settings=with_rule(NoOperation()),
        keeps_bad_rows=True,
    )
    assert sum(part.failed for part in found) == 2
    counts = [each for part in found for each in part.humility]
    assert sum(looked_at for _, _, looked_at in counts) == good
    few = specimens["churn"].frame["tenure"] < 12
    assert sum(triggered for _, triggered, _ in counts) == few.sum() > 0


def test_reason_of_a_bad_row_is_one_line(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    text = specimens["churn"].frame.to_csv(index=False)
    settings = with_rule(ThrowError("too\n  new"))
    (part,) = parts("churn", text, 10**6, settings=settings, keeps_bad_rows=True)
    assert "too new" in part.first_failure


def test_row_that_a_humility_rule_refuses_is_a_bad_one(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    frame = specimens["churn"].frame
    task: dict[str, Any] = {"settings": with_rule(ThrowError("Too new"))}
    text = frame.to_csv(index=False)
    first = parts("churn", text, **task)[0]
    assert (first.refused, first.rule) == ("Too new", ("new", "1" * 24))
    found = parts("churn", text, **task, keeps_bad_rows=True)
    few = (frame["tenure"] < 12).to_list()
    assert sum(part.failed for part in found) == sum(few)
    assert found[0].first_failure == "Too new"
    lines = joined(found).splitlines()[1:]
    assert [line.startswith(",") for line in lines] == few
    counts = [each for part in found for each in part.humility]
    assert sum(looked_at for _, _, looked_at in counts) == len(frame)


def test_columns_are_chosen_and_renamed(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    text = specimens["churn"].frame.to_csv(index_label="id")
    target = specimens["churn"].model.target
    columns = OutputColumns(
        probabilities=False, names={f"{target}_PREDICTION": "label"}, status=True
    )
    wishes = Wishes(passthrough=("id",), columns=columns)
    head, first, *_ = joined(parts("churn", text, wishes=wishes)).splitlines()
    assert head == "label,prediction_status,id"
    assert first.endswith(",OK,0")


def test_column_that_is_named_twice_is_passed_through_once(
    parts: Callable[..., list[PartDone]], specimens: Specimens
) -> None:
    text = specimens["price"].frame.to_csv(index_label="id")
    once = joined(parts("price", text, wishes=Wishes(passthrough=("id",))))
    assert joined(parts("price", text, wishes=Wishes(passthrough=("id", "id")))) == once


def test_parts_of_the_output_are_kept_where_the_task_says(
    parts: Callable[..., list[PartDone]], specimens: Specimens, tmp_path: Path
) -> None:
    text = specimens["plan"].frame.to_csv(index=False)
    expected = joined(parts("plan", text))
    found = parts("plan", text, output="jobs/1/output")
    files = Folder(tmp_path)
    kept = [files.read(f"jobs/1/output/{part.number:09d}.csv") for part in found]
    assert b"".join(kept).decode() == expected
    assert [len(each) for each in kept] == [part.size for part in found]
    assert {part.output for part in found} == {None}
