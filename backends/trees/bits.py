"""Operations on the rows of a block as bits of words, written out for the compiler.

A block has ROWS rows; a set of them is LANES words of 64 bits, a row of an array
(sets, LANES) of uint64. LLVM's own vector types make of each operation the widest
instructions that the processor has; its loop vectoriser would first check at run time,
each time, whether the arrays overlap.

What is given as a place in an array is not checked here: the callers in `kernels` do
so, see `_within` there.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
ROWS = 64 * LANES

_INT16 = ir.IntType(16)
_INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
DOUBLE = ir.DoubleType()
_FLOAT = ir.FloatType()
_SET = ir.VectorType(INT64, LANES)
_BITS = ir.VectorType(ir.IntType(1), 64)


class Code:
    """A builder of code, with the arguments of an intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, given: Any) -> None:
        self.builder = builder
        self.given = given
        self.result = context.get_dummy_value()
        self._pointers = {
            number: context.make_array(kind)(context, builder, value).data
            for number, (kind, value) in enumerate(
                zip(signature.args, given, strict=True)
            )
            if isinstance(kind, types.Array)
        }

    def place(self, array: int, item: Any, width: int, kind: Any = _SET) -> Any:
        """A pointer to a vector: item number `item` of items of a width."""
        first = self.builder.mul(item, INT64(width))
        pointer = self.builder.gep(self._pointers[array], [first])
        return self.builder.bitcast(pointer, kind.as_pointer())

    def load(self, array: int, item: Any) -> Any:
        return self.builder.load(self.place(array, item, LANES), align=8)

    def store(self, value: Any, array: int, item: Any) -> None:
        self.builder.store(value, self.place(array, item, LANES), align=8)

    def word(self, array: int, item: Any, lane: int) -> Any:
        """A pointer to one word of a set."""
        first = self.builder.mul(item, INT64(LANES))
        return self.place(array, self.builder.add(first, INT64(lane)), 1, INT64)

    def fill(self, value: Any, kind: Any) -> Any:
        """A vector that holds one value everywhere."""
        nothing = ir.Constant(kind, ir.Undefined)
        return self.builder.shuffle_vector(
            self.builder.insert_element(nothing, value, _INT32(0)),
            nothing,
            ir.Constant(ir.VectorType(_INT32, kind.count), [0] * kind.count),
        )

    def whole(self, array: int, number: int) -> Any:
        """A word by its number in the array."""
        return self.place(array, INT64(number), 1, INT64)

    def item(self, array: int, number: int) -> Any:
        """A pointer to a float64 by its number in the array."""
        return self.place(array, INT64(number), 1, DOUBLE)


@intrinsic
def above(
    _: Any, x: Any, column: Any, threshold: Any, away: Any, right: Any, k: Any
) -> Any:
    """right[k] = the rows with x[column] > threshold, and those in away[column].

    x: float64 or float32 (columns, ROWS), as is the threshold. away, right: sets.
    """
    signature = types.void(x, types.int64, x.dtype, away, right, types.int64)
    number = DOUBLE if x.dtype == types.float64 else _FLOAT

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        row = ir.VectorType(number, 64)
        limit = code.fill(code.given[2], row)
        found = code.load(3, code.given[1])
        words = ir.Constant(_SET, [0] * LANES)
        for lane in range(LANES):
            part = build.add(build.mul(code.given[1], INT64(LANES)), INT64(lane))
            values = build.load(code.place(0, part, 64, row), align=4)
            bits = build.bitcast(build.fcmp_ordered(">", values, limit), INT64)
            words = build.insert_element(words, bits, _INT32(lane))
        code.store(build.or_(words, found), 4, code.given[5])
        return code.result

    return signature, generate


@intrinsic
def part(_: Any, right: Any, condition: Any, reach: Any, slot: Any, child: Any) -> Any:
    """Part the rows of a slot between two: reach[child] and, going right, the next."""
    signature = types.void(right, types.int64, reach, types.int64, types.int64)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        rows = code.load(2, code.given[3])
        goes_right = build.and_(rows, code.load(0, code.given[1]))
        code.store(build.xor(rows, goes_right), 2, code.given[4])
        code.store(goes_right, 2, build.add(code.given[4], INT64(1)))
        return code.result

    return signature, generate


@intrinsic
def join(_: Any, sets: Any, item: Any, target: Any, place: Any) -> Any:
    """target[place] |= sets[item]."""
    signature = types.void(sets, types.int64, target, types.int64)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        joined = code.builder.or_(
            code.load(0, code.given[1]), code.load(2, code.given[3])
        )
        code.store(joined, 2, code.given[3])
        return code.result

    return signature, generate


