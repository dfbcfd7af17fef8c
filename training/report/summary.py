"""What a run tells before it starts and when it has ended."""

import os
import pathlib
import shlex

import tensorflow as tf

from training.engine.strategy import worker
from training.input.placement import PLACEMENTS
from training.report.progress import clock

MANY_IMAGES = 500_000
NVIDIA_DRIVER = pathlib.Path("/proc/driver/nvidia/version")


def before(run, augment, steps_per_epoch, data_service):
    """A line for each thing that decides what a run computes, where, and how long it takes.

    Args:
        run: the `training.engine.loop.Run`.
        augment: its `SASSLAugmentation`, or None.
        steps_per_epoch: batches an epoch.
        data_service: as in `training.engine.loop.pretrain`.
    """
    config, dataset, encoder = run.config, run.dataset, run.method.encoder
    epochs = f"{run.total_steps / steps_per_epoch:.4g} epochs of {steps_per_epoch}"
    continuing = f"; continuing at step {run.start}" if run.start else ""
    weights = encoder.count_params() / 1e6
    lines = {
        "images": f"{len(dataset):,} of {config.dataset}, views of {config.image_size} px",
        "encoder": f"{config.encoder.name}, {weights:.1f} M parameters, {config.precision}",
        "SASSL": style(augment),
        "devices": devices(run.strategy),
        "batch": batch(config.batch_size, run.strategy.num_replicas_in_sync),
        "steps": f"{run.total_steps:,}, {epochs}{continuing}",
        "input": source(config.augment_on, data_service),
        "workdir": run.workdir,
        "time": "told after the first steps",
    }
    listed = "\n".join(f"  {name:<8} {line}" for name, line in lines.items())
    return f"Pretraining by {config.method}\n{listed}"


def after(run, seconds):
    """Where everything lies, and what to type next."""
    workdir = run.workdir
    return (
        f"\nDone in {clock(seconds)}. In {workdir}:\n"
        "  encoder.keras   images in [0, 1] to features; plain Keras loads it\n"
        "  views.png       what it was trained on\n"
        f"  metrics.jsonl   its curves; also by tensorboard --logdir {workdir}\n"
        f"Next: {next_command(run)}"
    )


def next_command(run):
    """An evaluation that the dataset allows."""
    config, dataset = run.config, run.dataset
    # The linear probe holds all features in memory.
    protocol = "sgd_probe" if len(dataset) > MANY_IMAGES else "linear_probe"
    known = config.dataset if dataset.class_names else "folder:LABELLED"
    folder = [f"--data_dir={config.data_dir}"] if config.data_dir and dataset.class_names else []
    flags = [f"--encoder={run.workdir}", f"--dataset={known}", *folder]
    return shlex.join(["python", "-m", f"evaluation.{protocol}", *flags])


def style(augment):
    """The layer, in a line."""
    if augment is None:
        return "off"
    styles = "in batch" if augment.style_bank is None else f"{len(augment.style_bank):,} in a bank"
    size = f", at {augment.stylize_size} px" if augment.stylize_size else ""
    alpha, beta = augment.blending_factor, augment.interpolation_factor
    return (
        f"{augment.stylizer.name} stylizer{size}, styles {styles}, p {augment.probability:g}, "
        f"α {alpha[0]:g}–{alpha[1]:g}, β {beta[0]:g}–{beta[1]:g}"
    )


def devices(strategy):
    """How many of what, and on how many hosts."""
    count, (_, hosts) = strategy.num_replicas_in_sync, worker(strategy)
    among = f" of {hosts} hosts" if hosts > 1 else ""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return f"{count} TPU cores"
    if tf.config.list_logical_devices("GPU"):
        return f"{count} GPU{among}"
    found = "no GPU was found"
    if NVIDIA_DRIVER.exists():
        found += ', though there is a driver: pip install "tensorflow[and-cuda]<2.22"'
    return f"{count} CPU{among}, {os.cpu_count()} cores here; {found}"


def batch(size, replicas):
    return f"{size}" if replicas == 1 else f"{size}, {size // replicas} on each of {replicas}"


def source(augment_on, data_service):
    """Where views are made."""
    where = f"on {os.cpu_count()} cores of this host"
    if data_service:
        where = f"by the helpers of {data_service}"
    return PLACEMENTS[augment_on].describe(where)
