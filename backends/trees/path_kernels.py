"""Compiled code that explains rows by the paths of an ensemble.

It is read by numba, as `kernels` is; `tables.Section` says what lies in each table.
A path's elements are its features; an element lets a row through if all that the path
asks of the feature is answered as the path goes. Rows go through in blocks of ROWS, a
set of rows being some words of bits, see `bits`.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from backends.trees.asking import Floats, Ints, Sets, ask_rows, floats, ints, within
from backends.trees.bits import (
    LANES,
    ROWS,
    add_two,
    lowest_bit,
    meet,
    spread_5,
    spread_8,
    spread_16,
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
from backends.trees.tables import Number, Section

# Paths of more elements have too many answers to compute them all.
MOST_TABLED = 10

_ALL_ROWS = np.uint64(2**64 - 1)
_NONE = np.uint64(0)
_ONE = np.uint64(1)

_jit = numba.njit(nogil=True, error_model="numpy")


@_jit
def _ask(image: Ints, matrix: Floats, start: int) -> Sets:
    """Which rows of a block go right at each condition: (conditions, LANES)."""
    columns = ints(image, Section.COLUMN_FEATURE).size
    categories = ints(image, Section.CATEGORY_FEATURE).size
    thresholds = floats(image, Section.THRESHOLD).size
    sets = ints(image, Section.SET_RIGHT).size
    single = ints(image, Section.NUMBERS)[Number.SINGLE]
    right = np.empty((thresholds + sets, LANES), np.uint64)
    ask_rows(
        image,
        matrix,
        start,
        min(ROWS, matrix.shape[0] - start),
        np.empty((columns, ROWS)),
        np.empty((columns if single else 0, ROWS), np.float32),
        np.empty((columns, LANES), np.uint64),
        np.empty((categories, ROWS), np.int32),
        np.zeros((ints(image, Section.CATEGORY_FIRST)[-1], LANES), np.uint64),
        right,
    )
    return right


@_jit
def _let(image: Ints, right: Sets, element: int, let: Sets, place: int) -> None:
    """let[place] = the rows that an element lets through."""
    first = ints(image, Section.ELEMENT_TEST)
    test = ints(image, Section.PATH_TEST)
    for lane in range(LANES):
        let[place, lane] = _ALL_ROWS
    for at in range(first[element], first[element + 1]):
        within(right, test[at] >> 1)
        meet(right, test[at] >> 1, _NONE if test[at] & 1 else _ALL_ROWS, let, place)


@_jit
def _longest(image: Ints) -> int:
    """Elements of the longest path."""
    first = ints(image, Section.PATH_FIRST)
    longest = 0
    for leaf in range(first.size - 1):
        longest = max(longest, first[leaf + 1] - first[leaf])
    return longest


# ---- XEMP


@_jit
def weigh_exemplars(
    image: Ints, matrix: Floats, weights: Floats, share: Floats
) -> None:
    """How much of the exemplars' weight each element lets through.

    matrix: (exemplars, features), at most ROWS of them. weights: of each its weight.
    share: (elements,).
    """
    right = _ask(image, matrix, 0)
    feature = ints(image, Section.ELEMENT_FEATURE)
    let = np.empty((1, LANES), np.uint64)
    for element in range(feature.size):
        _let(image, right, element, let, 0)
        share[element] = 0.0
        for i in range(matrix.shape[0]):
            if let[0, i >> 6] >> np.uint64(i & 63) & _ONE:
                share[element] += weights[i, feature[element]]


@_jit
def xemp_rows(
    image: Ints, matrix: Floats, share: Floats, slot: Ints, out: Floats
) -> None:
    """What each feature's value, instead of its exemplars, adds to the trees' sums.

    A leaf counts for a feature where no other refuses it: with its value if the row
    goes there, less the part of the exemplars that would.

    matrix: (n_rows, features). share: as `weigh_exemplars` found it. slot: of each
    feature the place in out, or -1. out: (n_rows, sums, slots).
    """
    sums, slots = out.shape[1], out.shape[2]
    longest = _longest(image)
    total = np.empty((sums * slots, ROWS))
    let = np.empty((longest + 1, LANES), np.uint64)
    before = np.empty((longest + 1, LANES), np.uint64)
    once = np.empty((1, LANES), np.uint64)
    tree_leaf = ints(image, Section.PATH_TREE)
    for start in range(0, matrix.shape[0], ROWS):
        right = _ask(image, matrix, start)
        total[:] = 0.0
        for tree in range(tree_leaf.size - 1):
            for leaf in range(tree_leaf[tree], tree_leaf[tree + 1]):
                _add_xemp(
                    image, tree, leaf, right, share, slot, let, before, once, total
                )
        _put_out(total, start, out)


@_jit
def _add_xemp(
    image: Ints,
    tree: int,
    leaf: int,
    right: Sets,
    share: Floats,
    slot: Ints,
    let: Sets,
    before: Sets,
    once: Sets,
    total: Floats,
) -> None:
    """Add what one leaf counts for the features on its path.

    let, before, once: room for sets: of each element, of all before it, and of the
    rows that it alone refuses.
    """
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    slots = total.shape[0] // ints(image, Section.NUMBERS)[Number.SUMS]
    first, count = path[leaf], path[leaf + 1] - path[leaf]
    before[0] = _ALL_ROWS
    for j in range(count):
        _let(image, right, first + j, let, j)
        for lane in range(LANES):
            before[j + 1, lane] = before[j, lane] & let[j, lane]
    # From here on the last of `let` is what all elements behind let through.
    let[count] = _ALL_ROWS
    for j in range(count - 1, -1, -1):
        for lane in range(LANES):
            once[0, lane] = before[j, lane] & let[j + 1, lane] & ~let[j, lane]
            let[j, lane] &= let[j + 1, lane]
        place = slot[feature[first + j]]
        if place < 0:
            continue
        refused = share[first + j]
        for k in range(width):
            worth = value[leaf * width + k]
            at = (k if target < 0 else target) * slots + place
            within_total(total, at)
            add_two(
                *(total, at, before, count, worth * (1.0 - refused)),
                *(once, 0, -worth * refused),
            )


@_jit
def within_total(total: Floats, at: int) -> float:
    """Where numba checks bounds it stops here, as `bits` has none to check."""
    return total[at, ROWS - 1]


@_jit
def _put_out(total: Floats, start: int, out: Floats) -> None:
    slots = out.shape[2]
    for i in range(min(ROWS, out.shape[0] - start)):
        for k in range(out.shape[1]):
            for s in range(slots):
                out[start + i, k, s] = total[k * slots + s, i]


@_jit
def xemp_each(
    image: Ints, matrix: Floats, share: Floats, slot: Ints, out: Floats
) -> None:
    """The same for rows one by one, of up to ROWS.

    Below an edge where a second feature refuses the row no leaf counts.
    """
    right = _ask(image, matrix, 0)
    goes = np.empty(right.shape[0], np.int32)
    edge_first = ints(image, Section.EDGE_FIRST)
    edges = 1
    for tree in range(edge_first.size - 1):
        edges = max(edges, edge_first[tree + 1] - edge_first[tree] + 1)
    # Of each edge the feature that refuses the row on the way there; -1: none does.
    refusing = np.full(edges, -1, np.int32)
    out[:] = 0.0
    for i in range(matrix.shape[0]):
        for condition in range(goes.size):
            goes[condition] = right[condition, i >> 6] >> np.uint64(i & 63) & _ONE
        for tree in range(edge_first.size - 1):
            _refuse_tree(image, tree, goes, share, slot, refusing, out[i])


@_jit
def _refuse_tree(
    image: Ints,
    tree: int,
    goes: Ints,
    share: Floats,
    slot: Ints,
    refusing: NDArray[np.int32],
    out: Floats,
) -> None:
    first = ints(image, Section.EDGE_FIRST)[tree]
    count = ints(image, Section.EDGE_FIRST)[tree + 1] - first
    test = ints(image, Section.EDGE_TEST)[first : first + count]
    parent = ints(image, Section.EDGE_PARENT)[first : first + count]
    skip = ints(image, Section.EDGE_SKIP)[first : first + count]
    feature = ints(image, Section.EDGE_FEATURE)[first : first + count]
    leaf = ints(image, Section.EDGE_LEAF)[first : first + count]
    e = 0
    while e < count:
        refuses = refusing[parent[e]]
        if goes[test[e] >> 1] != test[e] & 1:
            if refuses >= 0 and refuses != feature[e]:
                e = skip[e] - 1
                continue
            refuses = feature[e]
        refusing[e + 1] = refuses
        if leaf[e] >= 0:
            _count_leaf(image, tree, leaf[e], refuses, share, slot, out)
        e += 1


@_jit
def _count_leaf(
    image: Ints,
    tree: int,
    leaf: int,
    refuses: int,
    share: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """Add what a leaf counts: for all on its path if none refuses the row, or for the
    feature that does."""
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    for element in range(path[leaf], path[leaf + 1]):
        place = slot[feature[element]]
        if place < 0 or (refuses >= 0 and feature[element] != refuses):
            continue
        factor = 1.0 - share[element] if refuses < 0 else -share[element]
        for k in range(width):
            at = k if target < 0 else target
            out[at, place] += value[leaf * width + k] * factor


# ---- SHAP


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
    longest = _longest(image)
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
        right = _ask(image, matrix, start)
        total[:] = 0.0
        for tree in range(tree_leaf.size - 1):
            begin = tree_sum[tree] * slots
            for leaf in range(tree_leaf[tree], tree_leaf[tree + 1]):
                z = _shares(image, leaf)
                _place_path(image, leaf, slot, begin, place)
                _let_path(image, leaf, right, let)
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
        _put_out(total, start, out)


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
    slots, longest = out.shape[2], _longest(image)
    last = (longest - 1) >> 1
    edge_first = ints(image, Section.EDGE_FIRST)
    edges = 1
    for tree in range(edge_first.size - 1):
        edges = max(edges, edge_first[tree + 1] - edge_first[tree] + 1)
    # Of each edge; the first is the root's.
    product, inverse = np.empty((edges, ABREAST)), np.ones((edges, ABREAST))
    worth, o = np.empty((edges, ABREAST)), np.ones(edges)
    parts = np.empty((out.shape[1] * slots, ABREAST))
    tree_sum = ints(image, Section.TREE_SUM)
    right = _ask(image, matrix, 0)
    goes = np.empty(right.shape[0], np.int32)
    for i in range(matrix.shape[0]):
        for condition in range(goes.size):
            goes[condition] = right[condition, i >> 6] >> np.uint64(i & 63) & _ONE
        parts[:] = 0.0
        for q in range(0, last + 1, ABREAST):
            product[0] = weights[last, q : q + ABREAST]
            for tree in range(edge_first.size - 1):
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
def _let_path(image: Ints, leaf: int, right: Sets, let: Sets) -> None:
    path = ints(image, Section.PATH_FIRST)
    for j in range(path[leaf + 1] - path[leaf]):
        _let(image, right, path[leaf] + j, let, j)


@_jit
def _read_sets(let: Sets, i: int, o: Floats) -> None:
    """o = 1.0 for each element that lets row i through."""
    for j in range(o.size):
        o[j] = np.float64(let[j, i >> 6] >> np.uint64(i & 63) & _ONE)


@_jit
def _spread(let: Sets, count: int, pattern: NDArray[np.uint16]) -> None:
    """The number of each row whose bits say which elements let it through."""
    width = 5 if count <= 5 else 8 if count <= 8 else 16
    let[count:width] = _NONE
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


# ---- Against reference rows


@_jit
def contrast_rows(
    image: Ints,
    matrix: Floats,
    reference: Floats,
    scale: Floats,
    plus: Floats,
    minus: Floats,
    slot: Ints,
    out: Floats,
) -> None:
    """Interventional Shapley values of the trees' sums, added up over reference rows.

    A mixture of the two rows reaches a leaf if each element lets one of them through.
    Of the elements that only the row passes, a of them, each counts plus[a, b] times
    the leaf's value; of the b that only the reference row passes minus[a, b] less.

    matrix: (n_rows, features), at most ROWS. reference: (others, features). scale:
    (n_rows, others): what each contrast is multiplied by. plus, minus: see
    `explainer`. slot: of each feature that is asked for the place in out.
    out: (n_rows, sums, slots).
    """
    longest = _longest(image)
    let = np.empty((longest, LANES), np.uint64)
    others = np.empty((longest, LANES), np.uint64)
    meeting = np.empty(LANES, np.uint64)
    passes, lacking = np.empty(longest, np.uint8), np.empty(longest, np.int32)
    gain = np.empty(longest)
    leaves = ints(image, Section.PATH_FIRST).size - 1
    tree_leaf = ints(image, Section.PATH_TREE)
    right = _ask(image, matrix, 0)
    out[:] = 0.0
    for start in range(0, reference.shape[0], ROWS):
        rows = min(ROWS, reference.shape[0] - start)
        others_right = _ask(image, reference, start)
        tree = 0
        for leaf in range(leaves):
            while leaf >= tree_leaf[tree + 1]:
                tree += 1
            _let_path(image, leaf, right, let)
            _let_path(image, leaf, others_right, others)
            for i in range(matrix.shape[0]):
                if _meet_others(image, leaf, let, i, others, rows, passes, meeting):
                    lost = _contrast(
                        *(image, leaf, passes, meeting, others),
                        *(scale[i, start : start + rows], plus, minus),
                        *(lacking, gain),
                    )
                    _add_contrast(
                        *(image, tree, leaf, passes, gain, lost, slot, out[i])
                    )


@_jit
def _meet_others(
    image: Ints,
    leaf: int,
    let: Sets,
    i: int,
    others: Sets,
    rows: int,
    passes: NDArray[np.uint8],
    meeting: NDArray[np.uint64],
) -> bool:
    """Whether there are other rows that pass what row i does not.

    passes: becomes 1 for each element that row i passes. meeting: those other rows.
    """
    path = ints(image, Section.PATH_FIRST)
    for lane in range(LANES):
        left = min(max(rows - 64 * lane, 0), 64)
        meeting[lane] = _ALL_ROWS >> np.uint64(64 - left) if left else _NONE
    found = _ALL_ROWS
    for j in range(path[leaf + 1] - path[leaf]):
        passes[j] = let[j, i >> 6] >> np.uint64(i & 63) & _ONE
        if not passes[j] and found:
            found = _NONE
            for lane in range(LANES):
                meeting[lane] &= others[j, lane]
                found |= meeting[lane]
    return found != _NONE


@_jit
def _contrast(
    image: Ints,
    leaf: int,
    passes: NDArray[np.uint8],
    meeting: NDArray[np.uint64],
    others: Sets,
    scale: Floats,
    plus: Floats,
    minus: Floats,
    lacking: NDArray[np.int32],
    gain: Floats,
) -> float:
    """What a leaf of value 1 counts: gain of each element that the row passes, and
    less for each that it does not."""
    path = ints(image, Section.PATH_FIRST)
    count = path[leaf + 1] - path[leaf]
    refused, lost = 0, 0.0
    for j in range(count):
        gain[j] = 0.0
        refused += 1 - np.int64(passes[j])
    for lane in range(LANES):
        bits = meeting[lane]
        while bits:
            bit = lowest_bit(bits)
            bits &= bits - _ONE
            lacks = 0
            for j in range(count):
                if passes[j] and not others[j, lane] >> bit & _ONE:
                    lacking[lacks] = j
                    lacks += 1
            weight = scale[64 * lane + np.int64(bit)]
            lost += weight * minus[lacks, refused]
            for at in range(lacks):
                gain[lacking[at]] += weight * plus[lacks, refused]
    return lost


@_jit
def _add_contrast(
    image: Ints,
    tree: int,
    leaf: int,
    passes: NDArray[np.uint8],
    gain: Floats,
    lost: float,
    slot: Ints,
    out: Floats,
) -> None:
    path = ints(image, Section.PATH_FIRST)
    feature = ints(image, Section.ELEMENT_FEATURE)
    value = floats(image, Section.VALUE)
    target = ints(image, Section.TREE_SUM)[tree]
    width = ints(image, Section.NUMBERS)[Number.WIDTH]
    for j in range(path[leaf + 1] - path[leaf]):
        amount = gain[j] if passes[j] else -lost
        place = slot[feature[path[leaf] + j]]
        for k in range(width):
            at = k if target < 0 else target
            out[at, place] += value[leaf * width + k] * amount


_IMAGE = numba.types.Array(numba.int32, 1, "C", readonly=True)
_MATRIX = numba.types.Array(numba.float64, 2, "C", readonly=True)
_SLOTS = numba.types.Array(numba.int32, 1, "C", readonly=True)
_SHARES = numba.types.Array(numba.float64, 1, "C")
_OUT = numba.types.Array(numba.float64, 3, "C")
# What is compiled, and for which arguments; see `kernel_cache`.
KERNELS = (
    (weigh_exemplars, numba.void(_IMAGE, _MATRIX, _MATRIX, _SHARES)),
    (xemp_rows, numba.void(_IMAGE, _MATRIX, _SHARES, _SLOTS, _OUT)),
    (xemp_each, numba.void(_IMAGE, _MATRIX, _SHARES, _SLOTS, _OUT)),
    (shap_rows, numba.void(_IMAGE, _MATRIX, _MATRIX, _MATRIX, _SLOTS, _OUT)),
    (shap_each, numba.void(_IMAGE, _MATRIX, _MATRIX, _MATRIX, _SLOTS, _OUT)),
    (
        contrast_rows,
        numba.void(_IMAGE, *[_MATRIX] * 5, _SLOTS, _OUT),
    ),
)