@intrinsic
def meet(_: Any, sets: Any, item: Any, flip: Any, target: Any, place: Any) -> Any:
    """target[place] &= sets[item] ^ flip, flip being uint64: no bits, or all."""
    signature = types.void(sets, types.int64, types.uint64, target, types.int64)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        flips = code.fill(code.given[2], _SET)
        found = build.xor(code.load(0, code.given[1]), flips)
        code.store(build.and_(code.load(3, code.given[4]), found), 3, code.given[4])
        return code.result

    return signature, generate


@intrinsic
def add_two(
    _: Any,
    total: Any,
    column: Any,
    first: Any,
    one: Any,
    amount: Any,
    second: Any,
    other: Any,
    more: Any,
) -> Any:
    """total[column] += amount for rows in first[one], more for those in second[other].

    total: float64 (columns, ROWS). first, second: sets without common rows.
    """
    signature = types.void(
        *(total, types.int64, first, types.int64, types.float64),
        *(second, types.int64, types.float64),
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        values = ir.VectorType(DOUBLE, 64)
        amounts = [code.fill(code.given[at], values) for at in (4, 7)]
        for lane in range(LANES):
            words = [
                build.load(code.word(array, code.given[array + 1], lane))
                for array in (2, 5)
            ]
            either = build.or_(*words)
            with build.if_then(build.icmp_unsigned("!=", either, INT64(0))):
                part = build.add(build.mul(code.given[1], INT64(LANES)), INT64(lane))
                pointer = code.place(0, part, 64, values)
                found = build.load(pointer, align=8)
                for word, added in zip(words, amounts, strict=True):
                    rows = build.bitcast(word, _BITS)
                    found = build.select(rows, build.fadd(found, added), found)
                build.store(found, pointer, align=8)
        return code.result

    return signature, generate


@intrinsic
def collect(_: Any, reach: Any, slots: Any, first: Any, planes: Any) -> Any:
    """Add eight leaves to the bit planes of their numbers.

    slots[first : first + 8]: of leaves whose numbers end with 0 … 7 in binary.
    planes[0 … 2] gain the rows of leaves with that bit in their number; the last of
    planes becomes the rows of all eight.
    """
    signature = types.void(reach, slots, types.int64, planes)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        leaf = []
        for number in range(8):
            at = build.add(code.given[2], INT64(number))
            slot = build.load(code.place(1, at, 1, _INT32))
            leaf.append(code.load(0, build.zext(slot, INT64)))
        low, high = build.or_(leaf[2], leaf[3]), build.or_(leaf[6], leaf[7])
        planes_of_three = (
            build.or_(build.or_(leaf[1], leaf[3]), build.or_(leaf[5], leaf[7])),
            build.or_(low, high),
            build.or_(build.or_(leaf[4], leaf[5]), high),
        )
        for bit, rows in enumerate(planes_of_three):
            old = code.load(3, INT64(bit))
            code.store(build.or_(old, rows), 3, INT64(bit))
        rest = build.or_(build.or_(leaf[0], leaf[1]), low)
        code.store(build.or_(rest, planes_of_three[2]), 3, INT64(PLANES))
        return code.result

    return signature, generate


# Bits of a leaf's number in its tree.
PLANES = 16


def _spread(count: int) -> Any:
    """An intrinsic: leaf[i] = the number whose bits row i has in the first planes."""

    @intrinsic
    def spread(_: Any, planes: Any, leaf: Any) -> Any:
        signature = types.void(planes, leaf)

        def generate(*arguments: Any) -> Any:
            code = Code(*arguments)
            build = code.builder
            numbers = ir.VectorType(_INT16, 64)
            for lane in range(LANES):
                total = ir.Constant(numbers, [0] * 64)
                for bit in range(count):
                    word = build.load(code.whole(0, bit * LANES + lane))
                    value = ir.Constant(numbers, [1 << bit] * 64)
                    none = ir.Constant(numbers, [0] * 64)
                    rows = build.bitcast(word, _BITS)
                    total = build.or_(total, build.select(rows, value, none))
                build.store(total, code.place(1, INT64(lane), 64, numbers), align=2)
            return code.result

        return signature, generate

    return spread


spread_5 = _spread(5)
spread_8 = _spread(8)
spread_16 = _spread(PLANES)


@intrinsic
def lowest_bit(_: Any, word: Any) -> Any:
    """Position of the lowest set bit; the word must not be 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return word(word), generate
