import pytest

from backends.timeseries.backend import TargetBackend
from benchmarks import forecasts, timing
from benchmarks.bars import forecasts as bar
from benchmarks.workspace import Workspace, WrongAnswer

SERIES = 12


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, kernels):
    """A workspace with a packaged model of fewer series and trees."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecasts, "SERIES", SERIES)
        patch.setattr(forecasts, "_TREES", 5)
        made = folder / "forecasts"
        made.mkdir()
        forecasts.make(made)
        workspace = Workspace(folder, {}, "", {})
        patch.setattr(Workspace, "kernels", kernels)
        forecasts.foretell(["user", "add", "bench", "--admin"], workspace.state)
        patch.setattr(timing, "_SECONDS", 0.0)
        patch.setattr(bar, "SERIES", SERIES)
        patch.setattr(bar, "made_once", lambda *_: made)
        yield workspace


def test_forecasts_are_timed_against_parsing_and_predicting(workspace):
    outcome = bar.measure(workspace)
    assert [part.bar for part in outcome.parts] == [2.0, None]
    assert all(part.ratio > 0 for part in outcome.parts)
    assert f"forecasts in process: {SERIES} series" in outcome.what
    assert outcome.details["notes"][0].startswith("CSV to JSON ")


def test_wrong_forecasts_are_not_timed(workspace, monkeypatch):
    answers = TargetBackend._answers
    monkeypatch.setattr(
        TargetBackend, "_answers", lambda self, matrix: answers(self, matrix) + 1e-8
    )
    with pytest.raises(WrongAnswer, match="forecasts are 1"):
        bar.measure(workspace)
