"""The texts that a run prints before it starts and when it has ended."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.augmentation import SASSLAugmentation
from sassl_tf.image_augmentation import ImageAugmentation
from sassl_tf.style_augmentations import ColorStatistics, FourierStyle
from training.encoders import is_function, packages_of
from training.engine.strategy import worker
from training.engine.workdir import ENCODER_FILE, METRICS_FILE, VIEWS_FILE
from training.input.placement import PLACEMENTS
from training.input.speed import available_cores
from training.input.strength import ends_of
from training.optimizers import warmup_steps_of
from training.report.progress import clock

if TYPE_CHECKING:
    from training.engine.assembly import Plan
    from training.engine.loop import Run

MANY_IMAGES = 500_000
NVIDIA_DRIVER = pathlib.Path("/proc/driver/nvidia/version")


def before(run: Run, data_service: str) -> str:
    """Returns a line for each thing that decides what a run computes, where, and how fast.

    Args:
        run: a `training.engine.loop.Run`, restored.
        data_service: as in `training.engine.loop.pretrain`.
    """
    plan, config = run.plan, run.plan.config
    epochs = f"{plan.total_steps / plan.steps_per_epoch:.4g} epochs of {plan.steps_per_epoch}"
    continuing = f"; continuing at step {run.start}" if run.start else ""
    weights = run.method.encoder.count_params() / 1e6
    begun_from = "" if run.start else config.encoder.init_from
    lines = {
        "images": f"{len(plan.dataset):,} of {config.dataset}, {views(config)}",
        "encoder": f"{config.encoder.name}, {weights:.1f} M parameters, {config.precision}"
        + (f", from the weights of {begun_from}" if begun_from else ""),
        "style": style(plan.augment, ends_of(config)),
        "devices": devices(plan.strategy),
        "batch": batch(config.batch_size, plan.strategy.num_replicas_in_sync, config.accumulate),
        "steps": f"{plan.total_steps:,}, {epochs}{_cut_warmup(plan)}{continuing}",
        "input": source(config.augment_on, data_service),
        "workdir": run.workdir,
        "time": "shown after the first steps",
    }
    listed = "\n".join(f"  {name:<8} {line}" for name, line in lines.items())
    return f"Pretraining by {config.method}\n{listed}"


def _cut_warmup(plan: Plan) -> str:
    """Returns words about a warm-up that the run is too short for, if it is."""
    own = plan.config.optimizer
    steps = warmup_steps_of(own, plan.total_steps, plan.steps_per_epoch)
    if steps == round(own.warmup_epochs * plan.steps_per_epoch):
        return ""
    return f", {steps} of them warm-up (optimizer.warmup_epochs is longer than the run)"


def views(config: ConfigDict) -> str:
    """Returns a line about the number and the size of the views of an image."""
    line = f"views of {config.image_size} px"
    if config.local_crops:
        line += f" and {config.local_crops} small crops of {config.local_size} px"
    return line


def after(run: Run, seconds: float) -> str:
    """Returns where the results are, and which command to run next.

    Args:
        run: a `training.engine.loop.Run`, at its end.
        seconds: how long it took.
    """
    workdir = run.workdir
    tensorboard = ["tensorboard", "--logdir", str(workdir)]
    return (
        f"\nDone in {clock(seconds)}. In {workdir}:\n"
        f"  {ENCODER_FILE:<15} maps images in [0, 1] to features; {loaded_by(run.method.encoder)}\n"
        f"  {VIEWS_FILE:<15} shows the first views that it was trained on\n"
        f"  {METRICS_FILE:<15} has the curves; so has {shlex.join(tensorboard)}\n"
        f"Next: {next_command(run)}"
    )


def loaded_by(encoder: keras.Model) -> str:
    """Returns what it takes to load an encoder from its file."""
    packages = packages_of(encoder)
    if not packages:
        return "Keras alone loads it"
    return f"Keras loads it after import {', '.join(packages)}"


def next_command(run: Run) -> str:
    """Returns the command of an evaluation that the dataset allows."""
    config, dataset = run.plan.config, run.plan.dataset
    # The linear probe holds all features in memory.
    protocol = "sgd_probe" if len(dataset) > MANY_IMAGES else "linear_probe"
    labelled = config.dataset if dataset.class_names else "folder:LABELLED"
    folder = [f"--data_dir={config.data_dir}"] if config.data_dir and dataset.class_names else []
    module = config.encoder.name.partition(":")[0]
    # Those who made layers of their own have to import them.
    own = is_function(config.encoder.name) and packages_of(run.method.encoder)
    imports = [f"--import_module={module}"] if own else []
    flags = [f"--encoder={run.workdir}", f"--dataset={labelled}", *folder, *imports]
    return shlex.join(["python", "-m", f"evaluation.{protocol}", *flags])


def style(
    augment: ImageAugmentation | None, ends: Mapping[str, tuple[float, float]] | None = None
) -> str:
    """Returns a line about the layer of a style augmentation, or "off" for None.

    Args:
        augment: the layer.
        ends: {factor: its range at the last step} of the factors that move.
    """
    if augment is None:
        return "off"
    name = type(augment).__name__.removesuffix("Augmentation")
    details = ", ".join([*_own_details(augment), f"p {augment.probability:g}"])
    factors = {"α": "blending_factor", "β": "interpolation_factor"}
    ends = ends or {}
    ranges = [
        f"{symbol} {_between(*getattr(augment, factor))}"
        f"{f' to {_between(*ends[factor])}' if factor in ends else ''}"
        for symbol, factor in factors.items()
        if hasattr(augment, factor)
    ]
    return f"{name}: {', '.join([details, *ranges])}"


def _own_details(augment: ImageAugmentation) -> list[str]:
    if isinstance(augment, SASSLAugmentation):  # RandomStyle is one too
        bank, size = augment.style_bank, augment.stylize_size
        styles = "in batch" if bank is None else f"{len(bank):,} in a bank"
        return [
            f"{augment.stylizer.name} stylizer{f', at {size} px' if size else ''}",
            f"styles {styles}",
        ]
    if isinstance(augment, FourierStyle):
        one = augment.styles == "one_in_batch"
        share = f", {augment.frequency_share:.3g} of the spectrum"
        return [f"{'one style a batch' if one else 'styles in batch'}{share}"]
    if isinstance(augment, ColorStatistics):
        return [f"styles in batch, {augment.color_space}"]
    return []


def _between(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def devices(strategy: tf.distribute.Strategy) -> str:
    """Returns the number and kind of a strategy's devices, and the number of its hosts."""
    count, (_, hosts) = strategy.num_replicas_in_sync, worker(strategy)
    among = f" of {hosts} hosts" if hosts > 1 else ""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return f"{count} TPU cores"
    if tf.config.list_logical_devices("GPU"):
        return f"{count} GPU{among}"
    gpus = "no GPU was found"
    if NVIDIA_DRIVER.exists():
        gpus += ', though there is a driver: pip install "tensorflow[and-cuda]<2.22"'
    return f"{count} CPU{among}, {available_cores()} cores here; {gpus}"


def batch(size: int, replicas: int, parts: int = 1) -> str:
    """Returns the size of a step's batch, and of what each replica trains on at a time."""
    line = f"{size}" if parts == 1 else f"{size}, in {parts} parts of {size // parts}"
    return line if replicas == 1 else f"{line}, {size // parts // replicas} on each of {replicas}"


def source(augment_on: str, data_service: str) -> str:
    """Returns a line about where the views are made."""
    where = f"on {available_cores()} cores of this host"
    if data_service:
        where = f"by the helpers of {data_service}"
    return PLACEMENTS[augment_on].describe(where)
