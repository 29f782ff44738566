"""The deployed models: their bundles, what serves them, and whose code is run."""

from __future__ import annotations

import os
import stat
from typing import Any

from app.config import Config
from app.doctor.findings import Finding, Problem
from app.errors import AppError
from app.store.bundles import Bundles
from app.store.compiled import CompiledModels
from app.store.errors import InvalidStoreUrl
from app.store.files import open_files
from app.store.records import Snapshot
from backends import bundle, compiled
from backends.model import Model
from backends.strict_json import SpecError
from backends.trees import fingerprint


def bundles(config: Config, snapshot: Snapshot) -> Finding:
    """Whether the bundles are there, whole, and such as this release reads."""
    kept = Bundles(config.home)
    problems = []
    for deployment in snapshot.deployments.values():
        if deployment.model_id is None or _is_elsewhere(deployment.model_id, config):
            continue
        try:
            _check_spec(bundle.read(kept.path(deployment.model_id)))
        except (AppError, bundle.BundleRejected, SpecError, OSError) as error:
            folder = config.home / "bundles" / deployment.model_id
            problems.append(
                Problem(
                    f"the bundle of {deployment.id} ({deployment.label}) cannot be "
                    f"used: {error}",
                    f"remove {folder} if it is there, then "
                    f"foretell replace-model {deployment.id} BUNDLE",
                )
            )
    checked = len(deployed_models(snapshot))
    return Finding("bundles", {"models": checked}, problems)


def _is_elsewhere(model_id: str, config: Config) -> bool:
    """Whether a bundle is not here, and is fetched when it is asked for."""
    if not config.store_url or Bundles(config.home).has(model_id):
        return False
    try:
        return open_files(config.store_url).exists(f"bundles/{model_id}.tar")
    except (OSError, InvalidStoreUrl):
        # Which is told of the store itself.
        return True


def _check_spec(model: Model) -> None:
    """Raises SpecError where the card's spec is none that this release reads."""
    # What they bring is imported where there are such models.
    if model.io is not None:
        from backends.tensors.io_json import spec_of

        spec_of(model)
    if model.time_series is not None:
        from backends.timeseries.spec_json import load_spec

        load_spec(model.time_series)


def engines(config: Config, snapshot: Snapshot) -> Finding:
    """What serves the deployed models, and the code that it takes."""
    folder = config.kernels
    facts: dict[str, Any] = {"kernels": str(folder)}
    problems = []
    if folder.exists():
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            text = f"compiled kernels cannot be kept in {folder}: starts are slow"
            problems.append(Problem(text, "give its owner all rights on it"))
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            text = f"others than the owner may write to {folder}: servers run its code"
            problems.append(Problem(text, f"remove {folder}; it is made again"))
    kept = CompiledModels(config.home, fingerprint())
    for model_id in sorted(deployed_models(snapshot)):
        format = snapshot.models[model_id].format
        verdict = compiled.examine(kept.path(model_id), format)
        facts[verdict.engine] = facts.get(verdict.engine, 0) + 1
        if verdict.reason in ("damaged", "failed"):
            text = f"model {model_id} is served by {verdict.engine}: {verdict.detail}"
            remedy = f"remove {kept.path(model_id)}, then start the server again"
            problems.append(Problem(text, remedy))
    return Finding("engines", facts, problems)


def deployed_models(snapshot: Snapshot) -> set[str]:
    """Their ids."""
    deployments = snapshot.deployments.values()
    return {each.model_id for each in deployments if each.model_id is not None}


def hooks(snapshot: Snapshot) -> Finding | None:
    """Whose code is run for deployments, and how apart; None if nobody's is."""
    allowed = [
        each
        for each in snapshot.deployments.values()
        if each.model_id is not None and each.settings.python_hook == each.model_id
    ]
    if not allowed:
        return None
    # What it brings is imported where there are hooks.
    from backends.unstructured.confinement import can_isolate

    is_apart = can_isolate()
    # That it may run is its operator's will, and nothing to be put right.
    warning = "runs the Python code of its model as the user of the service"
    facts: dict[str, Any] = {
        each.id: f"{warning} ({each.label}, model {each.model_id})" for each in allowed
    }
    facts["kept_from_network"] = is_apart
    problems = []
    if not is_apart:
        problems.append(
            Problem(
                "the kernel does not let Python hooks be kept from the network",
                "allow user namespaces, or keep the service from the network",
            )
        )
    return Finding("python hooks", facts, problems)
