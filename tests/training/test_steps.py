"""The steps after which something is due."""

import pytest

from training.engine.steps import due


@pytest.mark.parametrize(
    ("every", "expected"), [(3, [3, 6, 7]), (1, [1, 2, 3, 4, 5, 6, 7]), (0, [7]), (9, [7])]
)
def test_every_so_many_steps_and_after_the_last(every, expected):
    assert [step for step in range(1, 8) if due(step, every, last=7)] == expected
