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
    # Less than FORETELL_KEEP_ALIVE: a request must not meet a closing connection.
    keepalive_timeout ${reuse}s;
}

# The rows API has errors of a shape of its own.
map $$request_uri $$foretell_rows {
    default 0;
    "~^/+deployment/" 1;
}

# Bundles, and inputs of batch jobs, may be larger than requests for predictions.
map $$request_uri $$foretell_limit {
    default $max_body;
    "~^/+api/+v2/+(batchPredictions|modelPackages)([/?]|$$)" $max_upload;
}

# Not nginx's own format, which has the user's name: the rows API takes a token there.
log_format foretell '$$remote_addr - - [$$time_local] "$$request" $$status '
                    '$$body_bytes_sent "$$http_user_agent" $$request_time';

server {
    listen 80;
    server_name _;
    server_tokens off;
    access_log /var/log/nginx/access.log foretell;

    # FORETELL_MAX_BODY.
    client_max_body_size $max_body;
    client_body_buffer_size 256k;
    client_body_timeout 60s;
    # A request line, or a header, of up to 8,190 bytes, as in the server.
    large_client_header_buffers 8 8k;
    # FORETELL_KEEP_ALIVE.
    keepalive_timeout ${keep_alive}s;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    # With its port, for the addresses that clients are told. Without a host it is not
    # sent, and they are told paths.
    proxy_set_header Host $$http_host;
    # Set, not appended: what a client claims does not count.
    proxy_set_header X-Forwarded-For $$remote_addr;
    proxy_set_header X-Forwarded-Proto $$scheme;
    proxy_connect_timeout 5s;
    # FORETELL_REQUEST_SECONDS and a little: the server answers 504 itself.
    proxy_read_timeout ${patience}s;
    proxy_send_timeout ${patience}s;

    location / {
        proxy_pass http://foretell;
        # nginx takes slow uploads off the server's threads, and streams large answers.
        proxy_request_buffering on;
        proxy_buffers 16 64k;
        proxy_buffer_size 64k;
        proxy_busy_buffers_size 128k;
    }

    # Files of any size, which pass through: no disk of nginx's holds them.
    location ~ ^/api/v2/(batchPredictions|modelPackages)(/|$$) {
        proxy_pass http://foretell;
        # FORETELL_MAX_UPLOAD.
        client_max_body_size $max_upload;
        proxy_request_buffering off;
        proxy_buffering off;
        # Some clients read a download's bytes as they come, and cannot inflate them.
        gzip off;
        # A download waits for rows that are being scored.
        proxy_read_timeout 1d;
    }

    # For monitoring on the server's own machine.
    location = /metrics {
        return 404;
    }

    # Errors of nginx itself, in the shape of the application's.
$error_pages}
""")


# Not named locations (@…): nginx goes to none for a request whose URL it cannot read.
# Without a limit: of a body in chunks nginx counts what has come, and would find no
# page for one that is too large.
_ERROR_PAGE = """\
    error_page {statuses} /.nginx/{status};
    location = /.nginx/{status} {{
        internal;
        default_type application/json;{headers}
        client_max_body_size 0;
        if ($foretell_rows) {{
            return {status} '{{"errorCode": "{code}", "errorMessage": "{message}"}}';
        }}
        return {status} '{{"message": "{message}"}}';
    }}
"""

# 494 is nginx's own number for headers that are too large. Of each: the rows API's
# code, and the text.
_ERRORS = {
    "400 494": ("BadData", "The request cannot be read"),
    "404": ("ResourceNotFound", "The requested URL was not found on the server."),
    "405": ("MethodNotAllowed", "The method is not allowed for the requested URL."),
    "413": ("RequestTooLarge", "The body is larger than $foretell_limit bytes"),
    "414": ("RequestTooLarge", "The request line is too long"),
    "500": ("InternalError", "The server met an internal error"),
    "501": ("NotImplemented", "The transfer encoding is not supported"),
    "502": ("ServiceUnavailable", "The server does not answer; try again shortly"),
    "504": ("GatewayTimeout", "The request took longer than the server allows"),
    "505": ("NotImplemented", "The HTTP version is not supported"),
}
_HEADERS = {"502": "\n        add_header Retry-After 1 always;"}


def site(config: Config) -> str:
    """The text of the site, to be put into nginx's `http` block."""
    pages = [
        _ERROR_PAGE.format(
            statuses=statuses,
            status=statuses[:3],
            headers=_HEADERS.get(statuses, ""),
            code=code,
            message=message,
        )
        for statuses, (code, message) in _ERRORS.items()
    ]
    return _SITE.substitute(
        upstream=config.bind,
        max_body=config.max_body,
        max_upload=config.max_upload,
        keep_alive=config.keep_alive,
        reuse=max(1, config.keep_alive - 5),
        patience=int(config.request_seconds) + _GRACE_SECONDS,
        error_pages="".join(pages),
    )
