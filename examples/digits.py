"""Train a small convolutional network on handwritten digits, and write it as ONNX.

`digits`: scikit-learn's pictures of 8 × 8 grey pixels, from 0 to 9.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

Floats = NDArray[np.float32]

FILTERS, EPOCHS, BATCH, RATE = 32, 25, 32, 0.002
HELD_OUT = 297


def load() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures, (1797, 8, 8) of grey 0 to 255, and what they show."""
    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target


def train_digits(folder: Path) -> float:
    """Write digits.onnx and a picture, digit.png, to `folder`.

    Returns the share of the pictures that were held out which it tells right.
    """
    pictures, targets = load()
    network = Network(np.random.default_rng(1))
    network.fit(_numbers(pictures[:-HELD_OUT]), targets[:-HELD_OUT])
    onnx.save(network.to_onnx(), folder / "digits.onnx")
    Image.fromarray(pictures[-1]).save(folder / "digit.png")
    found = network.probabilities(_numbers(pictures[-HELD_OUT:])).argmax(axis=1)
    return float((found == targets[-HELD_OUT:]).mean())


def _numbers(pictures: NDArray[np.uint8]) -> Floats:
    """Pictures as the network takes them: (n, 8, 8) from 0 to 1."""
    return np.asarray(pictures / 255, np.float32)


class Network:
    """A convolution, the largest of each 2 × 2 of its answers, and a dense layer.

    kernels: (9, FILTERS). weights: (16 × FILTERS, 10).
    """

    def __init__(self, random: np.random.Generator) -> None:
        def normal(*shape: int) -> Floats:
            scale = np.sqrt(2 / shape[0])
            return np.asarray(random.normal(0, scale, shape), np.float32)

        self._random = random
        self._kernels, self._bias = normal(9, FILTERS), np.zeros(FILTERS, np.float32)
        self._weights, self._offset = normal(16 * FILTERS, 10), np.zeros(10, np.float32)

    def probabilities(self, pictures: Floats) -> Floats:
        """(n, 8, 8) to (n, 10)."""
        scores = self._pool(self._convolve(pictures))[0] @ self._weights + self._offset
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def fit(self, pictures: Floats, targets: NDArray[np.int64]) -> None:
        """Adam on the cross entropy."""
        layers = [self._kernels, self._bias, self._weights, self._offset]
        means = [np.zeros_like(layer) for layer in layers]
        squares = [np.zeros_like(layer) for layer in layers]
        step = 0
        for _ in range(EPOCHS):
            order = self._random.permutation(len(pictures))
            for start in range(0, len(order), BATCH):
                rows, step = order[start : start + BATCH], step + 1
                gradients = self._gradients(pictures[rows], targets[rows])
                for layer, mean, square, gradient in zip(
                    layers, means, squares, gradients, strict=True
                ):
                    mean += 0.1 * (gradient - mean)
                    square += 0.001 * (gradient**2 - square)
                    size = np.sqrt(square / (1 - 0.999**step)) + 1e-8
                    layer -= RATE * (mean / (1 - 0.9**step)) / size

    def _patches(self, pictures: Floats) -> Floats:
        """The 3 × 3 pixels around each, black beyond the border: (n, 8, 8, 9)."""
        bordered = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
        return sliding_window_view(bordered, (3, 3), (1, 2)).reshape(-1, 8, 8, 9)

    def _convolve(self, pictures: Floats) -> Floats:
        return np.maximum(self._patches(pictures) @ self._kernels + self._bias, 0)

    def _pool(self, maps: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """The largest of each 2 × 2, (n, 16 × FILTERS), and which of them it was."""
        blocks = maps.reshape(-1, 4, 2, 4, 2, FILTERS)
        largest = blocks.max(axis=(2, 4), keepdims=True)
        # As a graph of the layout NCHW flattens it: the filter comes first.
        flat = largest[:, :, 0, :, 0].transpose(0, 3, 1, 2).reshape(len(maps), -1)
        return flat, blocks == largest

    def _gradients(self, pictures: Floats, targets: NDArray[np.int64]) -> list[Floats]:
        maps = self._convolve(pictures)
        flat, is_largest = self._pool(maps)
        error = self.probabilities(pictures) - np.eye(10, dtype=np.float32)[targets]
        error /= len(pictures)
        back = (error @ self._weights.T).reshape(-1, FILTERS, 4, 4)
        back = back.transpose(0, 2, 3, 1)[:, :, None, :, None]
        spread = (back * is_largest).reshape(maps.shape) * (maps > 0)
        by_pixel = spread.reshape(-1, FILTERS)
        kernels = self._patches(pictures).reshape(-1, 9).T @ by_pixel
        return [kernels, by_pixel.sum(axis=0), flat.T @ error, error.sum(axis=0)]

    def to_onnx(self) -> onnx.ModelProto:
        """The same as a graph: `image`, (n, 1, 8, 8), to `digit`, (n, 10)."""
        weights = {
            "kernels": self._kernels.T.reshape(FILTERS, 1, 3, 3),
            "bias": self._bias,
            "weights": self._weights,
            "offset": self._offset,
        }
        nodes = [
            ("Conv", ["image", "kernels", "bias"], "maps", {"pads": [1, 1, 1, 1]}),
            ("Relu", ["maps"], "positive", {}),
            (
                *("MaxPool", ["positive"], "pooled"),
                {"kernel_shape": [2, 2], "strides": [2, 2]},
            ),
            ("Flatten", ["pooled"], "flat", {}),
            ("Gemm", ["flat", "weights", "offset"], "scores", {}),
            ("Softmax", ["scores"], "digit", {"axis": 1}),
        ]
        graph = helper.make_graph(
            [
                helper.make_node(kind, inputs, [output], **attributes)
                for kind, inputs, output, attributes in nodes
            ],
            "digits",
            [_tensor("image", "n", 1, 8, 8)],
            [_tensor("digit", "n", 10)],
            [
                numpy_helper.from_array(np.ascontiguousarray(values), name)
                for name, values in weights.items()
            ],
        )
        opset = helper.make_opsetid("", 18)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def _tensor(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
