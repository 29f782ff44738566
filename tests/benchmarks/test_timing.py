import pytest

from benchmarks.timing import interleave, paired_ratio, percentile


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_the_nearest_rank(share, wanted):
    assert percentile(range(100, 0, -1), share) == wanted


def test_percentile_of_one_value_is_that_value():
    assert percentile([3.0], 0.99) == 3.0


def test_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_sides_take_turns_and_turn_around():
    order = []
    sides = {name: lambda name=name: order.append(name) for name in "ab"}
    results = interleave(sides, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(each) for name, each in results.items()} == {"a": 3, "b": 3}


def test_ratio_is_taken_round_by_round():
    # The third round was ten times slower on both sides.
    assert paired_ratio([2.0, 4.0, 30.0], [1.0, 2.0, 10.0]) == 2.0
