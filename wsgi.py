"""The WSGI application that gunicorn serves."""

from app.lean import settle_pyarrow_without_pandas

# Before anything makes an array.
settle_pyarrow_without_pandas()

from app.factory import create_app  # noqa: E402

application = create_app()
