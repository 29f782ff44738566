"""Graphs that take and answer named tensors of any rank: numbers, classes, texts, \
pictures."""
