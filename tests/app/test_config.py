"""Settings from the environment."""

from pathlib import Path

import pytest

from app.config import Config, InvalidConfig, environment_name, settings


def test_defaults_need_no_environment():
    config = Config.from_environment({})
    assert config.max_body == 52_428_800
    assert config.workers >= 1
    assert config.database_url.startswith("sqlite:///")


def test_home_sets_where_the_database_lies(tmp_path):
    config = Config.from_environment({"FORETELL_HOME": str(tmp_path)})
    assert config.home == tmp_path
    assert config.database_url == f"sqlite:///{tmp_path}/foretell.db"


def test_every_wrong_setting_is_reported_at_once():
    environ = {
        "FORETELL_MAX_ROWS": "many",
        "FORETELL_MAX_BODY": "-1",
        "FORETELL_MAXIMUM": "1",
        "FORETELL_REQUEST_SECONDS": "nan",
    }
    with pytest.raises(InvalidConfig) as refusal:
        Config.from_environment(environ)
    for name in environ:
        assert name in str(refusal.value)


def test_every_setting_says_what_it_means():
    assert all(field.metadata["meaning"] for field in settings())
    assert environment_name("max_body") == "FORETELL_MAX_BODY"


def test_home_is_made_absolute():
    assert Config(home=Path("somewhere")).home.is_absolute()


def test_kernels_lie_in_the_state_folder_unless_said_otherwise(own_kernels, tmp_path):
    environ = {"FORETELL_HOME": str(tmp_path), "FORETELL_KERNELS": ""}
    assert Config.from_environment(environ).kernels == tmp_path / "kernels"
    environ["FORETELL_KERNELS"] = "/var/cache/foretell"
    assert Config.from_environment(environ).kernels == Path("/var/cache/foretell")
