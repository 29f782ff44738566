"""Checks of a replacement, one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.management.replacing import validate
from app.services import Services
from app.store.settings import DeploymentSettings
from tests.unstructured_models import make_hook


def test_hook_that_is_not_allowed_is_a_warning(
    services: Services, tmp_path: Path
) -> None:
    hook = make_hook(tmp_path / "hook", "ways").model
    deployment = services.store.create_deployment("hook", "root", None)
    report = validate(services, deployment, hook)
    assert report["status"] == report["checks"]["settings"]["status"] == "warning"
    assert "--allow-python-hook" in report["message"]
    allowed = replace(deployment, settings=DeploymentSettings(python_hook=hook.id))
    assert validate(services, allowed, hook)["status"] == "passing"
