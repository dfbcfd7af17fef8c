"""The moments of a run at which something besides training is done."""


def due(step: int, every: int, last: int) -> bool:
    """Returns whether something is due after a step.

    Args:
        step: the number of the step that is done.
        every: number of steps from one time to the next; 0 for after the last step alone.
        last: the number of the run's last step, after which everything is due.
    """
    return step == last or (every > 0 and step % every == 0)
