"""Models that take bytes and answer bytes: graphs of raw tensors, Python hooks."""
