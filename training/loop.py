"""The pretraining loop: one function from a config and a workdir to an encoder."""

import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from sassl_tf import plot
from sassl_tf.augmentation import SASSLAugmentation, value_range_problem
from sassl_tf.datasets import load_dataset
from sassl_tf.stylizers import load_stylizer
from training.checkpoints import Checkpoints
from training.encoders import build_encoder
from training.input_pipeline import view_batches
from training.logs import say
from training.methods import build_method
from training.metrics import MetricsWriter
from training.online_knn import OnlineKNN
from training.optimizers import build_optimizer
from training.progress import Progress
from training.strategy import make_strategy
from training.workdir import open_workdir

PICTURED_IMAGES = 8


def pretrain(config, workdir):
    """Pretrains an encoder, continuing where the workdir's last checkpoint stands.

    Args:
        config: see `training/configs`.
        workdir: folder of the run; made if need be.

    Returns:
        The path of `encoder.keras`.

    Raises:
        ValueError: the config asks for something that does not exist, the workdir belongs to
            another config, or the loss is no longer a number.
    """
    workdir = open_workdir(workdir, config)
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()

    dataset = load_dataset(config.dataset, "train", config.data_dir or None)
    steps_per_epoch = len(dataset) / config.batch_size
    total_steps = max(1, round(config.epochs * steps_per_epoch))
    augment = build_augmentation(config)
    draw_views(dataset, config, augment, workdir)

    strategy = make_strategy(config.strategy)
    with strategy.scope():
        method = compiled_method(config, total_steps, steps_per_epoch)
    checkpoints = Checkpoints(workdir, method)
    start = checkpoints.restore()
    metrics = MetricsWriter(workdir, start)
    knn = OnlineKNN(method.encoder, dataset, config)

    batches = view_batches(dataset, config, augment, start_step=start)
    iterator = iter(strategy.experimental_distribute_dataset(batches))
    train_step = compiled_step(method, strategy)
    say(
        f"{config.method} on {config.dataset}: {len(dataset)} images, {total_steps} steps of "
        f"{config.batch_size}, SASSL {'on' if augment else 'off'}"
        + (f", continuing at step {start}" if start else "")
    )

    progress = Progress(start, total_steps, config.batch_size, steps_per_epoch)
    for step in range(start + 1, total_steps + 1):
        with progress.waiting():
            batch = next(iterator)
        scalars = train_step(batch)
        last = step == total_steps
        if step % config.log_every == 0 or last:
            scalars = {name: float(value) for name, value in scalars.items()}
            if not np.isfinite(scalars["loss"]):
                raise ValueError(
                    f"The loss is {scalars['loss']} at step {step}. The last checkpoint is whole; "
                    "lower optimizer.learning_rate, or look at views.png for broken input."
                )
            scalars["learning_rate"] = float(method.optimizer.learning_rate)
            if last or (config.knn_every and step % config.knn_every == 0):
                scalars.update(knn.evaluate())
            metrics.write(step, progress.report(step, scalars))
        if step % config.checkpoint_every == 0 or last:
            checkpoints.save(step)
    metrics.close()
    return save_encoder(method.encoder, workdir / "encoder.keras")


def compiled_method(config, total_steps, steps_per_epoch):
    """The method, with its optimizer, both with all their variables."""
    # Seeded here, so that the initial weights are the same with and without SASSL.
    keras.utils.set_random_seed(config.seed)
    method = build_method(config, build_encoder(config.encoder.name, config.encoder.stem))
    optimizer = build_optimizer(config.optimizer, config.batch_size, total_steps, steps_per_epoch)
    optimizer.build(method.trainable_variables)
    method.compile(optimizer)
    return method


def build_augmentation(config):
    """The SASSL layer of a config, or None where it is switched off."""
    if not config.sassl.enabled:
        return None
    sassl = config.sassl
    return SASSLAugmentation(
        stylizer=load_stylizer(sassl.stylizer, sassl.weights or None),
        styles=sassl.styles,
        probability=sassl.probability,
        blending_factor=sassl.blending_factor,
        interpolation_factor=sassl.interpolation_factor,
        stylize_size=sassl.stylize_size or None,
        value_range=(0, 1),
    )


def compiled_step(method, strategy):
    """`batch -> scalars`, on every replica of the strategy; scalars are means over replicas."""

    @tf.function
    def train_step(batch):
        scalars = strategy.run(method.train_step, args=(batch,))
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
            for name, value in scalars.items()
        }

    return train_step


def draw_views(dataset, config, augment, workdir):
    """Writes `views.png`, so that a person sees what goes in, and warns of suspicious pixels."""
    columns = sample_views(dataset, config, augment, PICTURED_IMAGES)
    problem = value_range_problem(columns["original"] * 255.0, (0, 255))
    if problem:
        warnings.warn(f"{config.dataset}: {problem}", stacklevel=2)
    plot.save(plot.image_grid(columns), workdir / "views.png")


def sample_views(dataset, config, augment, count):
    """The run's first views: {"original", "left", "right"}, float32 [count, size, size, 3]."""
    config = config.copy_and_resolve_references()
    config.batch_size = min(count, config.batch_size, len(dataset))
    batches = view_batches(dataset, config, augment, with_originals=True)
    batch = next(batches.take(1).as_numpy_iterator())
    return {name: batch[name] for name in ("original", "left", "right")}


def save_encoder(encoder, path):
    """Writes the encoder as a Keras file that needs nothing of ours; beside, then renamed."""
    beside = path.with_name("encoder.tmp.keras")
    encoder.save(beside)
    os.replace(beside, path)
    return path
