import pytest

from benchmarks.report import Outcome, Part, heading, machine, table

ENOUGH = Part("against bare", 0.8, ">=", 0.7, details={"rounds": 5})
TOO_MUCH = Part("memory", 80.0, "<=", 60.0, "MB")
SHOWN = Part("255 leaves", 3.0, ">=", None)


@pytest.mark.parametrize(
    ("ratio", "good", "bar", "met"),
    [
        (1.6, "<=", 1.6, True),
        (1.61, "<=", 1.6, False),
        (0.7, ">=", 0.7, True),
        (0.69, ">=", 0.7, False),
        (0.0, "<=", 0.0, True),
        (1.0, "<=", 0.0, False),
    ],
)
def test_part_is_met_on_its_bar_and_beyond(ratio, good, bar, met):
    part = Part("", ratio, good, bar)
    assert part.met is met
    assert (part.strain <= 1) is met


def test_worst_part_stands_at_the_top():
    outcome = Outcome("speed", "OMP_NUM_THREADS=1", "trees", [ENOUGH, TOO_MUCH])
    found = outcome.to_json({"cpu": "2 cores"})
    assert found["ratio"] == 80.0
    assert found["bar"] == 60.0
    assert found["good"] == "<="
    assert found["unit"] == "MB"
    assert found["worst"] == "memory"
    assert found["met"] is False
    assert found["engine"] == "trees"
    assert found["omp"] == "OMP_NUM_THREADS=1"
    assert found["machine"] == {"cpu": "2 cores"}
    assert found["parts"][0] == {
        "name": "against bare",
        "ratio": 0.8,
        "good": ">=",
        "bar": 0.7,
        "unit": "×",
        "met": True,
        "rounds": 5,
    }


def test_table_shows_parts_bars_and_omp():
    outcome = Outcome(
        "speed", "OMP=1", "trees", [ENOUGH, TOO_MUCH], {"notes": ["quiet"]}
    )
    lines = table({"P1": outcome}).splitlines()
    assert lines[2].split() == "P1 = speed 80 MB ≤ 60 MB MISSED".split()
    assert lines[3].split() == "against bare 0.8 × ≥ 0.7 × met".split()
    assert [line.strip() for line in lines[-2:]] == ["OMP=1; trees", "quiet"]


def test_part_without_a_bar_is_shown_not_judged():
    outcome = Outcome("speed", "OMP=1", "trees", [SHOWN, ENOUGH])
    assert outcome.met and outcome.worst is ENOUGH
    assert (
        table({"P3": outcome}).splitlines()[3].split()
        == "255 leaves 3 × no bar".split()
    )
    assert outcome.to_json({})["parts"][0]["met"] is None


def test_machine_names_cores_and_versions():
    found = machine()
    assert "cores of" in found["cpu"]
    assert {"python", "lightgbm", "foretell", "gunicorn"} <= set(found)
    assert "share these cores" in heading(found)
