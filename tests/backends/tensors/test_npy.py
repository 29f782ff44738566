"""Files of arrays: what numpy reads in them, or refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from backends.features import DataError
from backends.tensors import npy

PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
ARRAYS = hnp.arrays(DTYPES, SHAPES)


def file_of(header: str, content: bytes = b"", version: int = 1) -> bytes:
    length = len(header.encode()).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + content


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        npy.read(data)
    assert len(str(caught.value)) < 200
    return str(caught.value)


def same(array: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether type, shape and every bit are the same, whatever the byte order."""
    one, two = (each.astype(each.dtype.newbyteorder("=")) for each in (array, other))
    return (one.dtype, one.shape, one.tobytes()) == (
        two.dtype,
        two.shape,
        two.tobytes(),
    )


@given(ARRAYS, st.sampled_from("CFK"), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
@pytest.mark.filterwarnings("ignore:Stored array in format:UserWarning")
def test_file_is_read_as_numpy_reads_it(
    array: NDArray[Any], order: Any, version: tuple[int, int]
) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, array.copy(order=order), version=version)
    data = file.getvalue()
    result = npy.read(data)
    assert same(result, np.load(io.BytesIO(data), allow_pickle=False))
    assert result.dtype.isnative
    assert result.flags.c_contiguous and result.flags.aligned and result.flags.owndata


@given(ARRAYS)
def test_written_array_is_read_back(array: NDArray[Any]) -> None:
    data = npy.write(array)
    assert same(npy.read(data), array)
    assert same(np.load(io.BytesIO(data), allow_pickle=False), array)


@pytest.mark.parametrize(
    "header",
    [
        PLAIN,
        PLAIN + "   \n",
        '{"descr": "<f4", "fortran_order": False, "shape": (2, 3)}',
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        "{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }",
    ],
)
def test_header_may_be_spelled_otherwise(header: str) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    data = file_of(header, array.tobytes())
    assert same(npy.read(data), array)
    assert same(np.load(io.BytesIO(data)), array)


def test_sizes_of_python_2_are_read() -> None:
    header = PLAIN.replace("(2, 3)", "(2L, 3L)")
    assert npy.read(file_of(header, bytes(24))).shape == (2, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.array([None]),
        np.array([1j]),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(1, "V3"),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(1, "m8[s]"),
        np.zeros(1, np.longdouble),
    ],
)
def test_other_types_are_refused(array: NDArray[Any]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    message = refusal(file.getvalue())
    assert "an .npy file of booleans, whole numbers or floats" in message


@pytest.mark.parametrize(
    "header",
    [
        *("", "{}", "{", "}", "()", "1", "{'descr'", "{" * 5000, "(" * 5000),
        *("-" * 9000, "[" * 9000, "'\\", "{[]: 1}", "{1L: 2, 'a': 3}", "1_000_"),
        PLAIN[1:],
        PLAIN.rstrip("}"),
        PLAIN + PLAIN,
        PLAIN.replace(", }", ", 'more': (1,)}"),
        PLAIN.replace("'shape'", "'size'"),
        PLAIN.replace("'<f4'", "[('a', '<f4')]"),
        PLAIN.replace("'<f4'", "True"),
        PLAIN.replace("'<f4'", "'<f4"),
        PLAIN.replace("False", "0"),
        PLAIN.replace("False", "'False'"),
        PLAIN.replace("(2, 3)", "6"),
        PLAIN.replace("(2, 3)", "[2, 3]"),
        PLAIN.replace("(2, 3)", "(-2, -3)"),
        PLAIN.replace("(2, 3)", "(2, 3.0)"),
        PLAIN.replace("(2, 3)", "(2 3)"),
        PLAIN.replace("(2, 3)", "(2,, 3)"),
        PLAIN.replace("(2, 3)", "(,)"),
        PLAIN.replace("(2, 3)", "(LL)"),
        PLAIN.replace("(2, 3)", "(²,)"),
        PLAIN.replace("(2, 3)", f"({'9' * 5000},)"),
    ],
)
def test_other_headers_are_refused(header: str) -> None:
    for version in (1, 2, 3):
        data = file_of(header, bytes(24), version)
        assert "is not understood" in refusal(data)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(3, 3)", "24 bytes of content, not the 36 that its header claims"),
        ("()", "24 bytes of content, not the 4 that"),
        ("(0, 3)", "24 bytes of content, not the 0 that"),
        ("(9000000000, 9000000)", "24 bytes of content, not the"),
        ("(1" + "0" * 30 + ",)", "more numbers than any array has"),
        ("(0, 9223372036854775808)", "more numbers than any array has"),
        ("(0, 4294967296, 4294967296)", "more numbers than any array has"),
        ("(" + "1," * 65 + ")", "more than 64 axes"),
        ("(" + "1," * 4900 + ")", "more than 64 axes"),
    ],
)
def test_claimed_sizes_are_checked(shape: str, message: str) -> None:
    data = file_of(PLAIN.replace("(2, 3)", shape), bytes(24))
    assert message in refusal(data)


def test_largest_number_of_axes_is_read() -> None:
    header = PLAIN.replace("(2, 3)", "(" + "1," * 64 + ")")
    assert npy.read(file_of(header, bytes(4))).shape == (1,) * 64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins otherwise"),
        (b"PK\x03\x04", "begins otherwise"),
        (b"\x80\x04.", "begins otherwise"),
        (b"\x93NUMPY", "not none"),
        (b"\x93NUMPY\x01", "not 1"),
        (b"\x93NUMPY\x04\x00" + bytes(9), "not 4.0"),
        (b"\x93NUMPY\x01\x00", "ends within its header"),
        (b"\x93NUMPY\x01\x00\x10", "ends within its header"),
        (b"\x93NUMPY\x01\x00\x10\x00{", "ends within its header"),
        (b"\x93NUMPY\x01\x00\xff\xff", "longer than 10,000 bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "longer than 10,000 bytes"),
    ],
)
def test_broken_files_are_refused(data: bytes, message: str) -> None:
    assert message in refusal(data)


def test_booleans_are_0_or_1() -> None:
    header = PLAIN.replace("<f4", "|b1")
    assert npy.read(file_of(header, b"\0\1\1\0\0\1")).tolist()[0] == [False, True, True]
    assert "neither 0 nor 1" in refusal(file_of(header, b"\0\1\2\0\0\1"))


@given(ARRAYS, st.data())
def test_changed_file_is_read_or_refused(array: NDArray[Any], draw: Any) -> None:
    data = bytearray(npy.write(array))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, min(len(data) - 1, 140)))
        length = draw.draw(st.integers(0, 3))
        data[at : at + length] = draw.draw(st.binary(max_size=4))
        if not data:
            break
    try:
        result = npy.read(bytes(data))
    except DataError:
        return
    assert result.nbytes <= len(data)
    # Numpy is stricter with (3) for (3,), and warns of 3L.
    with contextlib.suppress(ValueError, Warning):
        assert same(result, np.load(io.BytesIO(bytes(data)), allow_pickle=False))


ENTRY = ["'descr'", "'shape'", "'fortran_order'", ":", ",", "{", "}", "(", ")", " "]
WORDS = [*ENTRY, "'<f8'", "'|O'", "False", "True", "2", "0", "-1", "L", "9" * 25, "\n"]


@given(st.lists(st.sampled_from(WORDS)).map("".join), st.binary(max_size=32))
def test_any_header_is_read_or_refused(header: str, content: bytes) -> None:
    try:
        npy.read(file_of(header, content))
    except DataError as error:
        assert str(error)
