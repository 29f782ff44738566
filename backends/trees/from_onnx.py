"""ONNX graphs of trees as ensembles that answer what onnxruntime answers.

A graph is covered when it hands its inputs to one tree operator as they are, in any
order, and makes its answer of the trees' sums in a way that a transform knows. Where
the standard and onnxruntime differ, it is as onnxruntime does it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backends.model import Model
from backends.trees.ensemble import Ensemble, Transform
from backends.trees.onnx import after_trees, graph
from backends.trees.onnx.before_trees import KINDS, read_columns
from backends.trees.onnx.operators import Answer, read_operator


def read(path: Path, model: Model) -> Ensemble:
    """Read the graph of a bundle.

    model: its `output` is the tensor that is answered, its features go into the
        graph's inputs in their order.

    Raises NotCovered for what the engine does not score or onnxruntime would refuse,
    ModelFileRejected for a file that holds no graph.
    """
    values = graph.read(path)
    trees, steps = values.behind(model.output or "")
    taken = read_columns(values, trees.input[0], model)
    columns = np.array(taken.features, np.int64)
    answer = read_operator(trees, columns, KINDS[taken.dtype])
    for step in steps:
        answer = after_trees.apply(answer, step, values)
    return _ensemble(answer, features=len(model.features))


def _ensemble(answer: Answer, *, features: int) -> Ensemble:
    transform = answer.transform
    if not answer.single and transform == Transform():
        # Whatever the trees add up in, they answer float32.
        transform = Transform("float_scale")
    return Ensemble(
        features=features,
        sums=len(answer.base),
        outputs=answer.outputs,
        base=answer.base.astype(np.float64),
        divisor=answer.divisor,
        transform=transform,
        single=answer.single,
        # onnxruntime compares what is there, however small.
        zero=-1.0,
        **answer.trees,
    )
