"""Loggers: adapters that pass the rows of `metrics.jsonl` on to the services that people watch.

`metrics.jsonl` is written in any case, by `training.report.metrics`. A run that goes on continues
the same run of each service; `loggers.json` in the workdir has their names for it.
"""

import dataclasses
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from sassl_tf.checked import cached, read_json, write_json
from sassl_tf.errors import UserError
from sassl_tf.extras import import_extra
from sassl_tf.files import writing
from sassl_tf.nearest import nearest
from sassl_tf.paths import AnyPath, is_url
from training.report.logs import say

RUNS_FILE = "loggers.json"
PROJECT = "sassl_tf"


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """A pretraining as its loggers see it.

    Attributes:
        workdir: its folder.
        config: its config, of JSON's types.
        known: the id under which the service knows it; None if it begins now.
    """

    workdir: AnyPath
    config: Mapping[str, Any]
    known: str | None = None

    @property
    def name(self) -> str:
        """The name that people see, that of the folder."""
        return self.workdir.resolve().name


class Logger(Protocol):
    """The interface of a logger; `id` is what the service knows the run by."""

    id: str

    def __init__(self, run: LoggedRun) -> None: ...

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes a row of numbers."""

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a uint8 picture [H, W, 3]."""

    def close(self, failed: bool) -> None:
        """Ends the run; `failed` tells whether by an error."""


class TensorBoard:
    """Writes event files into the workdir."""

    id = ""

    def __init__(self, run: LoggedRun) -> None:
        self._folder = run.workdir
        self._events = tf.summary.create_file_writer(str(run.workdir))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        with writing(self._folder), self._events.as_default(step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        with writing(self._folder), self._events.as_default(step):
            tf.summary.image(name, picture[None])

    def close(self, failed: bool) -> None:
        with writing(self._folder):
            self._events.close()


class WeightsAndBiases:
    """Logs to Weights & Biases; WANDB_MODE=offline keeps the run in the workdir for `wandb sync`.

    The project is WANDB_PROJECT, or sassl_tf. W&B takes no row of an earlier step than its last, as
    a run that goes on from a checkpoint has them; so `step` is a metric of the row, and the axis of
    all others.
    """

    def __init__(self, run: LoggedRun) -> None:
        self._wandb = import_extra("wandb", "wandb", "--loggers=wandb")
        self.id = run.known or uuid.uuid4().hex[:8]
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=None if is_url(run.workdir) else str(run.workdir),
            id=self.id,
            name=run.name,
            resume="allow",
            config={**run.config},
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._run.log({"step": step, name: self._wandb.Image(picture)})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow:
    """Logs to the MLflow server or database that MLFLOW_TRACKING_URI names.

    The experiment is MLFLOW_EXPERIMENT_NAME, or sassl_tf. The fields of the config are parameters.
    """

    def __init__(self, run: LoggedRun) -> None:
        mlflow = import_extra("mlflow", "mlflow", "--loggers=mlflow")
        self._client, self._entities = mlflow.MlflowClient(), mlflow.entities
        if run.known:
            self.id = run.known
            self._client.update_run(self.id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self.id = self._client.create_run(experiment, run_name=run.name).info.run_id
        fields = [self._entities.Param(name, str(value)) for name, value in flat(run.config)]
        for start in range(0, len(fields), 100):  # the most that a server takes at once
            self._client.log_batch(self.id, params=fields[start : start + 100])

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        rows = [self._entities.Metric(name, value, now, step) for name, value in scalars.items()]
        self._client.log_batch(self.id, metrics=rows)

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._client.log_image(self.id, picture, artifact_file=f"{name}-{step}.png")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


class Trackio:
    """Logs to Trackio: a database of this machine, or TRACKIO_SPACE_ID on Hugging Face."""

    def __init__(self, run: LoggedRun) -> None:
        self._trackio = import_extra("trackio", "trackio", "--loggers=trackio")
        # Trackio knows a run by its name, and workdirs may have the same.
        self.id = run.known or f"{run.name}-{uuid.uuid4().hex[:8]}"
        config = {**run.config}
        self._run = self._trackio.init(PROJECT, name=self.id, config=config, resume="allow")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._trackio.log({**scalars}, step=step)

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._trackio.log({name: self._trackio.Image(picture)}, step=step)

    def close(self, failed: bool) -> None:
        self._trackio.finish()  # Trackio knows no failed runs


LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
DEFAULT = ("tensorboard",)


def check_loggers(names: Sequence[str]) -> None:
    """Checks names of loggers, before anything starts.

    Raises:
        ValueError: a name is not in `LOGGERS`.
        ImportError: a logger's package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise UserError(
                f"There is no logger {name!r}.{nearest(name, LOGGERS)} There are "
                f"{', '.join(LOGGERS)}."
            )
        if name != "tensorboard":
            import_extra(name, name, f"--loggers={name}")


def open_loggers(
    names: Sequence[str], workdir: AnyPath, step: int, config: Mapping[str, Any]
) -> list[Logger]:
    """Starts loggers, or continues their runs.

    Args:
        names: some of `LOGGERS`.
        workdir: the run's folder.
        step: number of steps that are done; at 0 all begin a new run.
        config: of the run, of JSON's types.

    Raises:
        ValueError: a service refused the run.
    """
    file = workdir / RUNS_FILE
    known = {**((cached(read_json, file) or {}) if step else {})}
    opened = []
    for name in names:
        try:
            logger = LOGGERS[name](LoggedRun(workdir, config, known.get(name)))
        except UserError:
            raise
        except Exception as error:  # each package has errors of its own
            raise UserError(
                f"--loggers={name} could not be started ({type(error).__name__}: {error}). Put it "
                "right, or leave this logger out: the same command without it goes on. To begin "
                f"another run of the service, remove {file}."
            ) from error
        opened.append(logger if name == "tensorboard" else Forgiving(name, logger))
        known[name] = logger.id
    if {*names} - {"tensorboard"}:
        write_json(file, {name: value for name, value in known.items() if value})
    return opened


class Forgiving:
    """A logger whose failures are told once and stop nothing: the rows are in `metrics.jsonl` too.

    Args:
        name: of the logger, one of `LOGGERS`.
        logger: the logger.
    """

    def __init__(self, name: str, logger: Logger) -> None:
        self.id, self._name, self._logger, self._told = logger.id, name, logger, False

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes a row of numbers."""
        self._try(self._logger.write, step, scalars)

    def write_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a uint8 picture [H, W, 3]."""
        self._try(self._logger.write_picture, step, name, picture)

    def close(self, failed: bool) -> None:
        """Ends the run."""
        self._try(self._logger.close, failed)

    def _try(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # of the network, most of all
            if not self._told:
                say(
                    f"The logger {self._name} failed ({type(error).__name__}: {error}). Training "
                    "goes on, and metrics.jsonl has all rows."
                )
            self._told = True


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of all fields of a config, those inside others included."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
