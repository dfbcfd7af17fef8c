"""The choices about the input that change its speed, and nothing of what it gives."""

import dataclasses

from sassl_tf.datasets.dataset import READS_IN_FLIGHT


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """The choices of a process.

    Attributes:
        data_service: "HOST:PORT" of the dispatcher of a data service that makes the views; "" for
            this host.
        reads_in_flight: number of images (or windows) that a host reads at a time.
        measure_seconds: how long the speed of the input is measured before the first step; 0 for
            not at all.
    """

    data_service: str = ""
    reads_in_flight: int = READS_IN_FLIGHT
    measure_seconds: float = 0.0


DEFAULT_INPUT = InputOptions()
