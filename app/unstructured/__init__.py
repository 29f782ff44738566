"""Unstructured predictions: bytes in, bytes out."""
