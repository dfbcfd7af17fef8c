r"""A study: arms, seeds and evaluations in one file; trains and evaluates what is missing.

    python -m evaluation.study --study=studies/style.py --workdir=runs/style
    python -m evaluation.study --study=studies/style.py --workdir=runs/style --dry_run

The study file is Python, with a function `get_study()` (see `studies/` and docs/study.md). Runs go
seed by seed, all arms of the first seed first, so that the table is balanced at any moment. The
same command continues, however it ended. After each run it renews `report.md`, `report.json` and
`report.png` in the workdir: every arm's difference to the first arm, paired by seed, with its
confidence interval.

A run is an ordinary workdir of training.pretrain, `runs/ARM/SEED`, evaluated by
evaluation.evaluate. What counts as done is a small file, `results/ARM/SEED.json`: it may be kept
elsewhere (`--results`), and the workdirs may be removed.

`--task=K --tasks=N` does every Nth run, for a cluster's array jobs. Several processes may also
share a workdir without it: each takes a run that no other is at.
"""

import contextlib
import datetime
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import flags

from evaluation.evaluate import EVALUATIONS_FILE
from evaluation.studies.plan import Plan, Run, make_plan, read_study
from evaluation.studies.processes import Failed, Stopped, as_flag, run_command, shown
from evaluation.studies.records import (
    folder_of,
    make_record,
    missing,
    of_encoder,
    others,
    record_of,
    training_seconds,
)
from evaluation.studies.report import REPORT, write_report
from evaluation.studies.times import Times
from sassl_tf.checked import Damaged, cached, read_json, write_json
from sassl_tf.errors import UserError
from sassl_tf.files import make_folder
from training.command import binary
from training.encoders import is_function
from training.engine.assembly import initial_fingerprints
from training.engine.lock import InUse, locked
from training.engine.preemption import StopRequest, stop_requests
from training.engine.workdir import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    checkpoint_steps,
    local_workdir_path,
    writable,
)
from training.report.logs import say
from training.report.progress import clock

RESULTS = "results"
FAILURES = "failures"
LOCKS = "locks"
IN_USE_SECONDS = 5.0  # between two looks at a workdir that another process uses


