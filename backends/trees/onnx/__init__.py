"""The parts of an ONNX graph that `backends.trees.from_onnx` reads, in its order."""
