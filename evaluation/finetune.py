"""Fine-tuning: the encoder and a linear head trained together on a labelled dataset.

    python -m evaluation.finetune --encoder=runs/simclr --dataset=folder:pets
    python -m evaluation.finetune --encoder=runs/simclr --dataset=folder:pets --label_share=0.1

After SimCLR's appendix B.8 (arXiv 2002.05709) and linusericsson/ssl-transfer: SGD with Nesterov
momentum 0.9, cosine decay to 0, random resized crops and flips, a small grid of learning rates and
weight decays. The pair that is best on validation data (the dataset's own, else 20 % of each class)
is trained once more on train and validation data together, and tested once. The moving statistics
of batch normalisation follow at max(1 - 10/s, 0.9), s steps an epoch, as in SimCLR.
`--label_share=0.01` keeps the labels of 1 % of each class of the train split, one image at least:
semi-supervised learning. The dataset's own validation split then chooses the pair, and no more.

Results go to `finetune-DATASET.json` in the workdir, or `finetune_0.01-DATASET.json`.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from tqdm.auto import tqdm

from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import (
    accuracies,
    facts_of,
    labelled_splits,
    result_workdir,
    revision_of,
    write_outcome,
)
from evaluation.linear_probe import METRICS, VALIDATION_SHARE, stratified_split
from evaluation.remembered import remembered
from evaluation.training_batches import training_batches
from sassl_tf.datasets.dataset import joined
from sassl_tf.errors import UserError
from sassl_tf.representation.features import CROP_PROPORTION, extract_features
from training.command import binary
from training.encoders import all_layers
from training.report.logs import say

LEARNING_RATES = (1e-3, 1e-2, 1e-1)
WEIGHT_DECAYS = (0.0, 1e-4)
STEPS = 5000
BATCH_SIZE = 128
LOOK_EVERY = 100  # steps, for a loss that is none


def labelled_share(labels, share, seed=0):
    """Indices of a share of each class, of one image at least, drawn at random and sorted."""
    rng = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        kept.extend(members[: max(1, round(share * len(members)))])
    return np.sort(kept)


def train(encoder, dataset, image_size, steps, batch_size, learning_rate, weight_decay, seed=0):
    """Trains an encoder and a new head.

    Args:
        encoder: a Keras model, which is changed.
        dataset: a labelled `ImageDataset`.
        image_size: side of the crops.
        steps: how many batches.
        batch_size: images in each.
        learning_rate: at the start.
        weight_decay: λ of λ/2·|w|², for every weight.
        seed: of the batches and their crops.

    Returns:
        The classifier, a Keras model from images to logits [B, C]; None where it diverged.
    """
    head = keras.layers.Dense(len(dataset.class_names), kernel_initializer="zeros", dtype="float32")
    classifier = keras.Model(encoder.inputs, head(encoder.outputs[0]))
    steps_per_epoch = max(1, len(dataset) / batch_size)
    for layer in all_layers(classifier):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = max(1 - 10 / steps_per_epoch, 0.9)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
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
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    batches = training_batches(dataset, image_size, batch_size, seed).take(steps)
    bar = tqdm(batches, desc="Fine-tuning", total=steps, unit="step", disable=None)
    for number, (images, labels) in enumerate(bar):
        loss = step(images, labels)
        if number % LOOK_EVERY == 0 and not np.isfinite(loss):
            return None
    return classifier if np.isfinite(loss) else None


def score(classifier, dataset, image_size, crop_proportion):
    """`accuracies` of a classifier on a labelled dataset."""
    logits = extract_features(
        classifier, dataset, image_size, progress=False, crop_proportion=crop_proportion
    )
    return accuracies(dataset.labels, logits.argmax(axis=1))


def evaluate(
    encoder_path,
    dataset_spec,
    *,
    data_dir=None,
    workdir=None,
    image_size=None,
    crop_proportion=CROP_PROPORTION,
    batch_size=BATCH_SIZE,
    steps=STEPS,
    learning_rates=LEARNING_RATES,
    weight_decays=WEIGHT_DECAYS,
    label_share=1.0,
    metric="accuracy",
    seed=0,
):
    """Fine-tunes an encoder on a dataset and writes the result.

    Args:
        encoder_path: and all up to `crop_proportion` as for `evaluation.frozen.frozen_features`.
        batch_size: images in a training step.
        steps: of each training.
        learning_rates, weight_decays: the grid; where it is one pair, nothing is chosen.
        label_share: of each class of the train split, in (0, 1].
        metric: what the pair is chosen by.
        seed: of the split, the share, the batches and the crops.

    Returns:
        The content of the results file, a dict.

    Raises:
        ValueError: no such encoder or dataset, a share outside of (0, 1], or nothing but diverged
            trainings.
    """
    if not 0 < label_share <= 1:
        raise UserError(f"label_share is {label_share}; expected more than 0 and at most 1.")
    settings = {
        "batch_size": batch_size,
        "steps": steps,
        "learning_rates": [*learning_rates],
        "weight_decays": [*weight_decays],
        "label_share": label_share,
        "metric": metric,
        "seed": seed,
    }
    workdir = result_workdir(encoder_path, workdir)
    splits = labelled_splits(dataset_spec, data_dir)
    train_split, test, *validation = splits
    encoder = load_encoder(encoder_path)
    image_size = image_size or default_image_size(encoder_path, encoder)
    facts = facts_of(encoder_path, encoder, image_size, crop_proportion, dataset_spec, splits)
    kept = train_split.subset(labelled_share(train_split.labels, label_share, seed))
    whole = joined(kept, validation[0]) if validation and label_share == 1 else kept
    # What is wrong with the encoder, or does not fit, shows before the first training.
    few = test.subset(np.arange(min(2, len(test))))
    extract_features(encoder, few, image_size, progress=False, crop_proportion=crop_proportion)

    def scored(pair, dataset, held_out):
        """The accuracies on `held_out` after training on `dataset`; None where it diverged."""

        def compute():
            fresh = load_encoder(encoder_path)
            classifier = train(fresh, dataset, image_size, steps, batch_size, *pair, seed)
            return classifier and score(classifier, held_out, image_size, crop_proportion)

        used = {
            "evaluation": "finetune",
            "revision": revision_of("finetune"),
            "pair": pair,
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
        }
        images = [dataset.fingerprint, held_out.fingerprint]
        return remembered(workdir / "trials", {**facts, **used, "images": images}, compute)

    grid, found = [*itertools.product(learning_rates, weight_decays)], []
    if len(grid) > 1:
        fitted, held_out = (kept, *validation) if validation else _parted(kept, seed)
        for pair in grid:
            outcome = scored(pair, fitted, held_out)
            value = outcome and outcome[metric]
            found.append((*pair, value))
            shown = "diverged" if value is None else f"{metric} {value:.2%}"
            say(f"learning rate {pair[0]:g}, weight decay {pair[1]:g}: {shown} on validation data")
    best = _best(found) if found else grid[0]
    tested = scored(best, whole, test)
    if tested is None:
        raise UserError(f"Training diverged at learning rate {best[0]:g}; give smaller ones.")
    outcome = {
        **tested,
        "learning_rate": best[0],
        "weight_decay": best[1],
        "grid": found,
        "label_share": label_share,
        "settings": settings,
        "labelled_images": len(whole),
    }
    name = "finetune" if label_share == 1 else f"finetune_{label_share:g}"
    return write_outcome(name, workdir, facts, outcome)


def _parted(dataset, seed):
    """(train, validation): 20 % of each class are held out."""
    split = stratified_split(dataset.labels, VALIDATION_SHARE, seed)
    return [dataset.subset(indices) for indices in split]


def _best(found):
    """The (learning rate, weight decay) of the best value; of equals the first."""
    whole = [row for row in found if row[2] is not None]
    if not whole:
        rates = ", ".join(f"{rate:g}" for rate, *_ in found)
        raise UserError(
            f"Every training diverged, at the learning rates {rates}; give smaller ones."
        )
    return max(whole, key=lambda row: row[2])[:2]


def _report(result):
    print(
        f"Fine-tuned on {result['dataset']}: accuracy {result['accuracy']:.2%}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  learning rate {result['learning_rate']:g}, weight decay {result['weight_decay']:g}, "
        f"chosen from {max(1, len(result['grid']))} by {result['settings']['metric']}; "
        f"{result['labelled_images']} labelled images, {result['test_images']} test images"
    )


def main(_):
    values = flags.FLAGS
    _report(
        evaluate(
            **encoder_arguments(),
            steps=values.steps,
            learning_rates=[float(rate) for rate in values.learning_rates],
            weight_decays=[float(decay) for decay in values.weight_decays],
            label_share=values.label_share,
            metric=values.metric,
            seed=values.seed,
        )
    )
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_integer("steps", STEPS, "Of each training.", lower_bound=1)
    flags.DEFINE_list("learning_rates", [*map(str, LEARNING_RATES)], "Of the grid.")
    flags.DEFINE_list("weight_decays", [*map(str, WEIGHT_DECAYS)], "Of the grid.")
    flags.DEFINE_float("label_share", 1.0, "Of each class's labels: 0.01 or 0.1, for instance.")
    flags.DEFINE_enum("metric", "accuracy", METRICS, "What the pair is chosen by.")
    flags.DEFINE_integer("seed", 0, "Of the split, the share, the batches and the crops.")
    binary.run(main, continues=True)
