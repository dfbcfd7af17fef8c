"""Linear probe by SGD on crops, as SimCLR, MoCo and BYOL each train theirs.

    python -m evaluation.sgd_probe --encoder=runs/simclr --dataset=folder:pets

A linear classifier is trained on the features of random resized crops and flips, and tested on
centre crops. The encoder runs in inference mode and is checked to be the same afterwards. The
recipe is that of the method that pretrained the encoder, unless --recipe names another:

              epochs  batch  learning rate  schedule         momentum  classifier begins at
    simclr        90   4096    0.1 · B/256  cosine           Nesterov  zeros
    moco         100    256     30 · B/256  ÷10 at 60, 80    plain     N(0, 0.01²)
    byol          80   1024    0.2 · B/256  cosine           Nesterov  truncated N(0, 1/D)

all with momentum 0.9 and without weight decay. Sources: SimCLR (arXiv 2002.05709, appendix B.6)
with google-research/simclr; facebookresearch/moco, main_lincls.py; BYOL (arXiv 2006.07733) with
google-deepmind/deepmind-research, byol/configs/eval.py. SimSiam's has MoCo's numbers, which its
paper (arXiv 2011.10566) tried too.

A dataset that has fewer than ten such batches gets smaller ones. Nothing is chosen: train and
validation data are trained on together, as BYOL does. Five trials differ in the order of the
images, their crops and the initial weights; the result is their mean and standard deviation, in
`sgd_probe-DATASET.json` in the workdir. A run that is broken off repeats no trial.
"""

import dataclasses
import functools
import math

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from tqdm.auto import tqdm

from evaluation.encoders import (
    CONFIG_FILE,
    default_image_size,
    load_encoder,
    workdir_of,
)
from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import (
    accuracies,
    facts_of,
    labelled_splits,
    over_trials,
    result_workdir,
    revision_of,
    with_spread,
    write_outcome,
)
from evaluation.remembered import remembered
from evaluation.training_batches import training_batches
from sassl_tf.checked import read_json
from sassl_tf.datasets.dataset import joined
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.representation.features import CROP_PROPORTION, encoder_fingerprint, extract_features
from training.command import binary
from training.optimizers import TorchSGD, peak_learning_rate

TRIALS = 5
LEAST_STEPS = 10  # in an epoch
LOOK_EVERY = 100  # steps, for a loss that is none
DROPS = (0.6, 0.8)  # of the training, where "steps" divides the learning rate by 10


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        epochs: of the train data.
        batch_size: B.
        learning_rate: at the start, for B = 256; in proportion to B.
        schedule: "cosine" (to 0, with Nesterov momentum) or "steps" (`DROPS`, plain momentum).
        initial: "zeros", "normal" or "fan_in".
        crop_sampler: of `sassl_tf.views.crops.CROP_SAMPLERS`.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    schedule: str = "cosine"
    initial: str = "zeros"
    crop_sampler: str = "tensorflow"


MOCO = Recipe(100, 256, 30.0, "steps", "normal", "torchvision")
RECIPES = {
    "simclr": Recipe(90, 4096, 0.1),
    "moco": MOCO,
    "byol": Recipe(80, 1024, 0.2, initial="fan_in", crop_sampler="byol"),
    "simsiam": MOCO,
}


def fitting_batch_size(batch_size, count):
    """The recipe's batch size, halved until an epoch of `count` images has `LEAST_STEPS`."""
    while batch_size > 1 and count < LEAST_STEPS * batch_size:
        batch_size //= 2
    return batch_size


def recipe_of(encoder_path):
    """The name of the recipe of the method that pretrained an encoder.

    Raises:
        ValueError: the encoder lies in no workdir that tells.
    """
    workdir = workdir_of(encoder_path)
    config = workdir / CONFIG_FILE if workdir else None
    method = read_json(config).get("method") if config and config.is_file() else None
    if method not in RECIPES:
        raise UserError(
            f"Nothing tells which method pretrained {encoder_path}; give evaluation.sgd_probe a "
            f"--recipe, one of {', '.join(RECIPES)}."
        )
    return method


