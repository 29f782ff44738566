"""URL layouts, each a blueprint in a module of its own."""

from __future__ import annotations

from importlib import import_module

from flask import Flask

LAYOUTS = {
    "legacy": "app.blueprints.legacy:legacy",
    "serverless": "app.blueprints.serverless:serverless",
    "batch": "app.blueprints.batch:batch",
    "rows": "app.blueprints.rows:rows",
    "model packages": "app.blueprints.model_packages:model_packages",
    "replacements": "app.blueprints.replacements:replacements",
    "api tokens": "app.blueprints.api_tokens:api_tokens",
    "management": "app.blueprints.management:management",
    "deployments": "app.blueprints.deployments:deployments",
    "deployment settings": "app.blueprints.deployment_settings:deployment_settings",
    "projects": "app.blueprints.projects:projects",
    "health": "app.blueprints.health:health",
    "metrics": "app.blueprints.metrics:metrics",
    "docs": "app.blueprints.docs:docs",
}


def register_layouts(app: Flask) -> None:
    """Put every layout's URLs on the application."""
    for place in LAYOUTS.values():
        module, _, name = place.partition(":")
        app.register_blueprint(getattr(import_module(module), name))
