"""The WSGI application that gunicorn serves."""

from app.factory import create_app

application = create_app()
