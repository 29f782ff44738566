"""The nginx site in front of the server, from the same settings as the server."""

from __future__ import annotations

from string import Template

from app.config import Config

# How much longer nginx waits than the application, so that the application's own
# 504 comes first.
_GRACE_SECONDS = 10

_SITE = Template("""\
# nginx in front of foretell. Made by `foretell nginx` from the FORETELL_* settings, so
# that nginx and the server have the same limits: make it anew when a setting changes.

upstream foretell {
    # gunicorn answers or refuses; nginx must not mark it as down for a while.
    server $upstream fail_timeout=0;
    keepalive 64;
}

server {
    listen 80;
    server_name _;
    server_tokens off;

    # FORETELL_MAX_BODY.
    client_max_body_size $max_body;
    client_body_buffer_size 256k;
    client_body_timeout 60s;
    # A request line of up to 8,190 bytes; the rest are headers.
    large_client_header_buffers 4 16k;
    # FORETELL_KEEP_ALIVE.
    keepalive_timeout ${keep_alive}s;

    # Errors of nginx itself, in the shape of the application's.
    error_page 400 494 @bad_request;
    error_page 413 @too_large;
    error_page 414 @line_too_long;
    error_page 502 @unavailable;
    error_page 504 @too_slow;

    location / {
        proxy_pass http://foretell;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $$host;
        # Set, not appended: what a client claims does not count.
        proxy_set_header X-Forwarded-For $$remote_addr;
        proxy_set_header X-Forwarded-Proto $$scheme;
        proxy_connect_timeout 5s;
        # FORETELL_REQUEST_SECONDS and a little: the server answers 504 itself.
        proxy_read_timeout ${patience}s;
        proxy_send_timeout ${patience}s;
        # nginx takes slow uploads off the server's threads, and streams large answers.
        proxy_request_buffering on;
        proxy_buffers 16 64k;
        proxy_buffer_size 64k;
        proxy_busy_buffers_size 128k;
    }

    location @bad_request {
        internal;
        default_type application/json;
        return 400 '{"message": "The request cannot be read"}';
    }
    location @too_large {
        internal;
        default_type application/json;
        return 413 '{"message": "The body is larger than $max_body bytes"}';
    }
    location @line_too_long {
        internal;
        default_type application/json;
        return 414 '{"message": "The request line is too long"}';
    }
    location @unavailable {
        internal;
        default_type application/json;
        add_header Retry-After 1 always;
        return 502 '{"message": "The server does not answer; try again shortly"}';
    }
    location @too_slow {
        internal;
        default_type application/json;
        return 504 '{"message": "The request took longer than the server allows"}';
    }
}
""")


def site(config: Config) -> str:
    """The text of the site, to be put into nginx's `http` block."""
    return _SITE.substitute(
        upstream=config.bind,
        max_body=config.max_body,
        keep_alive=config.keep_alive,
        patience=int(config.request_seconds) + _GRACE_SECONDS,
    )
