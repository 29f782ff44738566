"""Unstructured models, deployed: graphs of raw tensors, and hooks that may run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app.services import Services
from backends import bundle
from backends.model import Model
from backends.unstructured.graph import GraphBackend
from tests.tensor_backends import Bundled, make_tensor_models

HOOKS = Path(__file__).parent / "hooks"
# Name of a hook to its files, the module first.
FILES: Mapping[str, tuple[str, ...]] = {
    "statistics": ("text_statistics.py", "stop_words.json"),
    "ways": ("many_ways.py",),
    "failing": ("failing_start.py",),
    "off": ("many_ways.py",),
}
GRAPHS = ("digits", "many", "matrix", "columns", "echo", "negative", "steps", "fixed")


def make_hook(folder: Path, name: str) -> Bundled:
    """A bundle of one of `FILES`."""
    folder.mkdir()
    for file in FILES[name]:
        shutil.copyfile(HOOKS / file, folder / file)
    model = Model(
        "0" * 24, name, "python", FILES[name][0], "unstructured", "", features=()
    )
    return Bundled(folder, bundle.write(folder, model))


def make_unstructured(base: Path) -> dict[str, Bundled]:
    """A bundle of each hook and of each graph, by name."""
    found = {}
    for name, each in make_tensor_models(base).items():
        if name in GRAPHS:
            card = replace(each.model, task="unstructured")
            found[name] = Bundled(each.folder, bundle.write(each.folder, card))
    return found | {name: make_hook(base / f"hook {name}", name) for name in FILES}


def graph_of(bundled: Bundled) -> GraphBackend:
    return GraphBackend(bundled.folder, bundled.model)


def allow_hooks(services: Services, deployments: Mapping[str, str]) -> None:
    """Let every hook but `off` run, as the command line does."""
    for name in FILES:
        if name != "off":
            deployment = services.store.deployment(deployments[name])
            services.store.update_deployment(
                deployment.id, settings={"python_hook": deployment.model_id}
            )
