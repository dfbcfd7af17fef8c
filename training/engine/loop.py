"""The pretraining loop: one function from a config and a workdir to an encoder."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT, fingerprint_of, naming_damaged
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import AnyPath
from sassl_tf.typing import PathLike
from training.config_checks.check import check_config
from training.configs.earlier import as_written
from training.engine.assembly import (
    Plan,
    compiled_method,
    fingerprints,
    initial_fingerprints,
    make_plan,
    online_probe,
    style_fingerprints,
)
from training.engine.checkpoints import Checkpoints, state_of
from training.engine.lock import locked
from training.engine.preemption import Preempted, stop_requests, stop_wanted
from training.engine.profiler import Profiler
from training.engine.steps import due
from training.engine.strategy import (
    across_workers,
    barrier,
    check_batch_norm_groups,
    check_batch_size,
    checkpoint_options,
    is_chief,
    make_strategy,
    naming_lost_workers,
)
from training.engine.workdir import (
    ENCODER_FILE,
    VIEWS_FILE,
    checkpoint_steps,
    open_workdir,
    workdir_path,
)
from training.input.data_service import next_within
from training.input.options import DEFAULT_INPUT, InputOptions
from training.input.pipeline import distributed_batches, finish_sides
from training.input.placement import placement
from training.methods.online_probe import OnlineProbe, unobserved
from training.methods.parts import WHOLE, parts_of
from training.report import summary
from training.report.input_check import InputCheck
from training.report.loggers import DEFAULT, check_loggers
from training.report.logs import say
from training.report.watch import Watch

ESTIMATE_AFTER = 10  # steps, of which the first is spent on tracing


def pretrain(
    config: ConfigDict,
    workdir: PathLike,
    strategy: str = "auto",
    tpu: str = "",
    profile_steps: int = 0,
    data_service: str = "",
    loggers: Sequence[str] = DEFAULT,
    reads_in_flight: int = READS_IN_FLIGHT,
    measure_input: float = 0.0,
) -> Run:
    """Pretrains an encoder, continuing where the workdir's last checkpoint stands.

    Args:
        config: see `training/configs`.
        workdir: folder of the run, made if it does not exist. All workers must see the same.
        strategy, tpu: where it runs; see `training.engine.strategy.make_strategy`.
        profile_steps: number of steps to trace for TensorBoard's profiler.
        data_service: "HOST:PORT" of the dispatcher of a data service that makes the views; see
            `training.data_worker`.
        loggers: some of `training.report.loggers.LOGGERS`.
        reads_in_flight: number of images that each host reads at a time.
        measure_input: seconds for which the speed of the input is measured before the first step;
            a line then says whether the input or the step limits, and what to change.

    Returns:
        The `Run`, at its end.

    Raises:
        ValueError: the config has values out of range or names what does not exist, the workdir
            belongs to another config, the weights are no longer finite, or images were damaged
            during the run.
        OSError: the workdir cannot be written.
        InUse: another process works in it.
        Preempted: a signal told the run to stop; the step under way is saved.
        NoBatches: the data service gives no batches.
    """
    check_config(config)
    check_loggers(loggers)
    strategy = make_strategy(strategy, tpu)  # first: hosts meet before TensorFlow does anything
    check_batch_size(strategy, config.batch_size, config.accumulate)
    if config.method == "moco":
        check_batch_norm_groups(strategy, config.moco.batch_norm_groups)
    set_numerics(config)
    chief = is_chief(strategy)
    with locked(workdir_path(workdir), chief):
        latest = max(checkpoint_steps(workdir), default=0)
        with naming_lost_workers(strategy):
            check_workers_see_one_workdir(strategy, latest)
        # Before the images, whose list can take a while.
        initial = {} if latest else initial_fingerprints(config.encoder.init_from)
        plan = make_plan(config, strategy)
        to_match = {**fingerprints(plan.dataset, plan.augment), **initial}
        workdir = open_workdir(workdir, config, to_match, write=chief)
        options = InputOptions(data_service, reads_in_flight, measure_input)
        with naming_lost_workers(strategy):
            style = style_fingerprints(plan.augment)
            check_workers_run_the_same(strategy, config, {**style, **initial})
            run = Run(plan, workdir)
            run.restore()
            say(summary.before(run, data_service))
            run.train(profile_steps, loggers, options)
            run.save_encoder()
    return run


def set_numerics(config: ConfigDict) -> None:
    """Sets the precision and the determinism of all that this process computes."""
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


class Run:
    """A pretraining: its model, its checkpoints, and how far it is.

    Args:
        plan: the `training.engine.assembly.Plan` of its config.
        workdir: its folder, which `open_workdir` has opened.

    Attributes:
        chief: whether this process is the one that writes the run's files.
        method: the Keras model under training, with its optimizer.
        probe: the `OnlineProbe` of labelled images, else None.
        start: number of the step that this process continues after.
    """

    def __init__(self, plan: Plan, workdir: AnyPath) -> None:
        self.plan, self.workdir, self.start = plan, workdir, 0
        self.chief = is_chief(plan.strategy)
        with plan.strategy.scope():
            self.method = compiled_method(
                plan.config,
                plan.total_steps,
                plan.steps_per_epoch,
                begun=bool(checkpoint_steps(workdir)),
            )
            # After the method, whose weights are drawn as they would be without a probe.
            self.probe = online_probe(self.method.encoder, plan.dataset)
        self.checkpoints = Checkpoints(
            workdir,
            state_of(self.method, self.probe),
            keep=plan.config.keep_checkpoints,
            keep_every=plan.config.keep_checkpoint_every,
            options=checkpoint_options(plan.strategy),
        )

    def restore(self) -> None:
        """Restores the last checkpoint, and sets `start` to its step."""
        self.start = self.checkpoints.restore()
        check_workers_agree(self.plan.strategy, self.start, self.plan.dataset)

    def train(
        self,
        profile_steps: int = 0,
        loggers: Sequence[str] = DEFAULT,
        options: InputOptions = DEFAULT_INPUT,
    ) -> None:
        """Takes the steps that are left.

        Args:
            profile_steps: as for `pretrain`.
            loggers: as for `pretrain`.
            options: those of the input.
        """
        strategy, last = self.plan.strategy, self.plan.total_steps
        check = InputCheck(self, options)
        next_batch = self._input(options)
        finish = finishing_step(self.plan)
        train_step = compiled_step(self.method, strategy, finish, self.probe)
        profiler = Profiler(self.workdir, self.start, profile_steps if self.chief else 0)
        with Watch(self, loggers) as watch, contextlib.closing(profiler):

            def wait_for_batch():
                with watch.progress.waiting():
                    return next_batch()

            batch = next_batch()
            watch.picture(self.start, finish(first_share(strategy, batch)))
            with stop_requests() as stop:
                for step in range(self.start + 1, last + 1):
                    with profiler.step(step):
                        train = functools.partial(check.step, step, train_step)
                        scalars = self._take_step(train, batch, wait_for_batch)
                    self._after_step(step, scalars, watch, stop_wanted(strategy, stop, step))
                    if step < last:
                        batch = wait_for_batch()

    def _take_step(self, train, batch, next_batch):
        """Takes a step, whose batch comes in parts; returns the means of the parts' scalars.

        Args:
            train: function of a batch and the `Part` of the step that it is.
            batch: that of the first part.
            next_batch: function that returns those of the others.
        """
        parts = parts_of(self.plan.config.accumulate)
        found = [train(batch if part.first else next_batch(), part) for part in parts]
        if len(found) == 1:
            return found[0]
        return {name: sum(scalars[name] for scalars in found) / len(found) for name in found[0]}

    def _input(self, options):
        """Returns a function that gives the batches of the steps that are left, part by part."""
        plan = self.plan
        batches = distributed_batches(
            plan.strategy,
            plan.dataset,
            plan.config,
            plan.augment,
            self.start,
            options.data_service,
            options.reads_in_flight,
        )
        # Kept, so that it is not cleared away before the encoder is saved: that can take a minute.
        self._batches = iter(batches)
        fetch = next_within if options.data_service else next

        def next_batch():
            with naming_damaged(plan.dataset), naming_lost_workers(plan.strategy):
                return fetch(self._batches)

        return next_batch

    def _after_step(self, step, scalars, watch, stop_signal):
        """Reports, measures and saves what is due after a step; stops if a signal asks for it."""
        config, last = self.plan.config, self.plan.total_steps
        log = due(step, config.log_every, last)
        measure = due(step, config.knn_every, last)
        save = due(step, config.checkpoint_every, last)
        if log or measure:
            scalars = {name: float(value) for name, value in scalars.items()}
            check_loss(scalars["loss"], step)
            # A run that is stopped has little time, but one that is done is not continued.
            watch.report(step, scalars, measure and (not stop_signal or step == last))
        if save or stop_signal:
            watch.flush()
            self.save_checkpoint(step)
        if stop_signal and step < last:
            raise Preempted(step, last, stop_signal)
        if step == self.start + ESTIMATE_AFTER and not log:
            float(scalars["loss"])  # waits for the steps, which are handed out before they are done
            watch.estimate(step)
        if step == self.start + 1 or log or measure or save:
            watch.progress.restart(step)  # the time of none of these is training time

    def save_checkpoint(self, step: int) -> None:
        """Writes a checkpoint, for which all workers wait."""
        check_weights(self.method, step)
        if self.chief:
            self.checkpoints.save(step)
        barrier(self.plan.strategy)

    def save_encoder(self) -> None:
        """Writes `encoder.keras`, for which all workers wait."""
        if self.chief:
            with replacing(self.workdir / ENCODER_FILE) as beside:
                self.method.encoder.save(beside)
        barrier(self.plan.strategy)


def finishing_step(plan: Plan) -> Callable[[Any], Any]:
    """Returns the function that the train step passes its batch through: batches to views."""
    return placement(plan.config).in_step(
        lambda batch: finish_sides(batch, plan.config, plan.augment)
    )


def compiled_step(
    method: keras.Model,
    strategy: tf.distribute.Strategy,
    finish: Callable[[Any], Any] = lambda batch: batch,
    probe: OnlineProbe | None = None,
) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the function of a batch that trains on every replica.

    Args:
        method: a compiled Keras model, built in the strategy's scope.
        strategy: a `tf.distribute.Strategy`.
        finish: function of a replica's share of the batch; the method is trained on its result.
        probe: what is trained beside it, on the share's "label"; None for nothing.

    Returns:
        A function `train_step(batch, part)` to {name: mean over the replicas}. `part` is the `Part`
        of the step that the batch is, and need not be given where it is the whole.
    """

    @functools.cache
    def compiled(part):
        def on_replica(share):
            observe = unobserved if probe is None else probe.observer(share["label"])
            return method.train_step(finish(share), observe, part)

        @tf.function(autograph=False)  # AutoGraph takes seconds to read Keras, and changes nothing
        def train_step(batch):
            # That of this step, before the optimizer counts it.
            rate = keras.ops.convert_to_tensor(method.optimizer.learning_rate)
            scalars = strategy.run(on_replica, args=(batch,))
            means = {
                name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in scalars.items()
            }
            return {**means, "learning_rate": rate}

        return train_step

    return lambda batch, part=WHOLE: compiled(part)(batch)


