"""The curves of a run: `metrics.jsonl` in its workdir, and what its loggers make of the rows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.engine.workdir import METRICS_FILE
from training.report.lines import lines_of
from training.report.loggers import DEFAULT, open_loggers
from training.report.logs import say


class MetricsWriter:
    """Writes scalars to `metrics.jsonl` and passes them on to loggers.

    A run that continues after `step` drops later lines of the file, as their steps are done again.
    It drops damaged lines too, and says how many.

    Args:
        workdir: the run's folder.
        step: number of steps that are done.
        loggers: some of `training.report.loggers.LOGGERS`.
        config: of the run, of JSON's types, which some loggers show.

    Raises:
        ValueError: a logger could not be started.
    """

    def __init__(
        self,
        workdir: PathLike,
        step: int = 0,
        loggers: Sequence[str] = DEFAULT,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = as_path(workdir) / METRICS_FILE
        rows, damaged = _read(self._path)
        if damaged:
            say(f"{damaged} damaged lines of {self._path} are dropped.")
        kept = [row for row in rows if row["step"] <= step]
        self._lines = lines_of(self._path)
        self._lines.begin("".join(json.dumps(row) + "\n" for row in kept))
        self._loggers = open_loggers(loggers, self._path.parent, step, config or {})

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends a row of numbers.

        Raises:
            OSError: the disk is full.
        """
        self._lines.add(json.dumps({"step": step, **scalars}) + "\n")
        for logger in self._loggers:
            logger.write(step, scalars)

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Passes a uint8 picture [H, W, 3] on to the loggers."""
        for logger in self._loggers:
            logger.write_picture(step, name, picture)

    def flush(self) -> None:
        """Writes the rows that are not written yet, as those in a bucket may be."""
        self._lines.flush()

    def close(self, failed: bool = False) -> None:
        """Writes what is not written yet, and ends the runs of the loggers.

        Args:
            failed: whether the run ends by an error.
        """
        try:
            self.flush()
        finally:
            for logger in self._loggers:
                logger.close(failed)


def read_metrics(workdir: PathLike) -> list[dict[str, Any]]:
    """Returns the rows of a workdir's `metrics.jsonl`, without the damaged ones."""
    return _read(as_path(workdir) / METRICS_FILE)[0]


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
