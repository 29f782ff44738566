"""gunicorn's settings for the bare view: those of the server it is compared with."""

import runpy
from pathlib import Path

_PROJECT = Path(__file__).parent.parent / "gunicorn.conf.py"

# Which application, and what only that application can do.
_ITS_OWN = {"wsgi_app", "on_starting", "pre_fork", "post_worker_init", "child_exit"}

globals().update(
    {
        name: value
        for name, value in runpy.run_path(str(_PROJECT)).items()
        if not name.startswith("_") and name not in _ITS_OWN
    }
)
