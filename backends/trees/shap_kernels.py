"""Compiled code for path-dependent Shapley values.

It is read by numba, as `kernels` is; `path_sets` says what elements of paths are.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.asking import Floats, Ints, Sets, floats, ints
from backends.trees.bits import LANES, ROWS, spread_5, spread_8, spread_16
from backends.trees.path_sets import (
    IMAGE,
    MATRIX,
    NONE,
    OUT,
    SLOTS,
    ask,
    has_row,
    let_path,
    longest_path,
    most_edges,
    put_out,
    read_goes,
)
from backends.trees.quadrature import (
    ABREAST,
    LOW,
    PATTERNS,
    add_all,
    add_low,
    go_along,
    go_back,
    go_down,
    go_up,
    multiply_out,
)
from backends.trees.tables import Section

# Paths of more elements have too many answers to compute them all.
MOST_TABLED = 10

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def shap_rows(
    image: Ints,
    matrix: Floats,
    points: Floats,
    weights: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """Path-dependent Shapley values of the trees' sums.

    An element lets a row through or not, and of the training rows its share. Where o
    is 1 or 0 accordingly and z is the share, an element's contribution is value times
    o - z times the integral over t from 0 to 1 of the product over the others of
    o * t + z * (1 - t). Gauss-Legendre quadrature with half as many points as there
    are elements is exact for it, and all factors are positive. A path of k elements
    has 2 ** k answers at most; here all are computed once for a block, and looked up.

    matrix: (n_rows, features). points, weights: see `quadrature.rules`. slot: of each
    feature that is asked for the place in out. out: (n_rows, sums, slots); leaves have
    one value each.
    """
    slots = out.shape[2]
    longest = longest_path(image)
    total = np.empty((out.shape[1] * slots, ROWS))
    let = np.zeros((max(longest, 16), LANES), np.uint64)
    pattern = np.zeros(ROWS, np.uint16)
    table = np.empty((max(MOST_TABLED, LOW), 1 << MOST_TABLED))
    factors = np.empty((3, max(MOST_TABLED, LOW)))
    base, scale = np.empty(PATTERNS), np.empty(1 << (MOST_TABLED - LOW))
    o, place = np.empty(longest), np.empty(longest, np.int32)
    room = _room(longest)
    parts = np.zeros((longest, ABREAST))
    own_places = np.arange(longest).astype(np.int32)
    tree_leaf = ints(image, Section.PATH_TREE)
    tree_sum = ints(image, Section.TREE_SUM)
    value = floats(image, Section.VALUE)
    for start in range(0, matrix.shape[0], ROWS):
        rows = min(ROWS, matrix.shape[0] - start)
        right = ask(image, matrix, start)
        total[:] = 0.0
        for tree in range(tree_leaf.size - 1):
            begin = tree_sum[tree] * slots
            for leaf in range(tree_leaf[tree], tree_leaf[tree + 1]):
                z = _shares(image, leaf)
                _place_path(image, leaf, slot, begin, place)
                let_path(image, leaf, right, let)
                if z.size <= MOST_TABLED:
                    _fill_table(
                        *(z, value[leaf], points, weights, factors, base, scale),
                        table,
                    )
                    _spread(let, z.size, pattern)
                    for j in range(z.size):
                        _look_up(total[place[j]], table[j], pattern, rows)
                    continue
                for i in range(rows):
                    _read_sets(let, i, o)
                    _add_path(
                        *(o, z, value[leaf], points, weights, room),
                        *(parts, own_places),
                    )
                    _put_parts(parts, place, z.size, i, total)
        put_out(total, start, out)


@_jit
def _shares(image: Ints, leaf: int) -> Floats:
    path = ints(image, Section.PATH_FIRST)
    return floats(image, Section.ELEMENT_SHARE)[path[leaf] : path[leaf + 1]]


@_jit
def _place_path(
    image: Ints, leaf: int, slot: Ints, begin: int, place: NDArray[np.int32]
) -> None:
    """Where the elements' contributions are added."""
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    for j in range(path[leaf + 1] - path[leaf]):
        place[j] = begin + slot[feature[path[leaf] + j]]


