"""The settings that are in force, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.config import Config, environment_name, settings
from app.doctor.findings import Finding
from app.doctor.surroundings import without_password


def settings_in_force(config: Config, environ: Mapping[str, str]) -> Finding:
    """Each by its environment variable: value, unit and source; secrets are masked.

    environ: where the settings came from.
    """
    facts = {}
    for setting in settings():
        name = environment_name(setting.name)
        facts[name] = {
            "value": _shown(setting.name, getattr(config, setting.name)),
            "unit": setting.metadata["unit"],
            "source": "environment" if name in environ else "default",
        }
    return Finding("settings", facts)


def _shown(name: str, value: Any) -> Any:
    if name == "database_url":
        return masked_url(value)
    if name == "datarobot_key" and value:
        return "***"
    if name == "store_url" and value:
        return without_password(value)
    return str(value) if isinstance(value, Path) else value


def masked_url(text: str) -> str:
    """A database's URL without its password; of what is no URL, nothing."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(text).render_as_string(hide_password=True)
    except ArgumentError:
        return "***"
