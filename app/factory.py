"""The application: config → services → errors → layouts."""

from __future__ import annotations

from flask import Flask

from app.blueprints import register_layouts
from app.config import Config
from app.error_handlers import register_error_handlers
from app.front import Front
from app.services import Services


def create_app(config: Config | None = None) -> Flask:
    """Make the application; nothing is opened or started yet.

    Raises InvalidConfig.
    """
    config = config or Config.from_environment()
    app = Flask("app", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body
    app.config["MAX_FORM_MEMORY_SIZE"] = config.max_body
    app.extensions["foretell"] = Services(config)
    register_error_handlers(app)
    register_layouts(app)
    # Assigning wsgi_app is Flask's documented way to wrap the application.
    app.wsgi_app = Front(app)  # type: ignore[assignment, method-assign]
    return app
