"""The costs of the attention are measured on what they say they are."""

import pytest

from experiments.benches.attention import Cost, measure, table


@pytest.mark.parametrize(("kind", "points"), [("truncated", 7), ("plain twin", 7), ("whole line", 32)])
def test_every_kind_is_measured_with_its_own_points(kind: str, points: int):
    cost = measure(kind, 32)
    assert cost.points == points and cost.seconds > 0


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="half"):
        measure("half", 32)


def test_the_table_tells_ratios_to_the_truncated_one():
    text = table([Cost("truncated", 64, 7, 0.5, 10.0), Cost("whole line", 64, 64, 2.0, 80.0)])
    assert "4.0 x time, 8.0 x memory" in text
