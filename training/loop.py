"""The pretraining loop: one function from a config and a workdir to an encoder."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from sassl_tf import plot
from sassl_tf.augmentation import SASSLAugmentation
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.files import replacing
from sassl_tf.stylizers import load_stylizer
from training.checkpoints import Checkpoints
from training.encoders import build_encoder
from training.input_pipeline import SIDES, batches_per_epoch, view_batches
from training.logs import say
from training.methods import build_method
from training.metrics import MetricsWriter
from training.online_knn import OnlineKNN
from training.optimizers import build_optimizer
from training.preemption import Preempted, stop_requests
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
            another config, or the weights are no longer finite.
        Preempted: SIGTERM came; the step that was under way is saved.
    """
    keras.config.set_dtype_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()

    dataset = load_dataset(config.dataset, "train", config.data_dir or None)
    steps_per_epoch = batches_per_epoch(dataset, config)
    total_steps = max(1, round(config.epochs * steps_per_epoch))
    augment = build_augmentation(config)
    workdir = open_workdir(workdir, config, fingerprints(dataset, augment))

    strategy = make_strategy(config.strategy, config.batch_size)
    with strategy.scope():
        method = compiled_method(config, total_steps, steps_per_epoch)
    checkpoints = Checkpoints(workdir, method)
    start = checkpoints.restore()
    metrics = MetricsWriter(workdir, start)
    knn = OnlineKNN(method.encoder, dataset, config)

    batches = view_batches(dataset, config, augment, start_step=start)
    iterator = iter(strategy.experimental_distribute_dataset(batches))
    batch = next(iterator)
    local = tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)
    views = draw_views(first_views(dataset, local, PICTURED_IMAGES), config.dataset)
    plot.save(views, workdir / "views.png")
    metrics.write_picture(start, "views", plot.pixels(views))
    say(summary(config, dataset, start, total_steps))

    train_step = compiled_step(method, strategy)
    intervals = config.log_every, config.knn_every, config.checkpoint_every
    progress = Progress(start, total_steps, config.batch_size, steps_per_epoch)
    with stop_requests() as stop:
        for step in range(start + 1, total_steps + 1):
            if step > start + 1:
                with progress.waiting():
                    batch = next(iterator)
            scalars = train_step(batch)

            def due(every, step=step):
                return step == total_steps or (every and step % every == 0)

            if due(config.log_every) or due(config.knn_every):
                scalars = {name: float(value) for name, value in scalars.items()}
                scalars["learning_rate"] = float(method.optimizer.learning_rate)
                scalars.update(progress.measure(step))
                if due(config.knn_every):
                    scalars.update(knn.evaluate())
                progress.show(step, scalars)
                metrics.write(step, scalars)
            if due(config.checkpoint_every) or stop.is_set():
                check_finite(method, step)
                checkpoints.save(step)
            if stop.is_set() and step < total_steps:
                raise Preempted(f"Stopped by SIGTERM; step {step} of {total_steps} is saved.")
            if step == start + 1 or any(map(due, intervals)):
                progress.restart(step)  # tracing, evaluation and saving are no training time
    metrics.close()
    encoder = workdir / "encoder.keras"
    with replacing(encoder) as beside:
        method.encoder.save(beside)
    return encoder


def summary(config, dataset, start, total_steps):
    """What is about to run, in a line."""
    line = (
        f"{config.method} on {config.dataset}: {len(dataset)} images, {total_steps} steps of "
        f"{config.batch_size}, SASSL {'on' if config.sassl.enabled else 'off'}"
    )
    return f"{line}, continuing at step {start}" if start else line


def fingerprints(dataset, augment):
    """What a run must find again to continue, beside its config."""
    found = {"images": len(dataset)}
    if augment is not None:
        found["stylizer"] = augment.stylizer.fingerprint
        bank = augment.style_bank
        found["styles"] = "in_batch" if bank is None else fingerprint_of(bank.codes.tobytes())
    return found


def check_finite(method, step):
    """Raises a ValueError where a weight is not a number, before it gets into a checkpoint."""
    broken = [v.path for v in method.variables if not np.isfinite(v.numpy()).all()]
    if broken:
        raise ValueError(
            f"{len(broken)} weights are not finite after step {step}, {broken[0]} among them. "
            "Earlier checkpoints are whole. Start again with a lower optimizer.learning_rate, or "
            "look at views.png for broken input."
        )


def compiled_method(config, total_steps, steps_per_epoch):
    """The method, with its optimizer, both with all their variables."""
    # Seeded here, so that the initial weights are the same with and without SASSL.
    keras.utils.set_random_seed(config.seed)
    encoder = build_encoder(**config.encoder)
    method = build_method(config, encoder, total_steps)
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
        encode_size=sassl.encode_size or None,
        precision=sassl.precision or None,
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


def draw_views(columns, name):
    """A picture of views, to see what goes in; warns of images that are all but black."""
    brightest = columns["original"].max()
    if brightest <= 1 / 255:
        warnings.warn(
            f"The first images of {name} have no value above {255 * brightest:g} of 255: if the "
            "files hold values in [0, 1], or masks, scale them to [0, 255] first.",
            stacklevel=2,
        )
    return plot.image_grid(columns)


def first_views(dataset, batch, count):
    """{"original", "left", "right"}, float32 [count, size, size, 3], of a batch's first images."""
    views = {side: batch[side][:count].numpy() for side in SIDES}
    sides = views["left"].shape[1:3]
    originals = [
        tf.image.resize(dataset.image(index), sides, antialias=True) / 255.0
        for index in batch["index"][:count]
    ]
    return {"original": np.stack(originals), **views}
