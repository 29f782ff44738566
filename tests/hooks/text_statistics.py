"""A hook of unstructured predictions: texts to what can be counted in them."""

import json
from pathlib import Path


def load_model(code_dir):
    return json.loads((Path(code_dir) / "stop_words.json").read_text())


def score_unstructured(model, data, query, **kwargs):
    if isinstance(data, bytes):
        data = data.decode()
    if data.startswith("{"):
        data = json.loads(data)["text"]
    words = [word for word in data.lower().split() if word not in model]
    counts = {"characters": len(data), "words": len(words)}
    return json.dumps(counts), {"mimetype": "application/json", "charset": "utf8"}