@_jit
def _read_sets(let: Sets, i: int, o: Floats) -> None:
    """o = 1.0 for each element that lets row i through."""
    for j in range(o.size):
        o[j] = np.float64(has_row(let, j, i))


@_jit
def _spread(let: Sets, count: int, pattern: NDArray[np.uint16]) -> None:
    """The number of each row whose bits say which elements let it through."""
    width = 5 if count <= 5 else 8 if count <= 8 else 16
    let[count:width] = NONE
    if width == 5:
        spread_5(let, pattern)
    elif width == 8:
        spread_8(let, pattern)
    else:
        spread_16(let, pattern)


@_jit
def _look_up(
    target: Floats, table: Floats, pattern: NDArray[np.uint16], rows: int
) -> None:
    for i in range(rows):
        target[i] += table[pattern[i]]


@_jit
def _fill_table(
    z: Floats,
    worth: float,
    points: Floats,
    weights: Floats,
    factors: Floats,
    base: Floats,
    scale: Floats,
    table: Floats,
) -> None:
    """table[j, pattern]: the contribution of element j to rows of a pattern.

    The first LOW elements are the places in a vector, `base`; the others multiply it.
    """
    size = max(1 << z.size, PATTERNS)
    opened, closed, high = factors[0], factors[1], factors[2]
    table[: max(z.size, LOW), :size] = 0.0
    last = (z.size - 1) >> 1
    for q in range(last + 1):
        t = points[last, q]
        # Elements that are not there have factors of 1, and are not looked up.
        opened[:], closed[:], high[:] = 1.0, 1.0, 0.0
        for j in range(z.size):
            closed[j] = z[j] * (1.0 - t)
            opened[j] = closed[j] + t
            # Without the element's own factor, and times o - z.
            high[j] = (1.0 - z[j]) / opened[j]
        low = -1.0 / (1.0 - t)
        multiply_out(base, worth * weights[last, q], opened, closed)
        scale[0] = 1.0
        for j in range(LOW, z.size):
            half = 1 << (j - LOW)
            for p in range(half):
                scale[half + p] = scale[p] * opened[j]
                scale[p] *= closed[j]
        for p in range(size >> LOW):
            add_low(table, table.shape[1], p << LOW, base, scale[p], high, low)
            for j in range(LOW, z.size):
                factor = high[j] if p >> (j - LOW) & 1 else low
                add_all(table, j * table.shape[1] + (p << LOW), base, scale[p] * factor)


@_jit
def _room(longest: int) -> Floats:
    """For the factors of a path's elements, the products of those before each, and of
    those behind."""
    return np.empty((2 * longest + 2, ABREAST))


@_jit
def _add_path(
    o: Floats,
    z: Floats,
    worth: float,
    points: Floats,
    weights: Floats,
    room: Floats,
    parts: Floats,
    place: Ints,
) -> None:
    """Add the contributions of a path's elements to one row, ABREAST points apart.

    place: of each element the row in parts: (places, ABREAST).
    """
    count = z.size
    factor, before, behind = room[:count], room[count : 2 * count + 1], room[-1:]
    last = (count - 1) >> 1
    for q in range(0, last + 1, ABREAST):
        for p in range(ABREAST):
            before[0, p] = worth * weights[last, q + p]
            behind[0, p] = 1.0
        first = last * points.shape[1] + q
        for j in range(count):
            go_along(points, first, o[j], z[j], factor, before, j)
        for j in range(count - 1, -1, -1):
            go_back(factor, before, j, behind, o[j] - z[j], parts, place[j])


@_jit
def _put_parts(parts: Floats, place: Ints, count: int, i: int, total: Floats) -> None:
    for j in range(count):
        total[place[j], i] += parts[j].sum()
        parts[j] = 0.0