class Study:
    """A study in its folder.

    Args:
        plan: the checked study.
        workdir: the folder of its runs and its report.
        results: the folder of its records; None for `results` in the workdir.
        task: the number of this task.
        tasks: how many tasks share the runs.
        remove_checkpoints: whether checkpoints and features of finished runs are removed.
    """

    def __init__(
        self,
        plan: Plan,
        workdir: str | pathlib.Path,
        results: str | pathlib.Path | None = None,
        task: int = 0,
        tasks: int = 1,
        remove_checkpoints: bool = False,
    ) -> None:
        if not 0 <= task < tasks:
            raise UserError(
                f"The task is {task} of {tasks}; expected a number from 0 to tasks - 1."
            )
        self.plan, self.workdir = plan, local_workdir_path(workdir)
        self.results = local_workdir_path(results) if results else self.workdir / RESULTS
        self.task, self.tasks, self.remove_checkpoints = task, tasks, remove_checkpoints

    @property
    def share(self) -> Sequence[Run]:
        """The runs of this task."""
        return self.plan.runs[self.task :: self.tasks]

    def waiting(self) -> list[Run]:
        """Returns the runs of this task that are not done."""
        return [run for run in self.share if missing(run, self.plan, self.results)]

    def commands(self, run: Run) -> Iterator[list[str]]:
        """Yields the commands of a run that are not done, as arguments of Python."""
        folder, trained = folder_of(run, self.plan, self.workdir)
        if not trained:
            changes = {**run.changes, "seed": run.seed}
            yield [
                "-m",
                "training.pretrain",
                f"--config={run.config_file}",
                *(f"--config.{name}={as_flag(value)}" for name, value in changes.items()),
                f"--workdir={folder}",
            ]
        # A run that is trained again has another encoder, and nothing of the earlier one holds.
        every = [evaluation.name for evaluation in self.plan.evaluations]
        wanted = missing(run, self.plan, self.results) if trained else every
        lines = [e.line for e in self.plan.evaluations if e.name in wanted]
        more = [f"--data_dir={run.config.data_dir}"] if run.config.data_dir else []
        if is_function(run.config.encoder.name):
            # Layers of one's own are registered when the module is imported.
            more.append(f"--import_module={run.config.encoder.name.partition(':')[0]}")
        yield [
            "-m",
            "evaluation.evaluate",
            f"--encoder={folder}",
            *(f"--evaluation={line}" for line in lines),
            *more,
        ]

    def run(self) -> dict[str, dict[str, Any]]:
        """Trains and evaluates what is missing; returns what failed of it, {name of a run: why}.

        Raises:
            Stopped: a signal asked for it; the same command continues.
        UserError: a run lacks the weights to begin with.
        """
        self.check_initial_weights()
        with writable(self.workdir):
            make_folder(self.workdir)
        self.report()
        busy = []
        with stop_requests() as stop:
            for run in self.share:
                if not missing(run, self.plan, self.results):
                    self._remove_checkpoints(run)
                    continue
                try:
                    with locked(self.workdir / LOCKS / f"{run.arm}-{run.seed}"):
                        self._do(run, stop)
                except InUse:
                    busy.append(run.name)
                self.report()
        if busy:
            say(f"Left to other processes that are at them: {'; '.join(busy)}.")
        tried = {run.name for run in self.share} - {*busy}
        return {name: why for name, why in self.failures().items() if name in tried}

    def check_initial_weights(self) -> None:
        """Raises a UserError if a run that has to begin lacks the weights to begin with.

        A run that has a checkpoint, an encoder or a record does not need them any more.
        """
        for run in self.waiting():
            folder, trained = folder_of(run, self.plan, self.workdir)
            if trained or checkpoint_steps(folder):
                continue
            try:
                initial_fingerprints(run.config.encoder.init_from)
            except UserError as error:
                raise UserError(f"The arm {run.arm}: {error}") from error

    def report(self) -> str:
        """Writes the report and returns it as Markdown."""
        command = [
            "-m",
            "evaluation.study",
            f"--study={self.plan.file}",
            f"--workdir={self.workdir}",
        ]
        if self.results != self.workdir / RESULTS:
            command.append(f"--results={self.results}")
        commands = [shown(command)] if self.plan.file else []
        return write_report(self.plan, self.workdir, self.results, self.failures(), commands)

    def failures(self) -> dict[str, dict[str, Any]]:
        """Returns {name of a run: {"stage", "reason"}} of the runs that failed and are not done."""
        undone = [run for run in self.plan.runs if missing(run, self.plan, self.results)]
        found = {run.name: cached(read_json, self._failure_file(run)) for run in undone}
        return {name: failure for name, failure in found.items() if failure}

    def summary(self) -> str:
        """Returns how much is done, and how long the rest takes."""
        plan, waiting = self.plan, self.waiting()
        lines = [
            f"{len(plan.runs)} runs ({len(plan.arms)} arms, {len(plan.seeds)} seeds), "
            f"{len(waiting)} of this task's {len(self.share)} to do: "
            f"{self._time_left(waiting) if waiting else 'nothing left'}."
        ]
        if not_part := others(plan, self.results):
            lines.append(f"Not part of the study, and kept: {', '.join(not_part)}.")
        return "\n".join(lines)

    def _time_left(self, waiting: Sequence[Run]) -> str:
        """Estimates how long some runs take, from the trainings and evaluations that are done."""
        training, evaluation = Times(), Times()
        for run in self.plan.runs:
            _, record = record_of(run, self.plan, self.results)
            if record:
                training.add(run.arm, record["seconds"]["training"])
            if record.get("evaluations"):
                seconds = record["seconds"]["evaluation"] / len(record["evaluations"])
                evaluation.add(run.arm, seconds)
        for run in waiting:
            _, trained = folder_of(run, self.plan, self.workdir)
            training.wait(run.arm, 0 if trained else 1)
            evaluation.wait(run.arm, len(missing(run, self.plan, self.results)))
        trainings, evaluations = training.left(), evaluation.left()
        if trainings is None or evaluations is None:
            return "unknown until a run is done"
        return f"about {clock(trainings + evaluations)}"

    def _do(self, run: Run, stop: StopRequest) -> None:
        """Trains and evaluates a run, and writes its record or its failure."""
        if not missing(run, self.plan, self.results):
            return  # another process has done it meanwhile
        folder, _ = folder_of(run, self.plan, self.workdir)
        _wait_until_free(folder, stop)
        stage, reason = self._do_missing(run, folder, stop)
        if not reason and missing(run, self.plan, self.results):
            # The record had results of an encoder that is gone, which an earlier start replaced
            # without evaluating the new one. They do not count beside those of the new one.
            stage, reason = self._do_missing(run, folder, stop)
        file = self._failure_file(run)
        if reason:
            say(f"{self._numbered(run)}: {stage} failed: {reason}")
            write_json(file, {"stage": stage, "reason": reason})
            return
        file.unlink(missing_ok=True)
        self._remove_checkpoints(run)

    def _numbered(self, run: Run) -> str:
        return f"[{self.plan.runs.index(run) + 1}/{len(self.plan.runs)}] {run.name}"

    def _do_missing(self, run: Run, folder: pathlib.Path, stop: StopRequest) -> tuple[str, str]:
        """Does the commands of a run that are not done, and writes its record.

        Returns:
            The stage that was done last, "training" or "evaluation", and why it failed, else "".
        """
        log = folder.with_name(f"{folder.name}.log")
        reason, stage, seconds = "", "", 0.0
        for arguments in self.commands(run):
            stage = "training" if arguments[1] == "training.pretrain" else "evaluation"
            if stage == "evaluation":
                # What an earlier start found is not this one's, even if this one is killed at once.
                (folder / EVALUATIONS_FILE).unlink(missing_ok=True)
            say(f"{self._numbered(run)}: {stage}; output in {log}")
            start = time.monotonic()
            try:
                run_command(arguments, log, stop)
            except Failed as failed:
                reason = str(failed)
                break
            finally:
                seconds = time.monotonic() - start
        if stage == "evaluation":
            self._write_record(run, folder, seconds)
            reason = _failed_evaluations(folder) or reason
        return stage, reason

    def _remove_checkpoints(self, run: Run) -> None:
        """Removes what a run that is done and has its encoder needs no more, if that is asked."""
        folder, trained = folder_of(run, self.plan, self.workdir)
        if self.remove_checkpoints and trained:
            for name in (CHECKPOINTS_FOLDER, "features"):
                shutil.rmtree(folder / name, ignore_errors=True)

    def _write_record(self, run: Run, folder: pathlib.Path, seconds: float) -> None:
        """Writes the record of a run, with the evaluations that are done."""
        try:
            found = read_json(folder / EVALUATIONS_FILE)
            config = read_json(folder / CONFIG_FILE)
        except (FileNotFoundError, Damaged):
            return  # the evaluation failed before it had a result
        file, record = record_of(run, self.plan, self.results)
        made = make_record(
            run,
            self.plan,
            config,
            found["results"],
            {
                "training": round(training_seconds(folder), 1),
                "evaluation": round(seconds + record.get("seconds", {}).get("evaluation", 0.0), 1),
            },
            datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )
        made["evaluations"] = {**of_encoder(record, made), **made["evaluations"]}
        write_json(file, made, indent=1)

    def _failure_file(self, run: Run) -> pathlib.Path:
        return self.workdir / FAILURES / f"{run.arm}-{run.seed}.json"


