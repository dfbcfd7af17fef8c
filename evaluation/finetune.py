"""Fine-tuning: the encoder and a linear head trained together on a labelled dataset.

    python -m evaluation.finetune --encoder=runs/simclr --dataset=folder:pets
    python -m evaluation.finetune --encoder=runs/simclr --dataset=folder:pets --label_share=0.1

After SimCLR's appendix B.8 (arXiv 2002.05709) and linusericsson/ssl-transfer: SGD with Nesterov
momentum 0.9, cosine decay to 0, random resized crops and flips, a small grid of learning rates and
weight decays. The pair that is best on validation data (the dataset's own, else 20 % of each class)
is trained once more on train and validation data together, and tested once. The momentum of the
moving statistics of batch normalisation is max(1 - 10/s, 0.9) with s steps an epoch, as in SimCLR.
`--label_share=0.01` keeps the labels of 1 % of each class of the train split, one image at least:
semi-supervised learning. The dataset's own validation split then only chooses the pair.

Results go to `finetune-DATASET-HASH.json` in the workdir, or `finetune_0.01-DATASET-HASH.json`.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from tqdm.auto import tqdm

from evaluation.flags import define_flags, evaluate_from_flags
from evaluation.linear_probe import VALIDATION_SHARE, stratified_split
from evaluation.loss_scale import computes_in_float16, gradients_of, with_loss_scale
from evaluation.remembered import remembered
from evaluation.results import IDENTITY, METRICS, accuracies, revision_of, write_result
from evaluation.settings import EvaluationSettings, numbers, option
from evaluation.subject import Subject
from evaluation.training_batches import training_batches
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import joined, naming_damaged
from sassl_tf.errors import UserError
from training.command import binary
from training.encoders import all_layers
from training.report.logs import say

LEARNING_RATES = (1e-3, 1e-2, 1e-1)
WEIGHT_DECAYS = (0.0, 1e-4)
LOSS_CHECK_STEPS = 100  # between two checks that the loss is a finite number


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of fine-tuning.

    Attributes:
        batch_size: how many images in a training step.
        steps: how many steps in each training.
        learning_rates: the grid's learning rates.
        weight_decays: the grid's weight decays; with one pair of both, nothing is chosen.
        label_share: the share of each class of the train split that is trained on, in (0, 1].
        metric: the metric that the pair is chosen by, one of `METRICS`.
        seed: the seed of the split, the share, the batches, the crops and dropout, below 2**32.
    """

    name = "finetune"
    batch_size: int = option(
        flags.DEFINE_integer, 128, "How many images in a training step.", lower_bound=1
    )
    steps: int = option(
        flags.DEFINE_integer, 5000, "How many steps in each training.", lower_bound=1
    )
    learning_rates: tuple[float, ...] = option(
        flags.DEFINE_list,
        LEARNING_RATES,
        "The learning rates of the grid.",
        shown=[*map(str, LEARNING_RATES)],
        read=numbers,
    )
    weight_decays: tuple[float, ...] = option(
        flags.DEFINE_list,
        WEIGHT_DECAYS,
        "The weight decays of the grid.",
        shown=[*map(str, WEIGHT_DECAYS)],
        read=numbers,
    )
    label_share: float = option(
        flags.DEFINE_float, 1.0, "The share of each class's labels to use, such as 0.01 or 0.1."
    )
    metric: str = option(
        flags.DEFINE_enum, "accuracy", "The metric that the pair is chosen by.", enum_values=METRICS
    )
    seed: int = option(
        flags.DEFINE_integer,
        0,
        "The seed of the split, the share, the batches, the crops and dropout.",
        lower_bound=0,
        upper_bound=2**32 - 1,
    )

    def __post_init__(self) -> None:
        if not 0 < self.label_share <= 1:
            raise UserError(
                f"label_share is {self.label_share}; expected more than 0 and at most 1."
            )
        if not self.learning_rates or not all(0 < rate < math.inf for rate in self.learning_rates):
            raise UserError(
                f"The learning rates are {_listed(self.learning_rates)}; expected one or more "
                "numbers greater than 0."
            )
        if not self.weight_decays or not all(0 <= decay < math.inf for decay in self.weight_decays):
            raise UserError(
                f"The weight decays are {_listed(self.weight_decays)}; expected one or more "
                "numbers, 0 or greater."
            )

    @property
    def grid(self) -> list[tuple[float, float]]:
        """The pairs of learning rate and weight decay to choose from."""
        return [*itertools.product(self.learning_rates, self.weight_decays)]

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        if validation is None and len(self.grid) > 1:
            kept = labelled_share(train.labels, self.label_share, self.seed)
            stratified_split(train.labels[kept], VALIDATION_SHARE, self.seed)

    @property
    def evaluation(self) -> str:
        return self.name if self.label_share == 1 else f"{self.name}_{self.label_share:g}"


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "none"


