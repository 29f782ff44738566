"""Values as clients send them: the array that was meant, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from backends.features import DataError
from backends.tensors import npy
from backends.tensors.numbers import read_array
from backends.tensors.refusals import DataUrlInvalid, TypeMismatch
from backends.tensors.sent import Upload, write_data_url
from backends.tensors.tensor import DTYPES

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")
NUMBERS = (*WHOLE, *FLOATS)
ALL = ("bool", *NUMBERS)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=4)


def test_every_type_of_numbers_is_tried() -> None:
    assert {*ALL, "string"} == {*DTYPES.values()}


@st.composite
def finite_arrays(draw: st.DrawFn) -> NDArray[Any]:
    dtype = draw(st.sampled_from(ALL))
    elements = {"allow_nan": False, "allow_infinity": False}
    return draw(
        hnp.arrays(dtype, SHAPES, elements=elements if dtype in FLOATS else None)
    )


def forms(array: NDArray[Any]) -> list[object]:
    """Every form in which a client may send an array."""
    nested, flat = array.tolist(), array.ravel().tolist()
    with_shape = {"shape": list(array.shape), "data": flat}
    file = npy.write(array)
    values: list[object] = [
        *(nested, with_shape, Upload(file), orjson.dumps(with_shape).decode()),
        *(write_data_url(each, file) for each in (npy.NPY, "application/octet-stream")),
    ]
    return [*values, orjson.dumps(nested).decode()] if array.ndim else values


def refusal(value: object, shape: tuple[int | None, ...], dtype: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read_array(value, shape, dtype)
    text = str(caught.value)
    assert len(text) < 300
    assert text[0].islower() or text[0] in "'0"
    return caught.value


def same(array: NDArray[Any], other: NDArray[Any]) -> bool:
    # Bytes tell -0 from 0, and NaN is itself.
    return (array.dtype, array.shape, array.tobytes()) == (
        other.dtype,
        other.shape,
        other.tobytes(),
    )


@given(finite_arrays(), st.data())
def test_every_form_gives_the_same_array(array: NDArray[Any], draw: Any) -> None:
    opened = [draw.draw(st.sampled_from((size, None))) for size in array.shape]
    shape = array.shape if array.shape == (1,) else tuple(opened)
    for value in forms(array):
        assert same(read_array(value, shape, array.dtype.name), array)
        result = read_array(value, array.shape, array.dtype.name)
        assert same(result, array)
        assert result.flags.c_contiguous


@given(finite_arrays())
def test_single_number_fits_both_its_shapes(array: NDArray[Any]) -> None:
    number = array.ravel()[:1]
    for sent in (number, number.reshape(())):
        for value in forms(sent):
            for shape in ((), (1,)):
                result = read_array(value, shape, number.dtype.name)
                assert same(result, number.reshape(shape))


@given(finite_arrays())
def test_text_of_a_number_is_read(array: NDArray[Any]) -> None:
    number = array.ravel()[0].item()
    for text in (str(number), f" {number} \n"):
        assert same(
            read_array(text, (), array.dtype.name), np.array(number, array.dtype)
        )


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_of_64_bits_are_exact(number: int) -> None:
    for value in (number, [number], str(number), {"shape": [1], "data": [number]}):
        assert read_array(value, (1,), "int64").tolist() == [number]


@given(st.integers(-(2**70), 2**70), st.sampled_from(WHOLE))
def test_whole_numbers_are_in_range_or_refused(number: int, dtype: str) -> None:
    limits = np.iinfo(dtype)
    for value in (number, str(number), [number]):
        if limits.min <= number <= limits.max:
            assert read_array(value, (), dtype).item() == number
        else:
            assert "a whole number" in str(refusal(value, (), dtype))


@given(st.floats(), st.sampled_from(WHOLE))
def test_floats_are_whole_numbers_or_refused(number: float, dtype: str) -> None:
    limits = np.iinfo(dtype)
    fits = (
        np.isfinite(number)
        and number.is_integer()
        and abs(number) <= 2**53
        and limits.min <= number <= limits.max
    )
    for value in (number, [number], Upload(npy.write(np.array(number)))):
        if fits:
            assert read_array(value, (), dtype).item() == int(number)
        else:
            assert type(refusal(value, (), dtype)) is DataError


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(FLOATS))
def test_floats_are_rounded_or_refused(number: float, dtype: str) -> None:
    with np.errstate(over="ignore"):
        expected = np.array([number]).astype(dtype)
    for value in (number, [number], Upload(npy.write(np.array([number])))):
        if np.isfinite(expected).all():
            assert same(read_array(value, (1,), dtype), expected)
        else:
            assert f"a number that {dtype} has" in str(refusal(value, (1,), dtype))


def test_files_may_have_nan_and_infinity() -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1.0])
    for dtype in FLOATS:
        result = read_array(Upload(npy.write(array)), (4,), dtype)
        assert same(result, array.astype(dtype))
    for dtype in (*WHOLE, "bool"):
        assert "at [0]" in str(refusal(Upload(npy.write(array)), (4,), dtype))


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e999", "[1e999]"])
def test_texts_have_no_infinity(text: str) -> None:
    for dtype in ALL:
        refusal(text, (), dtype)


@pytest.mark.parametrize("text", ["", " ", "NA", "nan", "null", "?", "a", "1_0", "١"])
def test_texts_without_a_number_are_refused(text: str) -> None:
    error = refusal(text, (1,), "float32")
    assert type(error) is TypeMismatch
    assert str(error) == f"a number is expected, not {text!r}"


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.4", 0.4), ("40%", 40), (".5", 0.5), ("+1E2", 100), ("true", 1), ("False", 0)],
)
def test_texts_are_numbers_as_in_columns(text: str, number: float) -> None:
    assert read_array(text, (), "float64").item() == number


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "1", [True], [1]])
def test_booleans_are_words_or_1_and_0(value: object) -> None:
    assert read_array(value, (1,), "bool").tolist() == [True]


@pytest.mark.parametrize("value", [2, -1, 0.5, "2", [0.5], [255]])
def test_other_numbers_are_no_booleans(value: object) -> None:
    assert "true or false, or 1 or 0, is" in str(refusal(value, (1,), "bool"))


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        (None, (1,), "a number is expected, not null"),
        (None, (2, 3), "an array of the shape (2, 3) is expected, not null"),
        (True, (), "a number is expected, not true"),
        ([True], (1,), "at [0]: a number is expected, not true"),
        (["1"], (1,), "at [0]: a number is expected, not '1'"),
        ([None], (1,), "at [0]: a number is expected, not null"),
        ([1, [2]], (2,), "at [1]: a number is expected, not a list"),
        ([[1], 2], (2, 1), "at [1]: a list is expected, not 2"),
        ([[1, 2], [3, "a"]], (2, 2), "at [1][1]: a number is expected, not 'a'"),
        ([[1, {}]], (1, 2), "at [0][1]: a number is expected, not an object"),
        (1, (2,), "an array of the shape (2,) is expected, not a single number"),
        (1, (None,), "an array of the shape (any,) is expected, not a single number"),
        ("1", (2,), "an array of the shape (2,) is expected, not '1'"),
        (b"1", (1,), "a number is expected, not b'1'"),
        ({}, (1,), "a number is expected, of which an object has the keys"),
        ({"shape": [1], "data": [1], "more": 1}, (1,), "a number is expected, of"),
        ({"shape": 1, "data": [1]}, (1,), "'shape': a list of whole numbers is"),
        ({"shape": [1.0], "data": [1]}, (1,), "'shape': a list of whole numbers is"),
        ({"shape": [True], "data": [1]}, (1,), "'shape': a list of whole numbers is"),
        ({"shape": [1], "data": 1}, (1,), "'data': a list is expected, not 1"),
        ({"shape": [1, 2], "data": [1, "a"]}, (1, 2), "at [0][1]: a number is"),
        ({"shape": [1, 1], "data": [[1]]}, (1, 1), "at [0][0]: a number is expected"),
        ('["1"]', (1,), "at [0]: a number is expected, not '1'"),
    ],
)
def test_other_types_of_json_are_refused(
    value: object, shape: tuple[int | None, ...], message: str
) -> None:
    error = refusal(value, shape, "float32")
    assert type(error) is TypeMismatch
    assert str(error).startswith(message)


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        ([[1, 2]] * 3, (2, 3), "an array of the shape (2, 3) is expected, not (3, 2)"),
        ([[1]], (1,), "a number is expected, not an array of the shape (1, 1)"),
        ([1, 2], (1,), "a number is expected, not an array of the shape (2,)"),
        ([], (), "a number is expected, not an array of the shape (0,)"),
        ([], (None,), "an array of the shape (any,) is expected, not (0,)"),
        ([[], []], (2, None), "an array of the shape (2, any) is expected, not (2, 0)"),
        ([[1, 2], [3]], (2, 2), "at [1]: a list of the length 2, like those before it"),
        ([[[1], []]], (1, 2, 1), "at [0][1]: a list of the length 1"),
        ({"shape": [2], "data": [1]}, (2,), "'data': as many numbers as the shape has"),
        ({"shape": [1], "data": []}, (1,), "'data': as many numbers as the shape has"),
        ({"shape": [-1], "data": [1]}, (None,), "an array of the shape (any,) is"),
        ({"shape": [0], "data": []}, (None,), "an array of the shape (any,) is"),
        ({"shape": [2**64, 9], "data": [1]}, (None, 9), "'data': as many numbers"),
        ({"shape": [1] * 9999, "data": [1]}, (2,), "an array of the shape (2,) is"),
        ("[1, 2", (2,), "the text is not JSON: "),
        (
            '{"shape": [2], "data": [1, 2], "data": [3, 4]}',
            (2,),
            "the text has the key 'data' twice in one object",
        ),
        ("{'shape': 1}", (2,), "the text is not JSON: "),
        ("[NaN]", (1,), "the text is not JSON: "),
        ("[\ud800]", (1,), "the text is not JSON: "),
        ("[" * 5000, (1,), "the text is not JSON: "),
        ("[" * 900 + "]" * 900, (1,), "a number is expected, not an array of"),
        ([10**400], (1,), "a number is larger than any float"),
        ([0, float("nan")], (2,), "at [1]: a finite number is expected, not nan"),
        ([[0], [1e39]], (2, 1), "at [1][0]: a number that float32 has is expected"),
    ],
)
def test_other_shapes_and_numbers_are_refused(
    value: object, shape: tuple[int | None, ...], message: str
) -> None:
    error = refusal(value, shape, "float32")
    assert type(error) is DataError
    assert str(error).startswith(message)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,QUJD", f"a data URL of {npy.NPY} is expected, not of"),
        ("data:,1", "is expected, not of 'text/plain'"),
        (f"data:{npy.NPY};base64,Q", "the base64 of the data URL is cut off"),
        (f"data:{npy.NPY};base64", "no comma"),
    ],
)
def test_other_data_urls_are_refused(url: str, message: str) -> None:
    error = refusal(url, (1,), "float32")
    assert type(error) is DataUrlInvalid
    assert message in str(error)


def test_broken_files_of_arrays_are_refused() -> None:
    file = npy.write(np.zeros(3, np.float32))
    assert type(refusal(Upload(file[:-1]), (3,), "float32")) is DataError
    assert type(refusal(Upload(b""), (3,), "float32")) is DataError
    assert type(refusal(write_data_url(npy.NPY, b"a"), (3,), "float32")) is DataError
    assert "not (3,)" in str(refusal(Upload(file), (4,), "float32"))


def test_files_of_booleans_are_no_numbers() -> None:
    file = Upload(npy.write(np.array([True, False])))
    assert read_array(file, (2,), "bool").tolist() == [True, False]
    for dtype in NUMBERS:
        assert type(refusal(file, (2,), dtype)) is TypeMismatch


@given(finite_arrays(), st.sampled_from(NUMBERS))
def test_files_of_another_type_keep_their_numbers(
    array: NDArray[Any], dtype: str
) -> None:
    assume(array.dtype != bool)
    try:
        result = read_array(Upload(npy.write(array)), array.shape, dtype)
    except DataError:
        return
    if dtype in WHOLE:
        assert result.tolist() == array.tolist()
    else:
        assert same(result, array.astype(dtype))


def test_mixed_whole_numbers_and_floats_are_read() -> None:
    assert read_array([1, 2.0], (2,), "int64").tolist() == [1, 2]
    assert read_array([1, 2.5], (2,), "float32").tolist() == [1, 2.5]
    # As a float it may have been another number before.
    assert "at [1]" in str(refusal([1, 2.0**60], (2,), "int64"))


LEAVES = (
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    *(st.sampled_from(["1", "data:,a", "[1]", '{"shape":[2],"data":[1,2]}']),),
)
VALUES = st.recursive(
    st.one_of(LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["shape", "data", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
NESTED = st.recursive(
    st.integers(-2, 300) | st.floats(width=16) | st.booleans(),
    lambda inner: st.lists(inner, min_size=1, max_size=2),
    max_leaves=6,
)
FLAT = st.fixed_dictionaries(
    {
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "data": st.lists(st.integers(0, 2) | st.floats(), max_size=6),
    }
)
EXPECTED = st.lists(st.none() | st.integers(1, 3), max_size=3).map(tuple)


@given(VALUES | NESTED | FLAT, EXPECTED, st.sampled_from(ALL))
def test_any_value_is_read_or_refused(
    value: object, shape: tuple[int | None, ...], dtype: str
) -> None:
    try:
        result = read_array(value, shape, dtype)
    except DataError as error:
        assert len(str(error)) < 300
        return
    assert result.dtype == dtype
    assert len(result.shape) == len(shape)
    for size, expected in zip(result.shape, shape, strict=True):
        assert size == expected or (expected is None and size)
    # Nothing but an .npy file has any other.
    assert np.isfinite(result).all()


@given(NESTED, EXPECTED)
def test_lists_are_read_as_numpy_reads_them(
    value: object, shape: tuple[int | None, ...]
) -> None:
    try:
        result = read_array(value, shape, "float64")
    except DataError:
        return
    expected = np.array(value, np.float64)
    assert result.tolist() == expected.reshape(result.shape).tolist()
    assert expected.shape == result.shape or expected.size == 1


@given(finite_arrays(), st.data())
def test_changed_files_are_read_or_refused(array: NDArray[Any], draw: Any) -> None:
    data = bytearray(npy.write(array))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=2))
    dtype = draw.draw(st.sampled_from(ALL))
    for value in (Upload(bytes(data)), write_data_url(npy.NPY, bytes(data))):
        try:
            result = read_array(value, array.shape, dtype)
        except DataError:
            continue
        assert (result.shape, result.dtype) == (array.shape, dtype)


@pytest.mark.parametrize(
    "value", [[2**53 + 1, 1.0], [1.0, 2**62 + 1], "[9007199254740993, 1.0]"]
)
def test_whole_numbers_beside_others_keep_their_ends(value):
    expected = orjson.loads(value) if isinstance(value, str) else value
    found = read_array(value, (2,), "int64")
    assert found.tolist() == list(map(int, expected))


@pytest.mark.parametrize("value", [2.0**53, [2.0**53, 1], [1, 0.5], [2**63, 1.0]])
def test_floats_that_may_have_been_others_are_refused(value):
    with pytest.raises(DataError, match="a whole number"):
        read_array(value, (2,) if isinstance(value, list) else (1,), "int64")
