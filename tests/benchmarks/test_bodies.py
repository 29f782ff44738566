import orjson
import pandas as pd
import pytest

from benchmarks.bodies import body_of, csv_body, json_rows
from benchmarks.specimens.made_up import A, B

each_specimen = pytest.mark.parametrize("specimen", [A, B], ids=["a", "b"])


@each_specimen
def test_rows_change(specimen):
    assert len(set(json_rows(specimen.frame(50, 1)))) == 50


@each_specimen
def test_json_row_is_one_record_of_plain_values(specimen):
    frame = specimen.frame(200, 1)
    records = [orjson.loads(row) for row in json_rows(frame)]
    assert all(list(each[0]) == list(frame.columns) for each in records)
    nulls = sum(value is None for each in records for value in each[0].values())
    assert nulls == frame.isna().sum().sum()


def test_whole_numbers_stay_whole():
    frame = pd.DataFrame({"age": [39], "class": pd.Categorical([None], ["a"])})
    assert json_rows(frame) == [b'[{"age":39,"class":null}]']
    assert csv_body(frame).splitlines()[1] == b"39,"


@each_specimen
def test_body_is_of_whole_lines_within_its_size(specimen, tmp_path):
    body, rows = body_of(specimen, 300_000, seed=5)
    assert 297_000 < len(body) <= 300_000
    (tmp_path / "body.csv").write_bytes(body)
    assert pd.read_csv(tmp_path / "body.csv").shape == (
        rows,
        len(specimen.frame(1, 1).columns),
    )
