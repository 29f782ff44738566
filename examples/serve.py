"""`make serve`: deploy the example models once, serve, print curl lines."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.config import Config


@dataclass(frozen=True)
class Example:
    """A model; its data, its bundle and the spec of a time series have its name.

    file: of the model. target: None: what the spec says. io: the file that describes
    a graph of named tensors.
    """

    id: str
    file: str
    target: str | None = None
    io: str | None = None

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def is_time_series(self) -> bool:
        return self.target is None and self.io is None


USER = "example"
# By the deployment's label.
MODELS = {
    "penguins: sex": Example("5e7000000000000000000001", "sex.txt", "sex"),
    "penguins: species": Example("5e7000000000000000000002", "species.onnx", "species"),
    "people in work": Example("5e7000000000000000000003", "employment.txt"),
    "handwritten digits": Example(
        "5e7000000000000000000004", "digits.onnx", io="digits.json"
    ),
}
TWO_PENGUINS = """\
species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g
Adelie,Torgersen,39.1,18.7,181,3750
Gentoo,Biscoe,46.1,13.2,,4500
"""
ONE_PENGUIN = (
    '[{"island": "Biscoe", "sex": null, "bill_length_mm": 46.1,'
    ' "bill_depth_mm": 13.2, "flipper_length_mm": 211, "body_mass_g": 4500}]'
)
START_SECONDS = 60


def main() -> int:
    """Returns the server's exit code."""
    config = Config.from_environment()
    folder = config.home / "examples"
    deployments = _deploy(folder)
    token = foretell("token", "create", USER, "--expires", "30d", "--json")
    server = subprocess.Popen([*_COMMAND, "serve"])
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    # The terminal sends an interrupt to the server as well, which ends by itself.
    signal.signal(signal.SIGINT, lambda *_: None)
    url = f"http://{config.bind}"
    try:
        if _wait_until_ready(url, server):
            print(_curl_lines(url, folder, deployments, token["token"]), flush=True)
        return server.wait()
    finally:
        server.terminate()


_COMMAND = [str(Path(sys.executable).with_name("foretell"))]


def foretell(*arguments: str) -> Any:
    """Run the command line and read its JSON answer."""
    done = subprocess.run(
        [*_COMMAND, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def _deploy(folder: Path) -> dict[str, str]:
    """Deploy what is not deployed yet; label to deployment id."""
    found = {each["label"]: each["id"] for each in foretell("list", "--json")}
    wanted = [label for label in MODELS if label not in found]
    # Earlier releases packaged bundles that cannot be explained.
    wanted += [label for label in found.keys() & MODELS if not _is_whole(folder, label)]
    if not wanted:
        return found
    # Training takes the libraries that only the examples need.
    from examples.train import train

    train(folder)
    if not any(user["name"] == USER for user in foretell("user", "list", "--json")):
        foretell("user", "add", USER, "--admin", "--json")
    for label in wanted:
        found[label] = _package_and_deploy(folder, label, is_new=label not in found)
    return found


def _is_whole(folder: Path, label: str) -> bool:
    newest = "exemplars.json" if MODELS[label].io is None else "golden.json"
    return (_bundle(folder, label) / newest).exists()


def _bundle(folder: Path, label: str) -> Path:
    return folder / f"{MODELS[label].name}-bundle"


def _package_and_deploy(folder: Path, label: str, *, is_new: bool) -> str:
    example, bundle = MODELS[label], _bundle(folder, label)
    shutil.rmtree(bundle, ignore_errors=True)
    _package(folder, label, bundle)
    if not is_new:
        foretell("replace-model", example.id, str(bundle), "--json")
        return example.id
    foretell(
        *("deploy", str(bundle), "--label", label, "--owner", USER),
        *("--id", example.id, "--json"),
    )
    if example.is_time_series:
        foretell("update", example.id, "--set", "prediction_intervals=true", "--json")
    return example.id


def _package(folder: Path, label: str, bundle: Path) -> None:
    example = MODELS[label]
    model, data = str(folder / example.file), str(folder / f"{example.name}.csv")
    if example.io is not None:
        about = ["--io", str(Path(__file__).with_name(example.io))]
    elif example.target is not None:
        about = ["--data", data, "--target", example.target]
    else:
        spec = str(folder / f"{example.name}.json")
        plain = str(Path(__file__).with_name(f"{example.name}.json"))
        foretell("ts", "intervals", plain, model, data, "--out", spec, "--json")
        about = ["--data", data, "--time-series", spec]
    named = ["--name", label, "--out", str(bundle), "--json"]
    foretell("package", model, *about, *named)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> bool:
    for _ in range(START_SECONDS * 20):
        if server.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


def _curl_lines(url: str, folder: Path, deployments: dict[str, str], token: str) -> str:
    rows = folder / "two-penguins.csv"
    rows.write_text(TWO_PENGUINS)
    sex, species, employment, digits = (deployments[label] for label in MODELS)
    binary = f"{url}/predApi/v1.0/deployments/{sex}/predictions"
    multiclass = f"{url}/api/v2/deployments/{species}/predictions"
    forecasts = f"{url}/api/v2/deployments/{employment}/predictions"
    rows_api = f"{url}/deployment/{digits}/forward"
    history = folder / "employment-request.csv"
    picture = f"image=@{folder / 'digit.png'}"
    in_csv, in_json = ["Content-Type: text/csv"], ["Content-Type: application/json"]
    out_csv = [*in_csv, "Accept: text/csv"]
    return f"""
The examples are deployed. In another terminal:

# CSV in, JSON out (LightGBM, binary)
{_curl(binary, token, in_csv, f"@{rows}")}

# JSON in, JSON out (ONNX, multiclass)
{_curl(multiclass, token, in_json, ONE_PENGUIN)}

# CSV in, CSV out
{_curl(binary, token, out_csv, f"@{rows}")}

# Why: the three features that count most in each row
{_curl(f"{binary}?maxExplanations=3", token, in_csv, f"@{rows}")}

# Two years of two industries in, the next six months out (LightGBM, time series)
{_curl(forecasts, token, in_csv, f"@{history}")}

# A picture in, a score for each digit out (ONNX, the rows API)
{shlex.join(["curl", "-sS", "-u", f"{token}:", "-F", picture, rows_api])}
"""


def _curl(url: str, token: str, headers: list[str], data: str) -> str:
    command = ["curl", "-sS", "-X", "POST", url]
    for header in (f"Authorization: Bearer {token}", *headers):
        command += ["-H", header]
    return shlex.join([*command, "--data-binary", data])


if __name__ == "__main__":
    sys.exit(main())
