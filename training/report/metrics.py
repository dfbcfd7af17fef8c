"""The curves of a run: `metrics.jsonl` and TensorBoard events in its workdir."""

import json
import pathlib

import tensorflow as tf

from sassl_tf.files import flush, replacing, writing
from training.report.logs import say


class MetricsWriter:
    """Writes scalars of steps to both.

    A run that continues at `step` drops later lines of the file: their steps are done again. It
    drops damaged ones too, and says how many.

    Args:
        workdir: the run's folder.
        step: how many steps are done.
    """

    def __init__(self, workdir, step=0):
        self._folder = pathlib.Path(workdir)
        self._path = self._folder / "metrics.jsonl"
        rows, damaged = _read(self._path)
        if damaged:
            say(f"{damaged} damaged lines of {self._path} are dropped.")
        kept = [row for row in rows if row["step"] <= step]
        with replacing(self._path) as beside:
            beside.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._events = tf.summary.create_file_writer(str(workdir))

    def write(self, step, scalars):
        """Appends a row of numbers.

        Raises:
            OSError: the disk is full.
        """
        with writing(self._path):
            with open(self._path, "a") as file:
                file.write(json.dumps({"step": step, **scalars}) + "\n")
            flush(self._path)
        with writing(self._folder), self._events.as_default(step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def write_picture(self, step, name, picture):
        """Adds a uint8 picture [H, W, 3] to TensorBoard."""
        with writing(self._folder), self._events.as_default(step):
            tf.summary.image(name, picture[None])

    def close(self):
        with writing(self._folder):
            self._events.close()


def read_metrics(workdir):
    """The rows of a workdir's `metrics.jsonl`; damaged ones are left out."""
    return _read(pathlib.Path(workdir) / "metrics.jsonl")[0]


def _read(path):
    """(rows, how many lines are none); of a last line that a kill has cut off nothing is said."""
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    *lines, cut_off = text.split("\n")
    found = [_row(line) for line in lines]
    rows = [row for row in [*found, _row(cut_off)] if row is not None]
    return rows, found.count(None)


def _row(line):
    """What a line holds, or None if it is no row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