@_jit
def shap_each(
    image: Ints,
    matrix: Floats,
    points: Floats,
    weights: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """The same for rows one by one, of up to ROWS.

    Down the tree go the products of the factors, up again what the leaves are worth;
    so the leaves below an edge share what is computed.
    """
    slots, longest = out.shape[2], longest_path(image)
    last = (longest - 1) >> 1
    trees, edges = ints(image, Section.EDGE_FIRST).size - 1, most_edges(image)
    # Of each edge; the first is the root's.
    product, inverse = np.empty((edges, ABREAST)), np.ones((edges, ABREAST))
    worth, o = np.empty((edges, ABREAST)), np.ones(edges)
    parts = np.empty((out.shape[1] * slots, ABREAST))
    tree_sum = ints(image, Section.TREE_SUM)
    right = ask(image, matrix, 0)
    goes = np.empty(right.shape[0], np.int32)
    for i in range(matrix.shape[0]):
        read_goes(right, i, goes)
        parts[:] = 0.0
        for q in range(0, last + 1, ABREAST):
            product[0] = weights[last, q : q + ABREAST]
            for tree in range(trees):
                _go_down_tree(
                    *(image, tree, goes, points, last * points.shape[1] + q),
                    *(product, inverse, worth, o),
                )
                _go_up_tree(
                    *(image, tree, worth, inverse, o, slot, tree_sum[tree] * slots),
                    parts,
                )
        for k in range(out.shape[1]):
            for s in range(slots):
                out[i, k, s] = parts[k * slots + s].sum()


@_jit
def _go_down_tree(
    image: Ints,
    tree: int,
    goes: Ints,
    points: Floats,
    first_point: int,
    product: Floats,
    inverse: Floats,
    worth: Floats,
    o: Floats,
) -> None:
    """From the root to the leaves: what each is worth with the factors on its path.

    goes: 1 of conditions at which the row goes right. o: becomes 1.0 of edges that let
    the row through, as all above do that ask the same feature.
    """
    first = ints(image, Section.EDGE_FIRST)[tree]
    count = ints(image, Section.EDGE_FIRST)[tree + 1] - first
    test = ints(image, Section.EDGE_TEST)[first : first + count]
    parent = ints(image, Section.EDGE_PARENT)[first : first + count]
    up = ints(image, Section.EDGE_UP)[first : first + count]
    leaf = ints(image, Section.EDGE_LEAF)[first : first + count]
    z = floats(image, Section.EDGE_SHARE)[first : first + count]
    value = floats(image, Section.VALUE)
    for e in range(count):
        o[e + 1] = o[up[e]] if goes[test[e] >> 1] == test[e] & 1 else 0.0
        go_down(
            *(points, first_point, o[e + 1], z[e], product, inverse),
            *(parent[e], up[e], e + 1),
        )
        below = 0.0 if leaf[e] < 0 else value[leaf[e]]
        for p in range(ABREAST):
            worth[e + 1, p] = product[e + 1, p] * below


@_jit
def _go_up_tree(
    image: Ints,
    tree: int,
    worth: Floats,
    inverse: Floats,
    o: Floats,
    slot: Ints,
    begin: int,
    parts: Floats,
) -> None:
    """From the leaves to the root: what the features add to the row.

    An edge's factor counts for the leaves below it in the place of the factor of the
    edge above that asks the same feature.
    """
    first = ints(image, Section.EDGE_FIRST)[tree]
    count = ints(image, Section.EDGE_FIRST)[tree + 1] - first
    parent = ints(image, Section.EDGE_PARENT)[first : first + count]
    up = ints(image, Section.EDGE_UP)[first : first + count]
    feature = ints(image, Section.EDGE_FEATURE)[first : first + count]
    z = floats(image, Section.EDGE_SHARE)[first : first + count]
    for e in range(count - 1, -1, -1):
        less = o[up[e]] - z[up[e] - 1] if up[e] else 0.0
        go_up(
            *(worth, e + 1, parent[e], inverse, o[e + 1] - z[e], up[e], less),
            *(parts, begin + slot[feature[e]]),
        )


_SIGNATURE = numba.void(IMAGE, MATRIX, MATRIX, MATRIX, SLOTS, OUT)
# What is compiled, and for which arguments; see `kernel_cache`.
KERNELS = ((shap_rows, _SIGNATURE), (shap_each, _SIGNATURE))
