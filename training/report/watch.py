"""Reports on a run while it trains: curves, lines, and a picture of the views."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from sassl_tf import plot
from sassl_tf.representation.attention import class_attention, has_class_attention
from training.engine.preemption import Preempted
from training.engine.workdir import ATTENTION_FILE, VIEWS_FILE
from training.report.loggers import DEFAULT
from training.report.metrics import MetricsWriter
from training.report.pictures import draw_views, first_views
from training.report.progress import Progress
from training.report.representation import Representation

if TYPE_CHECKING:
    from training.engine.loop import Run

PICTURED_IMAGES = 8
PICTURED_ATTENTION = 4  # images


class Watch:
    """Writes the curves and the picture of a run, and prints its progress.

    Of several workers, the chief alone writes and prints.

    Args:
        run: a `training.engine.loop.Run`, restored.
        loggers: some of `training.report.loggers.LOGGERS`.

    Raises:
        ValueError: a logger could not be started.
    """

    def __init__(self, run: Run, loggers: Sequence[str] = DEFAULT) -> None:
        plan = run.plan
        self._run = run
        self.progress = Progress(
            run.start, plan.total_steps, plan.config.batch_size, plan.steps_per_epoch
        )
        if run.chief:
            config = json.loads(plan.config.to_json())
            self._metrics = MetricsWriter(run.workdir, run.start, loggers, config)
            self._representation = Representation(run.method.encoder, plan.dataset, plan.config)

    def picture(self, step: int, batch: Mapping[str, tf.Tensor]) -> None:
        """Draws the first views of a batch.

        The file keeps those of the first step, whatever a run that continues sees.
        """
        if not self._run.chief:
            return
        plan = self._run.plan
        columns = first_views(plan.dataset, batch, PICTURED_IMAGES)
        self._pictured = columns["original"][:PICTURED_ATTENTION]
        views = draw_views(columns, plan.config.dataset)
        file = self._run.workdir / VIEWS_FILE
        if not self._run.start or not file.exists():
            plot.save(views, file)
        self._metrics.write_picture(step, "views", plot.pixels(views))

    def report(self, step: int, scalars: Mapping[str, float], representation: bool) -> None:
        """Writes a row of metrics and prints a line.

        Args:
            step: the number of the step that is done.
            scalars: {name: float} of the method.
            representation: whether to measure the encoder's features as well.
        """
        if not self._run.chief:
            return
        row = {**scalars, **self.progress.measure(step)}
        if representation:
            row.update(self._representation.measure())
            self._picture_attention(step)
        self.progress.show(step, row)
        self._metrics.write(step, row)

    def flush(self) -> None:
        """Writes the rows that are not written yet; call it before a checkpoint is saved."""
        if self._run.chief:
            self._metrics.flush()

    def _picture_attention(self, step):
        """Draws the class token's attention in the first images, if the encoder has one."""
        encoder = self._run.method.encoder
        if not has_class_attention(encoder):
            return
        drawn = plot.attention_grid(self._pictured, class_attention(encoder, self._pictured))
        plot.save(drawn, self._run.workdir / ATTENTION_FILE)
        self._metrics.write_picture(step, "attention", plot.pixels(drawn))

    def estimate(self, step: int) -> None:
        """Prints how long the run will take."""
        if self._run.chief:
            self.progress.estimate(step)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the last curves, and tells the loggers whether the run failed."""
        if self._run.chief:
            self._metrics.close(failed=kind is not None and not issubclass(kind, Preempted))
