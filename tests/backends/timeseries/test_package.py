import subprocess
import sys

import pytest

import backends.timeseries
from backends.timeseries.frames import training_frame
from backends.timeseries.spec_json import load_spec


def test_what_training_code_needs_is_imported_from_the_package():
    assert backends.timeseries.training_frame is training_frame
    assert backends.timeseries.load_spec is load_spec
    for name in backends.timeseries.__all__:
        assert getattr(backends.timeseries, name).__name__ == name


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="has no attribute 'forecast'"):
        _ = backends.timeseries.forecast


def test_training_code_needs_no_server():
    code = (
        "import sys; from backends.timeseries import *;"
        "print(*sorted({'flask', 'app', 'schemas', 'gunicorn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""
