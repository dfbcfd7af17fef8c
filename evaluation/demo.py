"""SimCLR with and without SASSL, from images to accuracies, in minutes.

    python -m evaluation.demo --dataset=shapes --workdir=runs/demo

Both runs have the same seed, budget and every other setting. Ends with a table and a page-sized
picture, `demo.png`, whichever way the comparison goes. One seed of a small run: a picture of how
things work, no evidence about SASSL.
"""

import functools
import pathlib
import time

import keras
from absl import flags

from evaluation import knn, linear_probe
from sassl_tf import plot
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import UserError
from training.command import binary
from training.configs import simclr
from training.engine.assembly import build_augmentation
from training.engine.loop import pretrain
from training.input.pipeline import view_batches
from training.report.logs import say
from training.report.metrics import read_metrics
from training.report.pictures import first_views

_DATASET = flags.DEFINE_string("dataset", "shapes", "shapes, folder:PATH or tfds:NAME.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Of prepared TFDS datasets.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "A folder for each dataset is made in it.")
_PRESET = flags.DEFINE_string("preset", "demo", "Of training/configs/simclr.py.")

RUNS = {"SimCLR": False, "SimCLR + SASSL": True}
PICTURED = 5


def demo_configs(dataset_spec, data_dir, preset):
    """{run: config}, equal but for SASSL; as many images as on `shapes`, whatever the dataset."""
    configs = {}
    splits = [load_dataset(dataset_spec, split, data_dir) for split in ("train", "test")]
    if not all(split.class_names for split in splits):
        raise UserError(
            f"{dataset_spec} has no labels, and the demo ends with accuracies: give a folder of "
            "class folders, or pretrain without it (training.pretrain)."
        )
    count = len(splits[0])
    for run, enabled in RUNS.items():
        config = simclr.get_config(preset)
        config.epochs = config.epochs * 4000 / count
        config.batch_size = min(config.batch_size, count)
        config.dataset, config.data_dir = dataset_spec, data_dir or ""
        config.sassl.enabled = enabled
        configs[run] = config
    return configs


def evaluate(workdir, dataset_spec, data_dir):
    """Percent correct on the test split: {"linear probe", "kNN"}."""
    one_trial = functools.partial(linear_probe.evaluate, trials=1)  # a demo is for minutes
    results = {"linear probe": one_trial, "kNN": knn.evaluate}
    return {
        name: 100 * evaluation(workdir, dataset_spec, data_dir=data_dir)["accuracy"]
        for name, evaluation in results.items()
    }


def draw_page(path, views, curves, accuracies, dataset_spec):
    """Views, loss curves and accuracies on one page."""
    page = plot.figure(8.3, 11.0)
    page.suptitle(f"SimCLR with and without SASSL on {dataset_spec}")
    top, bottom = page.subfigures(2, 1, height_ratios=[1.35, 1])
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


def table(accuracies):
    """Both runs' accuracies and what SASSL changes, as Markdown."""
    protocols = list(next(iter(accuracies.values())))
    lines = ["| | " + " | ".join(protocols) + " |", "|---|" + "---|" * len(protocols)]
    for run, result in accuracies.items():
        lines.append(f"| {run} | " + " | ".join(f"{result[p]:.1f} %" for p in protocols) + " |")
    without, with_sassl = accuracies.values()
    changes = (f"{with_sassl[p] - without[p]:+.1f}" for p in protocols)
    return "\n".join([*lines, "| change | " + " | ".join(changes) + " |"])


def main(_):
    start = time.monotonic()
    configs = demo_configs(_DATASET.value, _DATA_DIR.value, _PRESET.value)
    name = "".join(c if c.isalnum() else "-" for c in _DATASET.value)[-80:]
    workdir = pathlib.Path(_WORKDIR.value) / name
    curves, accuracies, views = {}, {}, {}
    for run, config in configs.items():
        folder = workdir / ("sassl" if config.sassl.enabled else "baseline")
        say(f"\n{run}, in {folder}")
        pretrain(config, folder)
        curves[run] = read_metrics(folder)
        accuracies[run] = evaluate(folder, _DATASET.value, _DATA_DIR.value)
        keras.utils.clear_session()
        dataset = load_dataset(_DATASET.value, "train", _DATA_DIR.value)
        batch = next(iter(view_batches(dataset, config, build_augmentation(config))))
        sides = first_views(dataset, batch, PICTURED)
        if config.sassl.enabled:
            views["left view, with SASSL"] = sides["left"]
            views["right view"] = sides["right"]
        else:
            views["image"] = sides["original"]
            views["left view, without SASSL"] = sides["left"]
    draw_page(workdir / "demo.png", views, curves, accuracies, _DATASET.value)
    print(f"\n{table(accuracies)}\n\n{workdir / 'demo.png'}: views, losses, accuracies.")
    say(f"{(time.monotonic() - start) / 60:.1f} minutes in all.")


if __name__ == "__main__":
    binary.run(main, continues=True)
