"""Linear probe by SGD on crops, as the methods' authors each train theirs.

    python -m evaluation.sgd_probe --encoder=runs/simclr --dataset=folder:pets

A linear classifier is trained on the features of random resized crops and flips, and tested on
centre crops. The encoder runs in inference mode, and is checked to be the same afterwards. The
recipe is that of the method that pretrained the encoder, unless --recipe names another:

                   epochs  batch  learning rate  schedule       momentum  classifier begins at
    simclr             90   4096    0.1 · B/256  cosine         Nesterov  zeros
    moco              100    256     30 · B/256  ÷10 at 60, 80  plain     N(0, 0.01²)
    byol               80   1024    0.2 · B/256  cosine         Nesterov  truncated N(0, 1/D)
    barlow_twins      100    256    0.3 · B/256  cosine         plain     N(0, 0.01²)
    vicreg            100    256   0.02 · B/256  cosine         plain     N(0, 0.01²)
    moco_v3            90   1024      3 · B/256  cosine         plain     N(0, 0.01²)
    moco_v3_resnet     90   1024    0.1 · B/256  cosine         plain     N(0, 0.01²)
    dino              100   1024  0.001 · B/256  cosine         plain     N(0, 0.01²)
    dino_resnet       100    256    0.3 · B/256  cosine         plain     N(0, 0.01²)

all with momentum 0.9 and without weight decay (Barlow Twins, VICReg and the README of SimCLR's
source have 1e-6). MoCo v3 and DINO have recipes of their own for encoders that are no vision
transformers, such as `dino_resnet`: vision transformers have normalised features. Sources: SimCLR
(arXiv 2002.05709, appendix B.6) with google-research/simclr; facebookresearch/moco, main_lincls.py;
BYOL (arXiv 2006.07733) with google-deepmind/deepmind-research, byol/configs/eval.py;
facebookresearch/barlowtwins, evaluate.py; facebookresearch/vicreg, README.md;
facebookresearch/moco-v3, CONFIG.md; facebookresearch/dino, eval_linear.py, which takes the class
tokens of the last four blocks; ours takes that of the last. DINO's paper sweeps the learning rate;
that of `dino_resnet` is the one in the published log of its ResNet-50, whose batch size is not
told. SimSiam's has MoCo's numbers, which its paper (arXiv 2011.10566) tried too.

A dataset with fewer than ten such batches gets smaller ones. Nothing is chosen: the classifier is
trained on train and validation data together, as in BYOL. Five trials differ in the order of the
images, their crops and the initial weights. The result is their mean and standard deviation, in
`sgd_probe-DATASET-HASH.json` in the workdir. A command that continues repeats no finished trial.
"""

import dataclasses
import functools
from typing import Any

from absl import flags

from evaluation.encoders import workdir_of
from evaluation.flags import define_flags, evaluate_from_flags
from evaluation.remembered import remembered
from evaluation.results import (
    IDENTITY,
    accuracies,
    over_trials,
    revision_of,
    with_spread,
    write_result,
)
from evaluation.settings import EvaluationSettings, option
from evaluation.sgd_classifier import Recipe, train_classifier
from evaluation.subject import Subject
from sassl_tf.checked import read_json
from sassl_tf.datasets.dataset import joined
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.representation.features import encoder_fingerprint
from sassl_tf.typing import PathLike
from training.command import binary
from training.encoders import VITS
from training.engine.workdir import CONFIG_FILE

LEAST_STEPS = 10  # in an epoch