def run_study(study: dict[str, Any], workdir: str | pathlib.Path, **options: Any) -> str:
    """Does all that is missing of a study and returns its report as Markdown.

    Args:
        study: as for `evaluation.studies.plan.make_plan`.
        workdir: the folder of its runs and its report.
        **options: those of `Study`.

    Raises:
        UserError: the study cannot be run.
    """
    whole = Study(make_plan(study), workdir, **options)
    whole.run()
    return whole.report()


def _failed_evaluations(folder: pathlib.Path) -> str:
    """Returns the evaluations of a run that failed, with the reason of each; "" if none did."""
    try:
        failures = read_json(folder / EVALUATIONS_FILE)["failures"]
    except (FileNotFoundError, Damaged):
        return ""
    return " ".join(f"{name}: {why}" for name, why in failures.items())


def _wait_until_free(folder: pathlib.Path, stop: StopRequest) -> None:
    """Waits while a process of an earlier start, which was killed, still uses a run's folder."""
    told = False
    while folder.exists():
        with contextlib.suppress(InUse), locked(folder):
            return
        if not told:
            say(f"{folder} is in use by another process; waiting until it is done.")
            told = True
        time.sleep(IN_USE_SECONDS)
        if stop.number is not None:
            raise Stopped(stop.number)


def main(_: list[str]) -> None:
    values = flags.FLAGS
    # TensorFlow takes all memory of a GPU that it sees. It is for the runs, which are processes of
    # their own.
    tf.config.set_visible_devices([], "GPU")
    plan = make_plan(read_study(values.study), values.study)
    study = Study(
        plan,
        values.workdir,
        values.results,
        values.task,
        values.tasks,
        values.remove_checkpoints,
    )
    say(study.summary())
    if values.dry_run:
        study.check_initial_weights()
        for run in study.waiting():
            print(f"# {run.name}")
            for arguments in study.commands(run):
                print(shown(arguments))
        return
    failures = study.run()
    print(f"{study.workdir / REPORT}.md, .json and .png have the differences to {plan.baseline}.")
    if failures:
        print(f"{len(failures)} runs failed; the same command tries them again:")
        for name, failure in failures.items():
            print(f"  {name}, {failure['stage']}: {failure['reason']}")
        raise SystemExit(1)


if __name__ == "__main__":
    flags.DEFINE_string("study", None, "The study: FILE.py, or FILE.py:TEXT.", required=True)
    flags.DEFINE_string("workdir", None, "The folder of the runs and the report.", required=True)
    flags.DEFINE_string(
        "results", None, "The folder of the finished runs' records; by default WORKDIR/results."
    )
    flags.DEFINE_integer("task", 0, "The number of this task, from 0.", lower_bound=0)
    flags.DEFINE_integer("tasks", 1, "How many tasks share the runs.", lower_bound=1)
    flags.DEFINE_bool("dry_run", False, "Lists what is to do, and does nothing.")
    flags.DEFINE_bool(
        "remove_checkpoints",
        False,
        "Removes checkpoints and features of runs that are done; their encoders stay.",
    )
    binary.run(main, continues=True)
