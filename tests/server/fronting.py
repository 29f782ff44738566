"""A real nginx, with the site made from the settings, in front of a server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.config import Config
from app.nginx import site
from tests.server.processes import Endpoint, end, wait_for
from tests.server.served_models import ServedModels

_NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# Where the tests must run, a missing nginx is an error of each.
needs_nginx = pytest.mark.skipif(
    _NGINX is None and not os.environ.get("CI"), reason="nginx is not installed"
)

_MAIN = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/other.log;
    {more}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


@contextmanager
def fronting(
    models: ServedModels, folder: Path, config: Config, more: str = ""
) -> Iterator[Endpoint]:
    """nginx on a port of its own.

    folder: where it writes. more: said beside the site, for all that nginx serves.
    """
    assert _NGINX is not None, "nginx is not installed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (
        site(config)
        .replace("listen 80;", f"listen 127.0.0.1:{port};")
        .replace("/var/log/nginx/", f"{folder}/")
    )
    user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(_MAIN.format(user=user, folder=folder, site=text, more=more))
    with open(folder / "output.log", "wb") as output:
        process = subprocess.Popen(
            [_NGINX, "-p", folder, "-e", folder / "error.log", "-c", main],
            stdout=output,
            stderr=output,
        )
    front = Endpoint(models, port)
    try:
        wait_for(lambda: _listens(front, process, folder))
        yield front
    finally:
        front.close_connections()
        end(process)


def _listens(front: Endpoint, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "error.log").read_text()
    try:
        front.open_socket().close()
    except ConnectionRefusedError:
        return False
    return True
