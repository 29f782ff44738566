"""What lies after the trees: nodes that a transform, base or divisor does as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.trees.ensemble import NotCovered, Transform
from backends.trees.onnx.graph import DOMAINS, Graph, attributes_of, cast_to
from backends.trees.onnx.operators import Answer


def apply(answer: Answer, node: Any, graph: Graph) -> Answer:
    """What a node makes of an answer.

    Raises NotCovered if no transform does the same.
    """
    known = _STEPS.get(node.op_type) if node.domain in DOMAINS else None
    made = known(answer, node, graph) if known is not None else None
    if made is None:
        raise NotCovered(
            "the graph computes with the trees' answer in a way that the engine does "
            f"not (operator {node.op_type})"
        )
    return made


def _same(answer: Answer, node: Any, graph: Graph) -> Answer:
    return answer


def _cast(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    return answer if cast_to(node) == "float32" else None


def _reshape(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    shape = graph.constant(node.input[1]) if len(node.input) > 1 else None
    wanted = [[-1, answer.outputs], [0, answer.outputs], [0, -1]]
    if answer.outputs == 1:
        wanted.append([-1])
    return answer if shape is not None and shape.tolist() in wanted else None


def _multiply(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    scale = _number(_operand(node, graph))
    if scale == 1.0:
        return answer
    name, parameter = answer.transform.name, answer.transform.parameter
    scaled = {"identity": "float_scale"} | {
        each: each for each in ("float_exp", "float_opposites")
    }
    if scale is None or parameter != 1.0 or name not in scaled:
        return None
    return replace(answer, transform=Transform(scaled[name], scale))


def _divide(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    weight = graph.constant(node.input[1]) if len(node.input) == 2 else None
    divisor = _number(weight)
    if divisor is None or divisor == 0.0:
        return None
    if not _is_sum(answer) or answer.divisor != 1.0 or answer.base.any():
        return None
    return replace(answer, divisor=divisor)


def _add(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    term = _operand(node, graph)
    if term is None or not _is_sum(answer) or answer.base.any():
        return None
    if term.size not in (1, answer.outputs) or term.shape[:-1] not in ((), (1,)):
        return None
    base = np.broadcast_to(term.reshape(-1), answer.outputs).copy()
    return replace(answer, base=base)


def _is_sum(answer: Answer) -> bool:
    """Whether it is what float32 sums come to, to which more may be added."""
    return answer.single and answer.transform == Transform()


def _exp(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    if answer.transform != Transform():
        return None
    return replace(answer, transform=Transform("float_exp"))


def _sigmoid(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    names = {
        "identity": "float_logistic",
        "float_scale": "float_logistic",
        "float_opposites": "float_logistic_opposites",
    }
    name = names.get(answer.transform.name)
    if name is None:
        return None
    return replace(answer, transform=Transform(name, answer.transform.parameter))


def _complement(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    """1 - p, which only a Concat of both makes use of."""
    first = graph.constant(node.input[0]) if len(node.input) == 2 else None
    return answer if _number(first) == 1.0 and answer.outputs == 1 else None


def _pair(answer: Answer, node: Any, graph: Graph) -> Answer | None:
    """[1 - p, p]."""
    names = {
        "identity": "float_complements",
        "float_logistic": "float_logistic_complements",
    }
    name = names.get(answer.transform.name)
    first = graph.maker(node.input[0])
    if name is None or answer.outputs != 1 or len(node.input) != 2:
        return None
    if first is None or first.op_type != "Sub" or first.input[1] != node.input[1]:
        return None
    if _complement(answer, first, graph) is None:
        return None
    if attributes_of(node).get("axis") not in (1, -1):
        return None
    transform = Transform(name, answer.transform.parameter)
    return replace(answer, transform=transform, outputs=2)


def _operand(node: Any, graph: Graph) -> NDArray[Any] | None:
    """The float32 weight that a node combines an answer with."""
    weights = [graph.constant(name) for name in node.input]
    found = [each for each in weights if each is not None]
    if len(found) != 1 or len(weights) != 2 or found[0].dtype != np.float32:
        return None
    return found[0]


def _number(weight: NDArray[Any] | None) -> float | None:
    """The one float32 number of a weight that leaves an answer's shape as it is."""
    if weight is None or weight.dtype != np.float32:
        return None
    if weight.size != 1 or weight.ndim > 2:
        return None
    return float(weight.reshape(-1)[0])


_STEPS: dict[str, Callable[[Answer, Any, Graph], Answer | None]] = {
    "Identity": _same,
    "Cast": _cast,
    "Reshape": _reshape,
    "Mul": _multiply,
    "Div": _divide,
    "Add": _add,
    "Exp": _exp,
    "Sigmoid": _sigmoid,
    "Concat": _pair,
}