MOCO = Recipe(100, 256, 30.0, "steps", "normal", "torchvision")
RECIPES = {
    "simclr": Recipe(90, 4096, 0.1),
    "moco": MOCO,
    "byol": Recipe(80, 1024, 0.2, initial="fan_in", crop_sampler="byol"),
    "simsiam": MOCO,
    "barlow_twins": Recipe(100, 256, 0.3, "plain_cosine", "normal", "torchvision"),
    "vicreg": Recipe(100, 256, 0.02, "plain_cosine", "normal", "torchvision"),
    "moco_v3": Recipe(90, 1024, 3.0, "plain_cosine", "normal", "torchvision"),
    "moco_v3_resnet": Recipe(90, 1024, 0.1, "plain_cosine", "normal", "torchvision"),
    "dino": Recipe(100, 1024, 0.001, "plain_cosine", "normal", "torchvision"),
    "dino_resnet": Recipe(100, 256, 0.3, "plain_cosine", "normal", "torchvision"),
}


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the SGD probe.

    Attributes:
        recipe: a name in `RECIPES`; None: that of `recipe_of` the encoder.
        trials: how many trainings, with the seeds 0, 1, ...
        epochs: how many epochs; None: the recipe's.
        learning_rate: the learning rate for 256 images; None: the recipe's.
    """

    name = "sgd_probe"
    recipe: str | None = option(
        flags.DEFINE_enum,
        None,
        "The recipe; by default that of the method that pretrained the encoder.",
        enum_values=[*RECIPES],
    )
    trials: int = option(
        flags.DEFINE_integer, 5, "How many classifiers are trained.", lower_bound=1
    )
    epochs: float | None = option(
        flags.DEFINE_float, None, "How many epochs; by default the recipe's.", lower_bound=0
    )
    learning_rate: float | None = option(
        flags.DEFINE_float,
        None,
        "The learning rate for 256 images; by default the recipe's.",
    )

    def __post_init__(self) -> None:
        if self.recipe is not None and self.recipe not in RECIPES:
            raise UserError(
                f"There is no recipe {self.recipe!r}.{nearest(self.recipe, RECIPES)} There are "
                f"{', '.join(RECIPES)}."
            )
        for name, value in self.changes.items():
            if not value > 0:
                raise UserError(f"{name} is {value:g}; expected a number greater than 0.")

    @property
    def changes(self) -> dict[str, float]:
        """The changes to the recipe, as {field: value}."""
        asked = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return {name: value for name, value in asked.items() if value is not None}

    def recorded(self, subject: Subject) -> dict[str, Any]:
        return {"recipe": self.recipe, "trials": self.trials, **self.changes}


def fitting_batch_size(batch_size: int, count: int) -> int:
    """Halves a recipe's batch size until an epoch of `count` images has `LEAST_STEPS`."""
    while batch_size > 1 and count < LEAST_STEPS * batch_size:
        batch_size //= 2
    return batch_size


def recipe_of(encoder_path: PathLike) -> str:
    """Returns the name of the recipe for an encoder, by the method that pretrained it.

    Raises:
        ValueError: the encoder lies in no workdir that names its method.
    """
    workdir = workdir_of(encoder_path)
    file = workdir / CONFIG_FILE if workdir else None
    config = read_json(file) if file and file.is_file() else {}
    method = config.get("method")
    if method not in RECIPES:
        raise UserError(
            f"Nothing tells which method pretrained {encoder_path}; give evaluation.sgd_probe a "
            f"--recipe, one of {', '.join(RECIPES)}."
        )
    if config.get("encoder", {}).get("name") in VITS:
        return method
    return f"{method}_resnet" if f"{method}_resnet" in RECIPES else method


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Runs the SGD probe and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict: the means over the trials, and for each
        metric "std" and "values".

    Raises:
        ValueError: nothing tells the recipe, a training diverged, or the encoder changes in
            inference mode.
    """
    name = settings.recipe or recipe_of(subject.encoder_path)
    images = _train_and_validation(subject)
    recipe = _changed_recipe(name, settings.changes, len(images))
    recorded = {"recipe": name, **dataclasses.asdict(recipe)}
    key = {
        "evaluation": settings.evaluation,
        "revision": revision_of(settings.evaluation),
        **{name: subject.facts[name] for name in IDENTITY},
        **recorded,
    }
    encoder = functools.cache(subject.fresh_encoder)  # a faulty one may change; loaded if needed
    trials = [
        remembered(
            subject.workdir / "trials",
            {**key, "seed": seed},
            functools.partial(_trial, subject, encoder, images, recipe, seed),
        )
        for seed in range(settings.trials)
    ]
    return write_result(subject, settings, {**over_trials(trials), **recorded})


def _train_and_validation(subject):
    if subject.validation is None:
        return subject.train
    return joined(subject.train, subject.validation)


def _changed_recipe(name, changes, count):
    """Returns the recipe of a name with changes, and with a batch size for `count` images."""
    recipe = dataclasses.replace(RECIPES[name], **changes)
    return dataclasses.replace(recipe, batch_size=fitting_batch_size(recipe.batch_size, count))


def _trial(subject, load, images, recipe, seed):
    """Trains a classifier on `images` and returns its accuracies on the test split."""
    encoder, chunk = load(), subject.extract_batch_size
    head = train_classifier(encoder, images, recipe, subject.image_size, seed, chunk)
    if encoder_fingerprint(encoder) != subject.encoder_fingerprint:
        raise UserError(
            "The encoder's weights are others than before the probe: one of its layers changes "
            "them in inference mode, so that its features are not frozen. Correct that layer."
        )
    logits = subject.test_features @ head.kernel.numpy() + head.bias.numpy()
    return accuracies(subject.test.labels, logits.argmax(axis=1))


def _report(result):
    print(
        f"SGD probe on {result['dataset']}: accuracy {with_spread(result)}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  {result['trials']} trials of {result['recipe']}'s recipe: {result['epochs']:g} epochs, "
        f"batch {result['batch_size']}; {result['test_images']} test images"
    )


def main(_: list[str]) -> None:
    evaluate_from_flags(Settings, run, _report)


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main, continues=True)
