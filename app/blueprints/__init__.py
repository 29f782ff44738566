"""URL layouts, each a blueprint in a module of its own."""

from __future__ import annotations

from importlib import import_module

from flask import Flask

LAYOUTS = {
    "legacy": "app.blueprints.legacy:legacy",
    "serverless": "app.blueprints.serverless:serverless",
    "rows": "app.blueprints.rows:rows",
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
