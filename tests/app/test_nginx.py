"""The nginx sample and the settings it is made from."""

from pathlib import Path

from app.config import Config
from app.nginx import site

SAMPLE = Path(__file__).parents[2] / "packaging" / "nginx" / "foretell.conf"


def test_sample_is_made_from_the_default_settings():
    assert SAMPLE.read_text() == site(Config(bind="unix:/run/foretell/foretell.sock"))


def test_limits_follow_the_settings():
    text = site(Config(max_body=1234, request_seconds=5, keep_alive=7))
    assert "client_max_body_size 1234;" in text
    assert "proxy_read_timeout 15s;" in text
    assert "keepalive_timeout 7s;" in text
    assert "The body is larger than $foretell_limit bytes" in text
    assert "default 1234;" in text


def test_nginx_ends_connections_before_the_server_does():
    for keep_alive, reuse in ((65, 60), (7, 2), (2, 1)):
        assert f"keepalive_timeout {reuse}s;" in site(Config(keep_alive=keep_alive))


def test_log_is_without_the_users_name():
    text = site(Config())
    assert "access_log /var/log/nginx/access.log foretell;" in text
    assert "$remote_user" not in text and "$http_authorization" not in text


def test_host_keeps_its_port():
    assert "proxy_set_header Host $http_host;" in site(Config())


def test_files_pass_through_without_being_held():
    text = site(Config(max_upload=99_000_000_000))
    place = text.partition("location ~ ^/api/v2/(batchPredictions|modelPackages)")[2]
    place = place.partition("}")[0]
    assert "client_max_body_size 99000000000;" in place
    assert '(batchPredictions|modelPackages)([/?]|$)" 99000000000;' in text
    for line in ("proxy_request_buffering off;", "proxy_buffering off;", "gzip off;"):
        assert line in place
