"""The rows API as Peltarion's client program uses it, exchange by exchange.

It reads a deployment's OpenAPI document, encodes each input by its type and shape as
that says, sends 128 rows at a time, and decodes each output in the same way.
"""

from __future__ import annotations

import base64
import io
import json
from urllib.parse import urljoin

import numpy as np
import pytest
from PIL import Image

PLACE = "/deployment/{deploymentId}/forward"
NPY = "data:application/x.peltarion.npy;base64,"


class Client:
    """What the client program sends and needs back."""

    def __init__(self, caller, name):
        self.http = caller.client
        token = caller.site.tokens["ann@example.com"]
        self.headers = {"Authorization": f"Bearer {token}", "User-Agent": "sidekick"}
        deployment = caller.site.deployments.get(name, name)
        self.url = f"http://localhost/deployment/{deployment}/forward"
        told = self.http.get(urljoin(self.url, "openapi.json"), headers=self.headers)
        assert told.status_code == 200
        self.tensor_json = told.json["paths"][PLACE]["x-peltarion-tensorjson"]
        schemas = told.json["components"]["schemas"]
        self.inputs = schemas["input-row"]["properties"]
        batch = schemas["output-row-batch"]["properties"]
        self.outputs = batch["rows"]["properties"]

    def predict(self, rows):
        found = []
        for start in range(0, len(rows), 128):
            encoded = [self.encoded(row) for row in rows[start : start + 128]]
            answer = self.http.post(
                self.url, json={"rows": encoded}, headers=self.headers
            )
            assert answer.status_code == 200, answer.data
            assert "errorCode" not in answer.json
            found += [self.decoded(row) for row in answer.json["rows"]]
        return found

    def encoded(self, row):
        return {
            name: self.encode(row[name], **spec["x-peltarion"])
            for name, spec in self.inputs.items()
        }

    def encode(self, value, type, shape):
        if is_array(type, shape):
            assert value.shape == tuple(shape)
            return self.encode_array(value.astype(np.float32))
        if type == "image":
            file = io.BytesIO()
            value.save(file, "PNG")
            return data_url("data:image/png;base64,", file.getvalue())
        # A category would have to be sent as an object.
        assert type in ("numeric", "binary", "text")
        wanted = str if type == "text" else (int, float)
        assert isinstance(value, wanted)
        return value

    def encode_array(self, value):
        if self.tensor_json:
            return {"shape": value.shape, "data": value.flatten().tolist()}
        file = io.BytesIO()
        np.save(file, value)
        return data_url(NPY, file.getvalue())

    def decoded(self, row):
        # Each output that is told of has to be there.
        return {
            name: self.decode(row[name], **spec["x-peltarion"])
            for name, spec in self.outputs.items()
        }

    def decode(self, value, type, shape):
        if is_array(type, shape):
            array = self.decode_array(value)
            assert array.shape == tuple(shape)
            return array
        if type == "image":
            head, _, data = value.partition(",")
            image = Image.open(io.BytesIO(base64.b64decode(data)))
            assert head == f"data:image/{image.format.lower()};base64"
            return image
        if type == "categorical":
            assert isinstance(value, dict)
            assert len(value) == shape[0]
        else:
            assert isinstance(value, str if type == "text" else (int, float))
        return value

    def decode_array(self, value):
        if self.tensor_json:
            return np.array(value["data"], np.float32).reshape(value["shape"])
        assert value.startswith(NPY)
        return np.load(io.BytesIO(base64.b64decode(value.partition(",")[2])))


def is_array(type, shape):
    return type == "numeric" and (len(shape) > 1 or shape[0] > 1)


def data_url(head, data):
    return head + base64.b64encode(data).decode()


def plain(row):
    return json.loads(json.dumps(row, default=lambda value: np.asarray(value).tolist()))


@pytest.mark.parametrize("name", ["churn", "price", "plan", "onnx-parcel"])
def test_numbers_and_texts_become_numbers_and_classes(predict, specimens, name):
    client = Client(predict, name)
    specimen = specimens[name]
    rows = json.loads(specimen.frame.dropna().head(140).to_json(orient="records"))
    rows = [
        {
            key: str(value)
            if client.inputs[key]["x-peltarion"]["type"] == "text"
            else value
            for key, value in row.items()
        }
        for row in rows
    ]
    found = client.predict(rows)
    assert len(found) == len(rows)
    body = json.dumps({"rows": rows[:1]})
    alone = predict(name, body, "application/json", layout="rows")
    assert found[0] == alone.json["rows"][0]


def test_pictures_become_classes(forward):
    client = Client(forward, "digits")
    pictures = [
        Image.fromarray(np.full((8, 8), n, np.uint8)) for n in range(0, 256, 51)
    ]
    found = client.predict([{"x": picture} for picture in pictures] * 50)
    assert len(found) == 300
    assert [plain(row) for row in found[:6]] == [plain(row) for row in found[-6:]]
    assert set(found[0]["probs"]) == {str(n) for n in range(10)}


def test_pictures_become_pictures(forward):
    client = Client(forward, "negative")
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    [row] = client.predict([{"photo": Image.fromarray(pixels)}])
    assert (np.asarray(row["negative"]) == 255 - pixels).all()


@pytest.mark.parametrize("tensor_json", [True, False])
def test_tensors_travel_both_ways(forward, tensor_json):
    deployed = forward.deploy("many", tensor_json=tensor_json)
    client = Client(forward, deployed)
    assert client.tensor_json is tensor_json
    series = np.arange(12, dtype=np.float32).reshape(3, 4)
    row = {
        "series": series,
        "sizes": np.array([2, 3], np.float32),
        "count": 3,
        "flag": 1,
        "word": "hello",
    }
    [found] = client.predict([row])
    assert {type(each) for each in found.values()} >= {np.ndarray, str}
    as_json = json.dumps(
        {"rows": [{key: np.asarray(value).tolist() for key, value in row.items()}]}
    )
    [plainly] = forward("many", as_json, "application/json", layout="rows").json["rows"]
    for name, value in found.items():
        if isinstance(value, np.ndarray):
            assert value.shape == tuple(plainly[name]["shape"])
            assert value.ravel().tolist() == np.float32(plainly[name]["data"]).tolist()
        else:
            assert value == plainly[name]


def test_arrays_and_classes_of_one_tensor_are_told_apart(forward):
    client = Client(forward, "columns")
    row = {"a": np.array([1, 2], np.float32), "kind": "v", "is it": 1}
    [found] = client.predict([row])
    assert found["rest"].shape == (3,)
    assert isinstance(found["one"], float)
    assert 0 < found["chance"] < 1
