"""Training data is read by the rules of requests, whatever file it comes in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.training_data import (
    TrainingDataRejected,
    distinct_labels,
    encode_labels,
    read_table,
    spread,
    take_columns,
    typed_labels,
)
from backends.features import Decoder
from backends.model import Feature

NUMBER = Feature("x", "numeric")
TOWN = Feature("town", "categorical", categories=("Oslo", "Rome"))


def test_csv_cells_come_as_they_stand_there(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b'\xef\xbb\xbfx,town\r\n01,"a, ""b""\r\nc"\r\n, NA \r\n')
    table = read_table(path)
    assert table.to_pydict() == {"x": ["01", ""], "town": ['a, "b"\r\nc', " NA "]}


def test_large_csv_reads_like_a_small_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(200_000) / 7, "town": "Oslo"})
    frame.to_csv(tmp_path / "large.csv", index=False)
    frame.head(20).to_csv(tmp_path / "small.csv", index=False)
    large, small = (
        read_table(tmp_path / "large.csv"),
        read_table(tmp_path / "small.csv"),
    )
    assert large.num_rows == 200_000
    assert large.slice(0, 20).to_pydict() == small.to_pydict()


def test_parquet_and_csv_decode_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "x": [1.5, np.nan, 1e300, -0.0],
            "whole": [1, 2, 3, 2**40],
            "flag": [True, False, True, True],
            "town": pd.Categorical(["Rome", None, "Oslo", "Nome"]),
            "level": pd.Categorical([3, 1, 3, 1]),
            "day": pd.to_datetime(["2024-01-01"] * 4),
        }
    )
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_csv(tmp_path / "data.csv", index=False)
    features = (
        NUMBER,
        Feature("whole", "numeric", dtype="int64"),
        Feature("flag", "numeric"),
        TOWN,
        Feature("level", "categorical", categories=(1, 3)),
        Feature("day", "text", dtype="string", missing="empty"),
    )
    one, other = (
        Decoder(features).from_table(read_table(tmp_path / name))
        for name in ("data.csv", "data.parquet")
    )
    np.testing.assert_array_equal(one.matrix, other.matrix)
    assert one.unknown_categories == other.unknown_categories == 1
    assert one.texts[5][0].startswith("2024-01-01")
    assert other.texts[5][0].startswith("2024-01-01")


def test_columns_without_cells_do_not_stop_the_others(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0], "list": [[1, 2]], "bytes": [b"1"]})
    pq.write_table(table, tmp_path / "data.parquet")
    assert read_table(tmp_path / "data.parquet").column_names == ["x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b"", "No data to predict on"),
        (b"x,y\n", "No data to predict on"),
        (b"x,x\n1,2\n", "x"),
        (b"x\n\xff\n", "not valid UTF-8"),
    ],
)
def test_files_that_are_no_data_are_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(TrainingDataRejected, match=f"data.csv.*{message}"):
        read_table(path)


def test_missing_columns_are_named() -> None:
    with pytest.raises(
        TrainingDataRejected, match="data.csv has no column 'q'; .* 'x'"
    ):
        take_columns(pa.table({"x": [1]}), ["x", "q"], what="data.csv")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "9.0", "", "NA"], (9, 10)),
        (["1.5", "-1"], (-1, 1.5)),
        (["True", "false", "TRUE"], (False, True)),
        (["1", "true"], (1,)),
        (["1", "x", "NA"], ("1", "NA", "x")),
        (["50%", "9%"], ("50%", "9%")),
        ([2.0, 1.0, float("nan"), None], (1, 2)),
        ([True, False], (False, True)),
        ([3, 2**60], (3, float(2**60))),
    ],
)
def test_labels_are_the_sorted_distinct_values(
    values: list[object], labels: tuple[object, ...]
) -> None:
    found = distinct_labels(pa.chunked_array([values]))
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_labels_that_the_user_names_keep_their_order() -> None:
    assert typed_labels(("b", "a")) == ("b", "a")
    assert typed_labels(("1", "0")) == (1, 0)


def test_targets_become_positions_of_labels() -> None:
    column = pa.chunked_array([["2", "1.0", "", "NA", "2"]])
    codes = encode_labels(column, "y", (1, 2))
    np.testing.assert_array_equal(codes, [1, 0, np.nan, np.nan, 1])


def test_target_that_is_no_label_is_named() -> None:
    column = pa.chunked_array([["a", "b", "c"]])
    with pytest.raises(
        TrainingDataRejected, match="'y' holds 'c'.* 'a', 'b'.*--labels"
    ):
        encode_labels(column, "y", ("a", "b"))


def test_every_beginning_of_the_order_is_spread_over_the_file() -> None:
    order = spread(10_000)
    assert sorted(order) == list(range(10_000))
    for size in (10, 100, 2500):
        quarters = np.bincount(order[:size] // 2500, minlength=4)
        assert abs(quarters / size - 0.25).max() < 0.1
    # Neither is every other row left out.
    assert abs(np.mean(order[:1000] % 2) - 0.5) < 0.1
