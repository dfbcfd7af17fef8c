"""A line at the start of a run: which of input and train step limits it, and what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sassl_tf.datasets.dataset import naming_damaged
from training.engine.strategy import worker
from training.input.data_service import next_within, served
from training.input.options import InputOptions
from training.input.pipeline import view_batches
from training.input.speed import StepTimer, input_speed, is_accelerated, steps_needed, verdict
from training.report.logs import say

if TYPE_CHECKING:
    from training.engine.loop import Run


class InputCheck:
    """Measures the input by itself, then some of the first steps, and prints which limits.

    Nothing of it changes what the run computes: the batches that are measured are made once more
    for the training, and the steps that are timed are its own.

    Args:
        run: a `training.engine.loop.Run`, restored.
        options: `measure_seconds` above 0 switches it on; of several workers, the chief prints.
    """

    def __init__(self, run: Run, options: InputOptions) -> None:
        self._run, self._options = run, options
        self._timer: StepTimer | None = None
        if not options.measure_seconds:
            return
        left, needed = run.plan.total_steps - run.start, steps_needed(run.plan.config.accumulate)
        if left < needed:
            say(f"  input    is not measured: that takes {needed} steps, and {left} are left")
            return
        say(f"  input    is measured for {options.measure_seconds:g} seconds")
        self._speed = _measured(run, options)
        self._timer = StepTimer(run.start)

    def step(self, number: int, train_step: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the result of a train step, or of a part of one.

        Args:
            number: of the step.
            train_step: what takes it.
            arguments: of that function.
        """
        if self._timer is None:
            return train_step(*arguments)
        scalars = self._timer(number, train_step, *arguments)
        if self._timer.is_done:
            if self._run.chief:
                say(f"  input    {self._verdict(self._timer.seconds)}")
            self._timer = None
        return scalars

    def _verdict(self, step_seconds):
        plan = self._run.plan
        return verdict(
            self._speed,
            plan.config.batch_size // plan.config.accumulate / step_seconds,
            worker(plan.strategy)[1],
            plan.config,
            self._options.data_service,
            is_accelerated(),
        )


def _measured(run, options):
    """Returns the `InputSpeed` of this host, of batches that go nowhere."""
    plan = run.plan
    number, hosts = worker(plan.strategy)
    batches = view_batches(
        plan.dataset,
        plan.config,
        plan.augment,
        run.start,
        share=(number, hosts),
        reads=options.reads_in_flight,
    )
    if options.data_service:
        batches = served(batches, options.data_service)
    iterator = iter(batches)
    take = next_within if options.data_service else next
    images = plan.config.batch_size // plan.config.accumulate // hosts
    with naming_damaged(plan.dataset):
        return input_speed(lambda: take(iterator), images, options.measure_seconds)