def first_share(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """Returns the part of a batch that the first replica of this process gets."""
    return tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)


def check_workers_see_one_workdir(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises a ValueError if the workers would continue at different steps."""
    steps = across_workers(strategy, step)
    if len(set(steps)) > 1:
        raise UserError(
            f"The workers would continue at the steps {steps.astype(int).tolist()}: their workdir "
            "must be one folder that all hosts share."
        )


def check_workers_agree(
    strategy: tf.distribute.Strategy, start: int, dataset: ImageDataset
) -> None:
    """Raises a ValueError if the workers have different checkpoints or different images."""
    check_workers_see_one_workdir(strategy, start)
    listings = across_workers(strategy, int(dataset.listing[:12], 16))  # exact in a float64
    if len(set(listings)) > 1:
        counts = across_workers(strategy, len(dataset)).astype(int).tolist()
        raise UserError(
            f"The workers have different images under {dataset.name} ({counts} of them): names or "
            "sizes of the files differ. Copy the same data to every host."
        )


def check_workers_run_the_same(
    strategy: tf.distribute.Strategy, config: ConfigDict, prints: Mapping[str, Any]
) -> None:
    """Raises a ValueError if the workers have different configs, stylizers or initial weights.

    Args:
        strategy: a `tf.distribute.Strategy`.
        config: that of this worker.
        prints: the fingerprints of what it trains with. The stylizer's precision may differ, as
            processors do.
    """
    alike = {name: value for name, value in prints.items() if name != "stylizer_precision"}
    # Images are compared by their listing, which says more.
    fields = {k: v for k, v in as_written(config).items() if k not in ("dataset", "data_dir")}
    text = json.dumps([fields, alike], sort_keys=True)
    found = across_workers(strategy, int(fingerprint_of(text)[:12], 16))  # exact in a float64
    if len(set(found)) > 1:
        first = np.flatnonzero(found != found[0])[0]
        raise UserError(
            f"The workers 0 and {first} have different configs, or different files of stylizer, "
            "styles or initial weights. Start the same command on every host, with the same files."
        )


def check_loss(loss: float, step: int) -> None:
    """Raises a ValueError if the loss is not a finite number."""
    if not np.isfinite(loss):
        raise _diverged(f"The loss is {loss} after step {step}.")


def check_weights(method: keras.Model, step: int) -> None:
    """Raises a ValueError if a weight is not finite, before a checkpoint holds it."""
    broken = [v.path for v in method.variables if not np.isfinite(v.numpy()).all()]
    if broken:
        raise _diverged(
            f"{len(broken)} weights are not finite after step {step}, {broken[0]} among them."
        )


def _diverged(symptom):
    return UserError(
        f"{symptom} No checkpoint holds it. Start again with a lower optimizer.learning_rate and "
        f"another --workdir, or look at {VIEWS_FILE} for broken input."
    )
