"""The least a Flask view can do: read the body, return the same bytes each time."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, request

application = Flask(__name__, static_folder=None)

_ANSWERS = {
    path.stem: path.read_bytes()
    for path in Path(os.environ["BENCH_ANSWERS"]).glob("*.json")
}


@application.post("/<name>")
def answer(name: str) -> Response:
    """A constant answer as long as the model's own."""
    request.get_data()
    return Response(_ANSWERS[name], content_type="application/json")
