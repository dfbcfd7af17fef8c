"""The curves of a run: `metrics.jsonl` and TensorBoard events in its workdir."""

import json
import pathlib

import tensorflow as tf

from sassl_tf.files import replacing


class MetricsWriter:
    """Writes scalars of steps to both.

    A run that continues at `step` drops later lines of the file: their steps are done again.

    Args:
        workdir: the run's folder.
        step: how many steps are done.
    """

    def __init__(self, workdir, step=0):
        self._path = pathlib.Path(workdir) / "metrics.jsonl"
        kept = [row for row in read_metrics(workdir) if row["step"] <= step]
        with replacing(self._path) as beside:
            beside.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._events = tf.summary.create_file_writer(str(workdir))

    def write(self, step, scalars):
        """Appends a row of numbers."""
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        with self._events.as_default(step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def write_picture(self, step, name, picture):
        """Adds a uint8 picture [H, W, 3] to TensorBoard."""
        with self._events.as_default(step):
            tf.summary.image(name, picture[None])

    def close(self):
        self._events.close()


def read_metrics(workdir):
    """The rows of a workdir's `metrics.jsonl`; a last line cut off by a kill is left out."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