def labelled_share(labels: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Draws a share of each class, but at least one image; returns their indices, sorted."""
    rng = np.random.default_rng(seed)
    kept: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        kept.extend(members[: max(1, round(share * len(members)))])
    return np.sort(kept)


def train(
    encoder: keras.Model,
    dataset: ImageDataset,
    image_size: int,
    settings: Settings,
    learning_rate: float,
    weight_decay: float,
) -> keras.Model | None:
    """Trains an encoder and a new head.

    Args:
        encoder: a Keras model, which is changed.
        dataset: a labelled `ImageDataset`.
        image_size: the side of the crops.
        settings: `Settings`, for `batch_size`, `steps` and `seed`.
        learning_rate: the learning rate at the start.
        weight_decay: λ in λ/2·|w|², for every weight.

    Returns:
        The classifier, a Keras model from images to logits [B, C]; None if it diverged.
    """
    classifier = _with_head(encoder, len(dataset.class_names))
    _adapt_batch_normalization(classifier, len(dataset) / settings.batch_size)
    step = _training_step(classifier, learning_rate, weight_decay, settings.steps)
    batches = training_batches(dataset, image_size, settings.batch_size, settings.seed)
    batches = batches.take(settings.steps)
    bar = tqdm(batches, desc="Fine-tuning", total=settings.steps, unit="step", disable=None)
    with naming_damaged(dataset):
        for number, (images, labels) in enumerate(bar):
            loss = step(images, labels)
            if number % LOSS_CHECK_STEPS == 0 and not np.isfinite(loss):
                return None
    return classifier if np.isfinite(loss) else None


def _with_head(encoder, classes):
    head = keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32")
    return keras.Model(encoder.inputs, head(encoder.outputs[0]))


def _adapt_batch_normalization(classifier, steps_per_epoch):
    for layer in all_layers(classifier):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = max(1 - 10 / max(1, steps_per_epoch), 0.9)


def _training_step(classifier, learning_rate, weight_decay, steps):
    """Returns the function of images and labels that does one step and returns the loss."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    optimizer = with_loss_scale(optimizer, classifier)
    variables = classifier.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = classifier(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            loss = tf.reduce_mean(losses)
            if weight_decay:
                loss += weight_decay * tf.add_n([tf.nn.l2_loss(v.value) for v in variables])
        optimizer.apply(gradients_of(tape, loss, optimizer, variables), variables)
        return loss

    return step


def score(classifier: keras.Model, subject: Subject, dataset: ImageDataset) -> dict[str, float]:
    """Returns the `accuracies` of a classifier on a labelled dataset, prepared as the subject's."""
    logits = subject.outputs_of(classifier, dataset, progress=False)
    return accuracies(dataset.labels, logits.argmax(axis=1))


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Fine-tunes the encoder and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict.

    Raises:
        ValueError: every training diverged, or no class has two images to choose the pair by.
    """
    subject.check_preparation()
    kept = _kept(subject, settings)
    scores = _grid_scores(subject, settings, kept) if len(settings.grid) > 1 else []
    best = _best(scores) if scores else settings.grid[0]
    whole = kept
    if subject.validation is not None and settings.label_share == 1:
        whole = joined(kept, subject.validation)
    tested = _trial(subject, settings, best, whole, subject.test)
    if tested is None:
        raise UserError(f"Training diverged at learning rate {best[0]:g}; give smaller ones.")
    outcome = {
        **tested,
        "learning_rate": best[0],
        "weight_decay": best[1],
        "grid": scores,
        "label_share": settings.label_share,
        "labelled_images": len(whole),
    }
    return write_result(subject, settings, outcome)


def _kept(subject, settings):
    """Returns the train images whose labels are used."""
    indices = labelled_share(subject.train.labels, settings.label_share, settings.seed)
    return subject.train.subset(indices)


def _grid_scores(subject, settings, kept):
    """Returns (learning rate, weight decay, score on validation data or None) for each pair."""
    if subject.validation is not None:
        fitted, held_out = kept, subject.validation
    else:
        parts = stratified_split(kept.labels, VALIDATION_SHARE, settings.seed)
        fitted, held_out = (kept.subset(indices) for indices in parts)
    scores = []
    for pair in settings.grid:
        outcome = _trial(subject, settings, pair, fitted, held_out)
        value = outcome and outcome[settings.metric]
        scores.append((*pair, value))
        shown = "diverged" if value is None else f"{settings.metric} {value:.2%}"
        say(f"learning rate {pair[0]:g}, weight decay {pair[1]:g}: {shown} on validation data")
    return scores


def _trial(subject, settings, pair, dataset, held_out):
    """Returns the accuracies on `held_out` after training on `dataset`; None if it diverged.

    A trial that was done before, by this command or another, is not trained again.
    """
    key = {
        **{name: subject.facts[name] for name in IDENTITY},
        "evaluation": "finetune",
        "revision": revision_of("finetune"),
        "pair": pair,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "images": [dataset.fingerprint, held_out.fingerprint],
    }
    if computes_in_float16(subject.encoder):
        key["loss_scale"] = True  # trials of before were trained without
    compute = functools.partial(_train_and_score, subject, settings, pair, dataset, held_out)
    return remembered(subject.workdir / "trials", key, compute)


def _train_and_score(subject, settings, pair, dataset, held_out):
    keras.utils.set_random_seed(settings.seed)  # of dropout and drop path, where an encoder has any
    classifier = train(subject.fresh_encoder(), dataset, subject.image_size, settings, *pair)
    return classifier and score(classifier, subject, held_out)


def _best(scores):
    """Returns the (learning rate, weight decay) with the best score; the first of equals."""
    finished = [row for row in scores if row[2] is not None]
    if not finished:
        rates = ", ".join(f"{rate:g}" for rate, *_ in scores)
        raise UserError(
            f"Every training diverged, at the learning rates {rates}; give smaller ones."
        )
    return max(finished, key=lambda row: row[2])[:2]


def _report(result):
    print(
        f"Fine-tuned on {result['dataset']}: accuracy {result['accuracy']:.2%}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  learning rate {result['learning_rate']:g}, weight decay {result['weight_decay']:g}, "
        f"chosen from {max(1, len(result['grid']))} by {result['settings']['metric']}; "
        f"{result['labelled_images']} labelled images, {result['test_images']} test images"
    )


def main(_: list[str]) -> None:
    evaluate_from_flags(Settings, run, _report)


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main, continues=True)
