"""Gauss-Legendre quadrature of the products that Shapley values are made of.

Its loops over points and patterns are written out for the compiler, as `bits` does it.
What is given as a place in an array is not checked here, but by the callers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from backends.trees.bits import DOUBLE, INT64, Code

# Elements whose patterns are the places in a vector, and how many patterns they have.
LOW = 5
PATTERNS = 1 << LOW
# Points that are gone through side by side.
ABREAST = 8
# Up to so many points, paths get the rule of just as many as they need.
_EACH = 16

_PATTERNS = ir.VectorType(DOUBLE, PATTERNS)
_POINTS = ir.VectorType(DOUBLE, ABREAST)
_FLAG = ir.IntType(1)
# Its square, too, is more than nothing, and it is lost beside any share of rows.
_NEARLY_NOTHING = 1e-150


@cache
def rules(longest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in 0 … 1 and weights for paths of up to so many elements.

    Returns float64 (rules, width) twice: in row n - 1 the rule with n points, which is
    exact for paths of 2 * n elements, or beyond _EACH the one with whole ABREAST; width
    is whole ABREAST, filled up with weight 0.
    """
    count = max((longest + 1) // 2, 1)
    width = _whole(count)
    points, weights = np.full((count, width), 0.5), np.zeros((count, width))
    for number in range(1, count + 1):
        chosen = number if number <= _EACH else _whole(number)
        x, w = _rule(chosen)
        points[number - 1, :chosen], weights[number - 1, :chosen] = (x + 1) / 2, w / 2
    return points, weights


def _whole(count: int) -> int:
    return -(-count // ABREAST) * ABREAST


# A rule of several hundred points takes a good part of a second.
@cache
def _rule(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, w = np.polynomial.legendre.leggauss(points)
    return x, w


def _choice(code: Code, element: int, high: Any, low: Any) -> Any:
    """In each pattern `high` where the element's bit is set, else `low`."""
    bits = [_FLAG(pattern >> element & 1) for pattern in range(PATTERNS)]
    mask = ir.Constant(ir.VectorType(_FLAG, PATTERNS), bits)
    return code.builder.select(mask, high, low)


@intrinsic
def multiply_out(_: Any, base: Any, amount: Any, opened: Any, closed: Any) -> Any:
    """base[p] = amount times opened[j] or closed[j], as bit j of p is, for all j < LOW.

    base: float64 (PATTERNS,). opened, closed: float64 (LOW,) at least.
    """
    signature = types.void(base, types.float64, opened, closed)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        product = code.fill(code.given[1], _PATTERNS)
        for element in range(LOW):
            factors = [
                code.fill(code.builder.load(code.item(array, element)), _PATTERNS)
                for array in (2, 3)
            ]
            product = code.builder.fmul(product, _choice(code, element, *factors))
        code.builder.store(product, code.place(0, INT64(0), 1, _PATTERNS), align=8)
        return code.result

    return signature, generate


@intrinsic
def add_low(
    _: Any,
    table: Any,
    stride: Any,
    place: Any,
    base: Any,
    scale: Any,
    high: Any,
    low: Any,
) -> Any:
    """table[j * stride + place + p] += base[p] * scale * (high[j] or low) for j < LOW.

    table: float64, taken for one long array. high: float64 (LOW,) at least.
    """
    signature = types.void(
        *(table, types.int64, types.int64, base, types.float64, high, types.float64)
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        product = build.load(code.place(3, INT64(0), 1, _PATTERNS), align=8)
        product = build.fmul(product, code.fill(code.given[4], _PATTERNS))
        otherwise = code.fill(code.given[6], _PATTERNS)
        for element in range(LOW):
            factor = code.fill(build.load(code.item(5, element)), _PATTERNS)
            first = build.add(build.mul(code.given[1], INT64(element)), code.given[2])
            pointer = code.place(0, first, 1, _PATTERNS)
            chosen = _choice(code, element, factor, otherwise)
            added = build.fmul(product, chosen)
            total = build.fadd(build.load(pointer, align=8), added)
            build.store(total, pointer, align=8)
        return code.result

    return signature, generate


@intrinsic
def add_all(_: Any, table: Any, place: Any, base: Any, amount: Any) -> Any:
    """table[place + p] += base[p] * amount."""
    signature = types.void(table, types.int64, base, types.float64)

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        product = build.load(code.place(2, INT64(0), 1, _PATTERNS), align=8)
        added = build.fmul(product, code.fill(code.given[3], _PATTERNS))
        pointer = code.place(0, code.given[1], 1, _PATTERNS)
        total = build.fadd(build.load(pointer, align=8), added)
        build.store(total, pointer, align=8)
        return code.result

    return signature, generate


@intrinsic
def go_along(
    _: Any, points: Any, first: Any, o: Any, z: Any, factor: Any, before: Any, j: Any
) -> Any:
    """Of ABREAST points from points[first] on: factor[j] = o * t + z * (1 - t), and
    before[j + 1] = before[j] * factor[j].

    points: float64, taken for one long array. factor, before: (elements, ABREAST).
    """
    signature = types.void(
        *(points, types.int64, types.float64, types.float64, factor, before),
        types.int64,
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        at = code.given[6]
        found = _factor(code)
        build.store(found, code.place(4, at, ABREAST, _POINTS), align=8)
        product = build.load(code.place(5, at, ABREAST, _POINTS), align=8)
        target = code.place(5, build.add(at, INT64(1)), ABREAST, _POINTS)
        build.store(build.fmul(product, found), target, align=8)
        return code.result

    return signature, generate


@intrinsic
def go_back(
    _: Any,
    factor: Any,
    before: Any,
    j: Any,
    behind: Any,
    amount: Any,
    total: Any,
    place: Any,
) -> Any:
    """total[place] += before[j] * behind * amount, then behind *= factor[j].

    factor, before, total: (items, ABREAST). behind: (1, ABREAST): the product of the
    factors after j.
    """
    signature = types.void(
        *(factor, before, types.int64, behind, types.float64, total, types.int64)
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        after = code.place(3, INT64(0), ABREAST, _POINTS)
        rest = build.load(after, align=8)
        product = build.load(code.place(1, code.given[2], ABREAST, _POINTS), align=8)
        target = code.place(5, code.given[6], ABREAST, _POINTS)
        amount_of_all = code.fill(code.given[4], _POINTS)
        added = build.fmul(build.fmul(product, rest), amount_of_all)
        build.store(build.fadd(build.load(target, align=8), added), target, align=8)
        own = build.load(code.place(0, code.given[2], ABREAST, _POINTS), align=8)
        build.store(build.fmul(rest, own), after, align=8)
        return code.result

    return signature, generate


@intrinsic
def go_down(
    _: Any,
    points: Any,
    first: Any,
    o: Any,
    z: Any,
    product: Any,
    inverse: Any,
    parent: Any,
    up: Any,
    edge: Any,
) -> Any:
    """Of ABREAST points from points[first] on: the product of the factors down to an
    edge, with its own, o * t + z * (1 - t), in the place of that of the edge `up`.

    product, inverse: (edges, ABREAST): the products, and one over each factor.
    """
    signature = types.void(
        *(points, types.int64, types.float64, types.float64, product, inverse),
        *(types.int64, types.int64, types.int64),
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        parent, up, edge = code.given[6:9]
        # Where no training row went, and this one neither, is nothing to divide by.
        found = build.fadd(_factor(code), code.fill(DOUBLE(_NEARLY_NOTHING), _POINTS))
        own = build.fdiv(code.fill(DOUBLE(1.0), _POINTS), found)
        build.store(own, code.place(5, edge, ABREAST, _POINTS), align=8)
        above = build.load(code.place(4, parent, ABREAST, _POINTS), align=8)
        replaced = build.load(code.place(5, up, ABREAST, _POINTS), align=8)
        product = build.fmul(build.fmul(above, replaced), found)
        build.store(product, code.place(4, edge, ABREAST, _POINTS), align=8)
        return code.result

    return signature, generate


@intrinsic
def go_up(
    _: Any,
    worth: Any,
    edge: Any,
    parent: Any,
    inverse: Any,
    amount: Any,
    up: Any,
    less: Any,
    total: Any,
    place: Any,
) -> Any:
    """Add what the leaves below an edge are worth to the edge above, and to
    total[place] without the edge's own factor: times amount; and without that of the
    edge `up`, times -less.

    worth, inverse, total: (items, ABREAST).
    """
    signature = types.void(
        *(worth, types.int64, types.int64, inverse, types.float64, types.int64),
        *(types.float64, total, types.int64),
    )

    def generate(*arguments: Any) -> Any:
        code = Code(*arguments)
        build = code.builder
        edge, parent = code.given[1], code.given[2]
        below = build.load(code.place(0, edge, ABREAST, _POINTS), align=8)
        own, other = (
            build.load(code.place(3, at, ABREAST, _POINTS), align=8)
            for at in (edge, code.given[5])
        )
        amount, less = (code.fill(code.given[at], _POINTS) for at in (4, 6))
        share = build.fsub(build.fmul(own, amount), build.fmul(other, less))
        for array, at, added in (
            (0, parent, below),
            (7, code.given[8], build.fmul(below, share)),
        ):
            target = code.place(array, at, ABREAST, _POINTS)
            whole = build.fadd(build.load(target, align=8), added)
            build.store(whole, target, align=8)
        return code.result

    return signature, generate


def _factor(code: Code) -> Any:
    """o * t + z * (1 - t), of points from given[1] on, given[2] and given[3]."""
    build = code.builder
    t = build.load(code.place(0, code.given[1], 1, _POINTS), align=8)
    opened = build.fmul(code.fill(code.given[2], _POINTS), t)
    rest = build.fsub(code.fill(DOUBLE(1.0), _POINTS), t)
    return build.fadd(opened, build.fmul(code.fill(code.given[3], _POINTS), rest))
