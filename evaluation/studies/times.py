"""Estimates of how long the rest of a study takes, from what is done."""

from collections import defaultdict

import numpy as np


class Times:
    """Seconds that were measured, by arm, and how many times each arm is still to be done."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.waiting: defaultdict[str, int] = defaultdict(int)

    def add(self, arm: str, seconds: float) -> None:
        """Adds a measured time."""
        self.seconds[arm].append(seconds)

    def wait(self, arm: str, count: int) -> None:
        """Adds to how many times an arm is to be done."""
        self.waiting[arm] += count

    def left(self) -> float | None:
        """Returns the seconds that are left; None if something is to be done and nothing was.

        An arm without a time takes the mean of all.
        """
        every = [value for values in self.seconds.values() for value in values]
        counts = {arm: count for arm, count in self.waiting.items() if count}
        if counts and not every:
            return None
        means = {arm: float(np.mean(self.seconds.get(arm) or every)) for arm in counts}
        return sum(count * means[arm] for arm, count in counts.items())
