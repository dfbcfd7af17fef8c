"""The line that tells how far a run is."""

from training.report import progress


def test_durations():
    assert [progress.clock(s) for s in (7.2, 754, 3723)] == ["0:07", "12:34", "1:02:03"]
