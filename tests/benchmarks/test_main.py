import re
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.bars import BARS, measure


def test_unknown_bar_exits_2(capsys):
    assert main(["--only", "P77"]) == 2
    assert "'P77' is no bar; there are P1" in capsys.readouterr().err


@pytest.mark.parametrize("name", BARS)
def test_bar_has_something_that_measures_it(name):
    assert callable(measure(name))


def test_every_bar_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    documented = re.findall(r"^\| (P\d) ", page, re.MULTILINE)
    assert documented == sorted(BARS)
