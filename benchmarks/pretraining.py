r"""Images per second of pretraining, with SASSL on and off in alternation.

    python -m benchmarks.pretraining --images=imagenette128/train \
        --output=benchmarks/results/pretraining.json

One train step of a method on one backbone, fed by the input pipeline without SASSL and with each
stylizer, in turn: a turn takes a few steps to fill the buffers, then some that count. Weights are
never reset, so all candidates do the same arithmetic. The ratios are the median over turns of
on/off of neighbouring turns, and are the point; absolute numbers are this machine's.

Where step and pipeline share the processor, as here without an accelerator, SASSL's own time shows
in full. With an accelerator it shows in `waiting` alone: see docs/performance.md.
"""

import dataclasses
import importlib
import statistics
import time

import tensorflow as tf
from absl import flags

from benchmarks.timing import machine, write_report
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import UserError
from sassl_tf.stylizers import load_stylizer
from training.command import binary
from training.engine.assembly import compiled_method
from training.engine.loop import compiled_step
from training.input.pipeline import view_batches
from training.styles import build_augmentation

_IMAGES = flags.DEFINE_string("images", None, "Folder of images.", required=True)
_MOBILE = flags.DEFINE_string("mobile", "", "Folder of the mobile stylizer; empty leaves it out.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the results.", required=True)
_CASES = flags.DEFINE_multi_string(
    "case",
    [
        *("simclr/resnet50/224/16", "moco/resnet50/224/16", "byol/resnet50/224/16"),
        *("simclr/resnet18/224/32", "simclr/resnet18/96/64"),
    ],
    "METHOD/BACKBONE/SIDE/BATCH.",
)
_STEPS = flags.DEFINE_integer("steps", 4, "Steps of a turn that count.")
_FIRST = flags.DEFINE_integer("first", 2, "Steps of a turn before them.")
_TURNS = flags.DEFINE_integer("turns", 3, "Turns of each candidate.")


@dataclasses.dataclass
class Turn:
    """A turn of some steps: images/s, and the share of the time spent waiting for input."""

    rate: float
    waiting: float


def configured(case):
    """The config of a case, on `--images`.

    Raises:
        ValueError: it is not of the form METHOD/BACKBONE/SIDE/BATCH.
    """
    parts = case.split("/")
    if len(parts) != 4:
        raise UserError(f"--case is {case!r}; expected METHOD/BACKBONE/SIDE/BATCH.")
    config = importlib.import_module(f"training.configs.{parts[0]}").get_config("imagenet")
    config.encoder.name = parts[1]
    config.image_size, config.batch_size = map(int, parts[2:])
    config.dataset = f"folder:{_IMAGES.value}"
    return config


def take_turn(train_step, batches, batch_size):
    """A `Turn` on a fresh iterator: buffers are full when the clock starts, as when it stops."""
    batches = iter(batches)
    for _ in range(_FIRST.value):
        float(train_step(next(batches))["loss"])
    waited, start = 0.0, time.perf_counter()
    for _ in range(_STEPS.value):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        float(train_step(batch)["loss"])
    seconds = time.perf_counter() - start
    return Turn(_STEPS.value * batch_size / seconds, waited / seconds)


def measure(case):
    """Rows of {case, sassl, images_per_second, waiting, against_off}."""
    config = configured(case)
    dataset = load_dataset(config.dataset, "train")
    method = compiled_method(config, total_steps=1000, steps_per_epoch=100)
    train_step = compiled_step(method, tf.distribute.get_strategy())
    config.style = "none"
    pipelines = {"off": view_batches(dataset, config)}
    config.style = "sassl"
    stylizers = {"compact": ""} | ({"magenta-mobile": _MOBILE.value} if _MOBILE.value else {})
    for name, weights in stylizers.items():
        config.sassl.stylizer, config.sassl.weights = name, weights
        pipelines[name] = view_batches(dataset, config, build_augmentation(config))

    turns = {name: [] for name in pipelines}
    for _ in range(_TURNS.value):
        for name, batches in pipelines.items():
            turns[name].append(take_turn(train_step, batches, config.batch_size))
    return [
        {
            "case": case,
            "sassl": name,
            "images_per_second": round(statistics.median(turn.rate for turn in mine), 2),
            "waiting": round(statistics.median(turn.waiting for turn in mine), 4),
            "against_off": round(
                statistics.median(
                    turn.rate / off.rate for turn, off in zip(mine, turns["off"], strict=True)
                ),
                3,
            ),
        }
        for name, mine in turns.items()
    ]


def markdown(rows):
    lines = [
        "| method/backbone/px/batch | SASSL | images/s | on/off | waiting for input |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = f"{row['images_per_second']} | {row['against_off']} | {row['waiting']:.1%}"
        lines.append(f"| {row['case']} | {row['sassl']} | {numbers} |")
    return "\n".join(lines)


def main(_):
    if _MOBILE.value:
        load_stylizer("magenta-mobile", _MOBILE.value)  # so that a wrong folder is told at once
    compact, rows = load_stylizer("compact").fingerprint, []
    for case in _CASES.value:
        rows += measure(case)
        # After each case: a run takes minutes.
        report = {"machine": machine(), "compact": compact, "results": rows}
        write_report(_OUTPUT.value, report)
    print(f"Pretraining, images/s: {machine()}\n\n{markdown(rows)}")


if __name__ == "__main__":
    binary.run(main)
