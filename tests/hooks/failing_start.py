"""A hook whose import fails."""

raise RuntimeError("there is no such library")


def score_unstructured(model, data, query, **kwargs):
    return data
