"""Compares SimCLR with and without SASSL, from images to accuracies, in minutes.

    python -m evaluation.demo --dataset=shapes --workdir=runs/demo

Both runs have the same seed, the same budget and the same other settings. The demo ends with a
table and a page-sized picture, `demo.png`, whichever run is better. It is one seed of a small run:
it shows how things work, and is no evidence about SASSL.
"""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from evaluation import knn, linear_probe, markdown
from evaluation.subject import load_subject
from sassl_tf import plot
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike
from training.command import binary
from training.configs import simclr
from training.engine.loop import pretrain
from training.input.pipeline import view_batches
from training.report.logs import say
from training.report.metrics import read_metrics
from training.report.pictures import first_views
from training.styles import build_augmentation

RUNS = {"SimCLR": "none", "SimCLR + SASSL": "sassl"}  # the styles
PICTURED = 5


def demo_configs(dataset_spec: str, data_dir: str | None, preset: str) -> dict[str, ConfigDict]:
    """Returns {run: config}; the configs are equal except for SASSL.

    A run sees as many images as on `shapes`, whatever the size of the dataset.

    Args:
        dataset_spec: the dataset, for `load_dataset`.
        data_dir: the folder of prepared TFDS datasets, or None.
        preset: a preset of training/configs/simclr.py.

    Raises:
        ValueError: the dataset has no labels.
    """
    configs = {}
    splits = [load_dataset(dataset_spec, split, data_dir) for split in ("train", "test")]
    if not all(split.class_names for split in splits):
        raise UserError(
            f"{dataset_spec} has no labels, and the demo ends with accuracies: give a folder of "
            "class folders, or pretrain without it (training.pretrain)."
        )
    count = len(splits[0])
    for run, style in RUNS.items():
        config = simclr.get_config(preset)
        config.epochs = config.epochs * 4000 / count
        config.batch_size = min(config.batch_size, count)
        config.dataset, config.data_dir = dataset_spec, data_dir or ""
        config.style = style
        configs[run] = config
    return configs


def evaluate(workdir: PathLike, dataset_spec: str, data_dir: str | None) -> dict[str, float]:
    """Returns the percentage of correct test images: {"linear probe", "kNN"}."""
    subject = load_subject(workdir, dataset_spec, data_dir)
    results = {
        "linear probe": linear_probe.run(subject, linear_probe.Settings(trials=1)),  # for minutes
        "kNN": knn.run(subject, knn.Settings()),
    }
    return {name: 100 * result["accuracy"] for name, result in results.items()}


def views_of(config: ConfigDict) -> dict[str, np.ndarray]:
    """Returns the pictures of a run's images and views by their names, [PICTURED, H, W, 3] each."""
    dataset = load_dataset(config.dataset, "train", config.data_dir or None)
    batch = next(iter(view_batches(dataset, config, build_augmentation(config))))
    sides = first_views(dataset, batch, PICTURED)
    if config.style == "sassl":
        return {"left view, with SASSL": sides["left"], "right view": sides["right"]}
    return {"image": sides["original"], "left view, without SASSL": sides["left"]}


def draw_page(
    path: PathLike,
    views: Mapping[str, np.ndarray],
    curves: Mapping[str, list[dict[str, Any]]],
    accuracies: Mapping[str, Mapping[str, float]],
    dataset_spec: str,
) -> None:
    """Draws views, loss curves and accuracies on one page."""
    page = plot.figure(8.3, 11.0)
    page.suptitle(f"SimCLR with and without SASSL on {dataset_spec}")
    top, bottom = page.subfigures(2, 1, squeeze=False, height_ratios=[1.35, 1])[:, 0]
    axes = top.subplots(len(views), PICTURED, squeeze=False)
    for row, (name, images) in zip(axes, views.items(), strict=True):
        for axis, image in zip(row, images, strict=True):
            plot.show_image(axis, image)
        row[0].set_title(name, loc="left", fontsize=9)
    loss, bars = bottom.subplots(1, 2)
    plot.curves(loss, curves, "loss", "NT-Xent loss")
    by_protocol = {
        protocol: {run: result[protocol] for run, result in accuracies.items()}
        for protocol in next(iter(accuracies.values()))
    }
    plot.bars(bars, by_protocol, "test accuracy, %")
    plot.save(page, path)


def table(accuracies: Mapping[str, Mapping[str, float]]) -> str:
    """Returns both runs' accuracies, and what SASSL changes, as Markdown."""
    protocols = list(next(iter(accuracies.values())))
    rows = [
        [run, *(f"{result[protocol]:.1f} %" for protocol in protocols)]
        for run, result in accuracies.items()
    ]
    without, with_sassl = accuracies.values()
    changes = [f"{with_sassl[protocol] - without[protocol]:+.1f}" for protocol in protocols]
    return markdown.table(["", *protocols], [*rows, ["change", *changes]])


def run_demo(
    dataset_spec: str, data_dir: str | None, preset: str, workdir: pathlib.Path
) -> dict[str, dict[str, float]]:
    """Pretrains and evaluates without and with SASSL, and draws the page.

    Args:
        dataset_spec: as for `demo_configs`; so are `data_dir` and `preset`.
        data_dir: the folder of prepared TFDS datasets, or None.
        preset: a preset of training/configs/simclr.py.
        workdir: Path of the folder for both runs and `demo.png`.

    Returns:
        {run: {protocol: accuracy in %}}.
    """
    curves, accuracies, views = {}, {}, {}
    for run, config in demo_configs(dataset_spec, data_dir, preset).items():
        folder = workdir / ("sassl" if config.style == "sassl" else "baseline")
        say(f"\n{run}, in {folder}")
        pretrain(config, folder)
        curves[run] = read_metrics(folder)
        accuracies[run] = evaluate(folder, dataset_spec, data_dir)
        keras.utils.clear_session()
        views.update(views_of(config))
    draw_page(workdir / "demo.png", views, curves, accuracies, dataset_spec)
    return accuracies


def main(_: list[str]) -> None:
    start, values = time.monotonic(), flags.FLAGS
    name = "".join(c if c.isalnum() else "-" for c in values.dataset)[-80:]
    workdir = pathlib.Path(values.workdir) / name
    accuracies = run_demo(values.dataset, values.data_dir, values.preset, workdir)
    print(f"\n{table(accuracies)}\n\n{workdir / 'demo.png'}: views, losses, accuracies.")
    say(f"{(time.monotonic() - start) / 60:.1f} minutes in all.")


if __name__ == "__main__":
    flags.DEFINE_string(
        "dataset",
        "shapes",
        "The labelled dataset: shapes, folder:PATH, records:PATTERN or tfds:NAME.",
    )
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    flags.DEFINE_string(
        "workdir", "runs/demo", "The folder in which a folder for the dataset is made."
    )
    flags.DEFINE_string("preset", "demo", "A preset of training/configs/simclr.py.")
    binary.run(main, continues=True)
