"""The curves of a run: `metrics.jsonl` and TensorBoard events in its workdir."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from sassl_tf.files import flush, replacing, writing
from sassl_tf.typing import PathLike
from training.engine.workdir import METRICS_FILE
from training.report.logs import say


class MetricsWriter:
    """Writes scalars to `metrics.jsonl` and to TensorBoard.

    A run that continues after `step` drops later lines of the file, as their steps are done again.
    It drops damaged lines too, and says how many.

    Args:
        workdir: the run's folder.
        step: number of steps that are done.
    """

    def __init__(self, workdir: PathLike, step: int = 0) -> None:
        self._folder = pathlib.Path(workdir)
        self._path = self._folder / METRICS_FILE
        rows, damaged = _read(self._path)
        if damaged:
            say(f"{damaged} damaged lines of {self._path} are dropped.")
        kept = [row for row in rows if row["step"] <= step]
        with replacing(self._path) as beside:
            beside.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._events = tf.summary.create_file_writer(str(workdir))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
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

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Adds a uint8 picture [H, W, 3] to TensorBoard."""
        with writing(self._folder), self._events.as_default(step):
            tf.summary.image(name, picture[None])

    def close(self) -> None:
        """Writes what TensorBoard's writer still holds."""
        with writing(self._folder):
            self._events.close()


def read_metrics(workdir: PathLike) -> list[dict[str, Any]]:
    """Returns the rows of a workdir's `metrics.jsonl`, without the damaged ones."""
    return _read(pathlib.Path(workdir) / METRICS_FILE)[0]


def _read(path):
    """Returns the rows, and the number of damaged lines.

    A damaged last line is not counted: a kill cuts it off.
    """
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    *lines, cut_off = text.split("\n")
    parsed = [_row(line) for line in lines]
    rows = [row for row in [*parsed, _row(cut_off)] if row is not None]
    return rows, parsed.count(None)


def _row(line):
    """Returns the dict that a line holds, or None if it is not a row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
