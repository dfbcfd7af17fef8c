"""What is written and said of a run while it goes."""

from sassl_tf import plot
from training.report.metrics import MetricsWriter
from training.report.pictures import draw_views, first_views
from training.report.progress import Progress
from training.report.representation import Representation

PICTURED_IMAGES = 8


class Watch:
    """Curves, a line for people, and a picture of the views; from the chief of several workers.

    Args:
        workdir: the run's folder.
        method: the Keras model under training.
        dataset: the `ImageDataset` it trains on.
        config: see `training/configs`.
        start: how many steps are done.
        total_steps: of the run.
        steps_per_epoch: batches an epoch.
        chief: whether this process is the one to write.
    """

    def __init__(
        self, workdir, method, dataset, config, start, total_steps, steps_per_epoch, chief
    ):
        self._workdir, self._dataset, self._config = workdir, dataset, config
        self._chief, self._optimizer = chief, method.optimizer
        self.progress = Progress(start, total_steps, config.batch_size, steps_per_epoch)
        if chief:
            self._metrics = MetricsWriter(workdir, start)
            self._representation = Representation(method.encoder, dataset, config)

    def picture(self, step, batch):
        """Draws the first views of a batch."""
        if not self._chief:
            return
        columns = first_views(self._dataset, batch, PICTURED_IMAGES)
        views = draw_views(columns, self._config.dataset)
        plot.save(views, self._workdir / "views.png")
        self._metrics.write_picture(step, "views", plot.pixels(views))

    def report(self, step, scalars, representation):
        """Writes a row of {name: float}; the representation's measures too, if asked for."""
        if not self._chief:
            return
        row = {**scalars, "learning_rate": float(self._optimizer.learning_rate)}
        row.update(self.progress.measure(step))
        if representation:
            row.update(self._representation.measure())
        self.progress.show(step, row)
        self._metrics.write(step, row)

    def estimate(self, step):
        """Tells how long the run will take."""
        if self._chief:
            self.progress.estimate(step)

    def close(self):
        if self._chief:
            self._metrics.close()