def train_classifier(encoder, dataset, recipe, image_size, seed=0, chunk=128):
    """Trains a linear classifier on the features of random crops.

    Args:
        encoder: a Keras model, float32 [B, H, W, 3] in [0, 1] to [B, D]; stays as it is.
        dataset: a labelled `ImageDataset`.
        recipe: a `Recipe`.
        image_size: side of the crops.
        seed: of the batches, their crops and the initial weights.
        chunk: at most so many images go through the encoder at a time.

    Returns:
        A `keras.layers.Dense` from features [B, D] to logits [B, C].

    Raises:
        ValueError: the training diverged.
    """
    batch_size = recipe.batch_size
    chunk = math.gcd(batch_size, chunk)
    steps = max(1, round(recipe.epochs * len(dataset) / batch_size))
    features_size = encoder.outputs[0].shape[-1]
    head = _head(recipe.initial, len(dataset.class_names), features_size, seed)
    peak = peak_learning_rate(recipe.learning_rate, "linear", batch_size)
    optimizer = _optimizer(recipe.schedule, peak, steps)
    optimizer.build(head.trainable_variables)

    @tf.function(autograph=False)
    def encode(images):
        return tf.cast(encoder(images, training=False), tf.float32)

    @tf.function(autograph=False)
    def descend(features, labels):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(
                labels, head(features), from_logits=True
            )
            loss = tf.reduce_mean(losses)
        variables = head.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    batches = iter(training_batches(dataset, image_size, chunk, seed, recipe.crop_sampler))
    bar = tqdm(range(steps), desc=f"SGD probe, trial {seed}", unit="step", disable=None)
    for step in bar:
        # SimCLR's 4,096 images at a time would fit in no single GPU; a linear head does not mind.
        parts = [next(batches) for _ in range(batch_size // chunk)]
        features = tf.concat([encode(images) for images, _ in parts], axis=0)
        loss = descend(features, tf.concat([labels for _, labels in parts], axis=0))
        last = step == steps - 1
        if (last or step % LOOK_EVERY == 0) and not np.isfinite(loss):
            raise UserError(
                f"The probe diverged at learning rate {recipe.learning_rate:g}; give a smaller "
                "--learning_rate."
            )
    return head


def evaluate(
    encoder_path,
    dataset_spec,
    *,
    data_dir=None,
    workdir=None,
    image_size=None,
    batch_size=128,
    crop_proportion=CROP_PROPORTION,
    recipe=None,
    trials=TRIALS,
    **changes,
):
    """Runs the SGD probe of an encoder on a dataset and writes the result.

    Args:
        encoder_path: and all up to `crop_proportion` as for `evaluation.frozen.frozen_features`.
        recipe: a name in `RECIPES`; by default that of the method that pretrained the encoder.
        trials: how many trainings, of the seeds 0, 1, ...
        **changes: of the recipe: `epochs`, `learning_rate`, ...

    Returns:
        The content of `sgd_probe-DATASET.json`, a dict: the means over the trials, and for each
        metric "std" and "values".

    Raises:
        ValueError: no such encoder, dataset or recipe, a training that diverged, or an encoder that
            changes in inference mode.
    """
    name = recipe or recipe_of(encoder_path)
    if name not in RECIPES:
        raise UserError(
            f"There is no recipe {name!r}.{nearest(name, RECIPES)} There are {', '.join(RECIPES)}."
        )
    workdir = result_workdir(encoder_path, workdir)
    splits = labelled_splits(dataset_spec, data_dir)
    train, test, *validation = splits
    whole = joined(train, *validation) if validation else train
    encoder = load_encoder(encoder_path)
    image_size = image_size or default_image_size(encoder_path, encoder)
    facts = facts_of(encoder_path, encoder, image_size, crop_proportion, dataset_spec, splits)
    used = dataclasses.replace(RECIPES[name], **changes)
    used = dataclasses.replace(used, batch_size=fitting_batch_size(used.batch_size, len(whole)))
    test_features = extract_features(
        encoder,
        test,
        image_size,
        batch_size,
        workdir / "features",
        crop_proportion=crop_proportion,
    )

    def trial(seed):
        head = train_classifier(encoder, whole, used, image_size, seed, batch_size)
        if encoder_fingerprint(encoder) != facts["encoder_fingerprint"]:
            raise UserError(
                "The encoder's weights are others than before the probe: a layer of it changes "
                "them in inference mode, so that its features are not frozen. Correct that layer."
            )
        logits = test_features @ head.kernel.numpy() + head.bias.numpy()
        return accuracies(test.labels, logits.argmax(axis=1))

    used_settings = {"recipe": name, **dataclasses.asdict(used)}
    found = []
    for seed in range(trials):
        which = {"evaluation": "sgd_probe", "revision": revision_of("sgd_probe"), "seed": seed}
        key = {**which, **facts, **used_settings}
        found.append(remembered(workdir / "trials", key, functools.partial(trial, seed)))
    outcome = {
        **over_trials(found),
        **used_settings,
        "settings": {"batch_size": batch_size, "recipe": recipe, "trials": trials, **changes},
    }
    return write_outcome("sgd_probe", workdir, facts, outcome)


def _head(initial, classes, features_size, seed):
    initializers = {
        "zeros": keras.initializers.Zeros(),
        "normal": keras.initializers.RandomNormal(stddev=0.01, seed=seed),
        "fan_in": keras.initializers.TruncatedNormal(stddev=features_size**-0.5, seed=seed),
    }
    head = keras.layers.Dense(classes, kernel_initializer=initializers[initial], dtype="float32")
    head.build([None, features_size])
    return head


def _optimizer(schedule, peak, steps):
    schedules = keras.optimizers.schedules
    if schedule == "cosine":
        rate = schedules.CosineDecay(peak, steps)
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    # Keras takes a boundary as the last step of what comes before it.
    last = [round(share * steps) - 1 for share in DROPS]
    rate = schedules.PiecewiseConstantDecay(last, [peak, peak / 10, peak / 100])
    return TorchSGD(rate, momentum=0.9, weight_decay=0.0)


def _report(result):
    print(
        f"SGD probe on {result['dataset']}: accuracy {with_spread(result)}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  {result['trials']} trials of {result['recipe']}'s recipe: {result['epochs']:g} epochs, "
        f"batch {result['batch_size']}; {result['test_images']} test images"
    )


def main(_):
    values = flags.FLAGS
    asked = {"epochs": values.epochs, "learning_rate": values.learning_rate}
    changes = {name: value for name, value in asked.items() if value is not None}
    _report(evaluate(**encoder_arguments(), recipe=values.recipe, trials=values.trials, **changes))
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_enum("recipe", None, [*RECIPES], "By default that of the encoder's method.")
    flags.DEFINE_integer("trials", TRIALS, "Trainings.", lower_bound=1)
    flags.DEFINE_float("epochs", None, "By default the recipe's.", lower_bound=0)
    flags.DEFINE_float("learning_rate", None, "For 256 images; by default the recipe's.")
    binary.run(main, continues=True)
