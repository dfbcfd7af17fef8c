"""The pretraining loop: one function from a config and a workdir to an encoder."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import naming_damaged
from sassl_tf.files import replacing
from training.engine.assembly import build_augmentation, compiled_method, fingerprints
from training.engine.checkpoints import Checkpoints, state_of
from training.engine.config_checks import check_config
from training.engine.lock import locked
from training.engine.preemption import Preempted, stop_requests, stop_wanted
from training.engine.profiler import Profiler
from training.engine.strategy import (
    across_workers,
    check_batch_size,
    checkpoint_options,
    is_chief,
    make_strategy,
)
from training.engine.workdir import open_workdir, workdir_path
from training.input.data_service import next_within
from training.input.pipeline import batches_per_epoch, distributed_batches, finish_sides
from training.input.placement import placement
from training.report import summary
from training.report.logs import say
from training.report.watch import Watch

ESTIMATE_AFTER = 10  # steps, of which the first is spent on tracing


def pretrain(config, workdir, strategy="auto", tpu="", profile_steps=0, data_service=""):
    """Pretrains an encoder, continuing where the workdir's last checkpoint stands.

    Args:
        config: see `training/configs`.
        workdir: folder of the run; made if need be. All workers must see the same.
        strategy, tpu: where it runs; see `training.engine.strategy.make_strategy`.
        profile_steps: how many steps are traced for TensorBoard's profiler.
        data_service: "HOST:PORT" of the dispatcher of a data service that makes the views; see
            `training.data_worker`.

    Returns:
        The `Run`, at its end.

    Raises:
        ValueError: the config has values out of range or names what does not exist, the workdir
            belongs to another config, the weights are no longer finite, or images were damaged
            meanwhile.
        OSError: the workdir cannot be written.
        InUse: another process works in it.
        Preempted: told to stop by a signal; the step that was under way is saved.
        NoBatches: the data service gives none.
    """
    check_config(config)
    strategy = make_strategy(strategy, tpu)  # first: hosts meet before TensorFlow does anything
    check_batch_size(strategy, config.batch_size)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    with locked(workdir_path(workdir), is_chief(strategy)):
        run = Run(config, workdir, strategy, profile_steps, data_service)
        with naming_damaged(run.dataset):
            run.train()
        run.save_encoder()
    return run


class Run:
    """What a pretraining is made of, restored to its last checkpoint."""

    def __init__(self, config, workdir, strategy, profile_steps, data_service=""):
        self.config, self.strategy, self.chief = config, strategy, is_chief(strategy)
        self.dataset = dataset = load_dataset(config.dataset, "train", config.data_dir or None)
        steps_per_epoch = batches_per_epoch(dataset, config)
        self.total_steps = max(1, round(config.epochs * steps_per_epoch))
        augment = build_augmentation(config)
        found = fingerprints(dataset, augment)
        self.workdir = open_workdir(workdir, config, found, write=self.chief)

        with strategy.scope():
            self.method = compiled_method(config, self.total_steps, steps_per_epoch)
        self.finish = placement(config).in_step(lambda batch: finish_sides(batch, config, augment))
        self.train_step = compiled_step(self.method, strategy, self.finish)
        self.checkpoints = Checkpoints(
            self.workdir,
            state_of(self.method),
            keep=config.keep_checkpoints,
            keep_every=config.keep_checkpoint_every,
            options=checkpoint_options(strategy),
        )
        self.start = self.checkpoints.restore()
        check_workers_agree(strategy, self.start, dataset)
        say(summary.before(self, augment, steps_per_epoch, data_service))

        self.batches = distributed_batches(
            strategy, dataset, config, augment, self.start, data_service
        )
        self.next_batch = next_within if data_service else next
        self.profiler = Profiler(self.workdir, self.start, profile_steps if self.chief else 0)
        self.watch = Watch(
            self.workdir,
            self.method,
            dataset,
            config,
            self.start,
            self.total_steps,
            steps_per_epoch,
            self.chief,
        )

    def train(self):
        """Takes the steps that are left."""
        config, watch = self.config, self.watch
        batches = iter(self.batches)
        batch = self.next_batch(batches)
        watch.picture(self.start, self.finish(first_share(self.strategy, batch)))
        with stop_requests() as stop, contextlib.closing(self.profiler):
            for step in range(self.start + 1, self.total_steps + 1):
                with self.profiler.step(step):
                    scalars = self.train_step(batch)
                last = step == self.total_steps
                log, measure, save = (
                    last or (every and step % every == 0)
                    for every in (config.log_every, config.knn_every, config.checkpoint_every)
                )
                stopping = stop_wanted(self.strategy, stop, step)
                if log or measure:
                    scalars = {name: float(value) for name, value in scalars.items()}
                    check_loss(scalars["loss"], step)
                    watch.report(step, scalars, representation=measure and not stopping)
                if save or stopping:
                    self.save_checkpoint(step)
                if last:
                    break
                if stopping:
                    raise Preempted(step, self.total_steps, stopping)
                if step == self.start + ESTIMATE_AFTER and not log:
                    float(scalars["loss"])  # steps are handed out sooner than they are computed
                    watch.estimate(step)
                if step == self.start + 1 or log or measure or save:
                    watch.progress.restart(step)  # all of these are no training time
                with watch.progress.waiting():
                    batch = self.next_batch(batches)
        watch.close()

    def save_checkpoint(self, step):
        """Writes a checkpoint, for which all workers wait."""
        check_weights(self.method, step)
        if self.chief:
            self.checkpoints.save(step)
        across_workers(self.strategy, 0)

    def save_encoder(self):
        """Writes `encoder.keras`, for which all workers wait."""
        path = self.workdir / "encoder.keras"
        if self.chief:
            with replacing(path) as beside:
                self.method.encoder.save(beside)
        across_workers(self.strategy, 0)


def compiled_step(method, strategy, finish=lambda batch: batch):
    """`batch -> scalars`, on every replica of the strategy; scalars are means over replicas.

    What `finish` makes of the batch there is what the method is trained on.
    """

    @tf.function(autograph=False)  # it would take seconds to read Keras, and change nothing
    def train_step(batch):
        scalars = strategy.run(lambda share: method.train_step(finish(share)), args=(batch,))
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
            for name, value in scalars.items()
        }

    return train_step


def first_share(strategy, batch):
    """What the first replica of this process has of a batch."""
    return tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)


def check_workers_agree(strategy, start, dataset):
    """Raises a ValueError where the workers found different checkpoints or different images."""
    starts = across_workers(strategy, start)
    if len(set(starts)) > 1:
        raise ValueError(
            f"The workers would continue at the steps {starts.astype(int).tolist()}: their workdir "
            "must be one folder that all hosts share."
        )
    listings = across_workers(strategy, int(dataset.listing[:12], 16))  # exact in a float64
    if len(set(listings)) > 1:
        counts = across_workers(strategy, len(dataset)).astype(int).tolist()
        raise ValueError(
            f"The workers have different images under {dataset.name} ({counts} of them): names or "
            "sizes of the files differ. Copy the same data to every host."
        )


def check_loss(loss, step):
    """Raises a ValueError where the loss is not a number."""
    if not np.isfinite(loss):
        raise ValueError(_diverged(f"The loss is {loss} after step {step}."))


def check_weights(method, step):
    """Raises a ValueError where a weight is not a number, before it gets into a checkpoint."""
    broken = [v.path for v in method.variables if not np.isfinite(v.numpy()).all()]
    if broken:
        found = f"{len(broken)} weights are not finite after step {step}, {broken[0]} among them."
        raise ValueError(_diverged(found))


def _diverged(found):
    return (
        f"{found} No checkpoint holds it. Start again with a lower optimizer.learning_rate and "
        "another --workdir, or look at views.png for broken input."
    )
