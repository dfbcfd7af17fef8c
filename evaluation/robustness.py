r"""Robustness: a linear probe trained on clean images and tested on corrupted ones.

    python -m evaluation.robustness --encoder=runs/simclr --dataset=folder:pets
    python -m evaluation.robustness --encoder=runs/simclr --dataset=tfds:cifar10 \
        --corrupted=tfds:cifar10_corrupted

Hendrycks & Dietterich 2019 (arXiv 1903.12261): fifteen corruptions of four groups (noise, blur,
weather, digital), each at five severities. The probe is that of evaluation.linear_probe, with L2
chosen on clean validation images. The number that counts is the mean accuracy over severities, then
over corruptions. (The paper's mCE divides errors by AlexNet's, which exist for ImageNet alone.)

The test images are corrupted here, with imagecorruptions-imaug, as ImageNet-C was made: the centre
crop at 224 px is corrupted, then resized to the encoder's size. `--images` takes a sample of them,
the same for all encoders, and `--severities` some severities. `--cache` keeps the corrupted images
for the next encoder. Or images that are prepared are taken: `--corrupted=tfds:cifar10_corrupted`,
`tfds:imagenet2012_corrupted`, or `folder:PATH` in the layout of ImageNet-C. ImageNet-C's images are
centre crops already, and are only resized.

Results go to `robustness-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from evaluation.corruptions import (
    CORRUPTIONS,
    GROUPS,
    SEVERITIES,
    are_crops,
    corrupted,
    package,
    prepared,
    prepared_listing,
)
from evaluation.flags import define_flags, settings_from_flags, subject_from_flags, tell_next
from evaluation.linear_probe import check_choice, probe_of
from evaluation.logistic_regression import LinearClassifier
from evaluation.remembered import remembered
from evaluation.results import IDENTITY, accuracies, revision_of, write_result
from evaluation.settings import EvaluationSettings, numbers, option
from evaluation.subject import Subject
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from training.command import binary
from training.report.logs import say

METRIC = "accuracy"  # the key of the result that counts


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the robustness.

    Attributes:
        severities: which of the five.
        images: how many test images to take, as many of each class as possible; None for all.
        corrupted: where prepared images are, as for `evaluation.corruptions.prepared`; None to
            corrupt the test images here.
        cache: a folder that keeps corrupted images; None keeps none.
        data_dir: the folder of prepared TFDS datasets, for `corrupted`.
    """

    name = "robustness"
    UNRECORDED = ("cache", "data_dir")
    DETAILS = ("clean_accuracy", "by_group")
    severities: tuple[int, ...] = option(
        flags.DEFINE_list,
        SEVERITIES,
        "The severities, some of 1 to 5 with commas.",
        shown=[*map(str, SEVERITIES)],
        read=lambda texts: tuple(int(x) if x == int(x) else x for x in numbers(texts)),
    )
    images: int | None = option(
        flags.DEFINE_integer, None, "How many test images to take; by default all.", lower_bound=1
    )
    corrupted: str | None = option(
        flags.DEFINE_string,
        None,
        "The prepared images, tfds:NAME or folder:PATH; by default they are made here.",
    )
    cache: str | None = option(
        flags.DEFINE_string, None, "A folder that keeps corrupted images for other encoders."
    )
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            listed = ",".join(f"{severity:g}" for severity in self.severities)
            raise UserError(f"The severities are {listed}; expected some of 1 to 5.")

    def listings(self) -> dict[str, str]:
        if self.corrupted is None:
            return {}
        return {"corrupted": prepared_listing(self.corrupted, self.severities, self.data_dir)}

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        if self.corrupted is None:
            package()
        else:
            first = CORRUPTIONS[0], self.severities[0]
            prepared(self.corrupted, *first, train.class_names, self.data_dir)
        check_choice(train, validation)


def sample(dataset: ImageDataset, count: int | None, seed: int = 0) -> ImageDataset:
    """Returns `count` images of a dataset, as many of each class as of others where possible.

    Args:
        dataset: labelled images.
        count: how many; None, or more than there are, for all.
        seed: the seed of the draw.
    """
    if count is None or count >= len(dataset):
        return dataset
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(dataset))
    # The images of each class in a random order; first all that are the first of their class.
    rank = np.empty(len(dataset), np.int64)
    for label in np.unique(dataset.labels):
        members = order[dataset.labels[order] == label]
        rank[members] = np.arange(len(members))
    chosen = order[np.argsort(rank[order], kind="stable")][:count]
    return dataset.subset(np.sort(chosen))


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Measures the accuracy on corrupted images and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict: "accuracy" and "mean_per_class_accuracy",
        the means over severities and corruptions; "by_group" and "by_corruption" with {corruption:
        its accuracies by severity}; "clean_accuracy" of the same probe on the same images, but for
        prepared ones, where it is on the whole test split.

    Raises:
        UserError: prepared images are missing or have other classes.
        PackageError: imagecorruptions-imaug is not installed.
    """
    classifier, l2 = probe_of(subject)
    # Prepared images are in an order of their own, so that the same ones cannot be picked out.
    test = sample(subject.test, settings.images if settings.corrupted is None else None)
    clean = accuracies(test.labels, classifier.predict(subject.features(test)))
    found = {
        name: [
            _accuracies(subject, settings, classifier, test, name, severity)
            for severity in settings.severities
        ]
        for name in CORRUPTIONS
    }
    by_corruption = {name: [one["accuracy"] for one in found[name]] for name in found}
    means = {
        metric: float(np.mean([np.mean([one[metric] for one in row]) for row in found.values()]))
        for metric in ("accuracy", "mean_per_class_accuracy")
    }
    outcome = {
        **means,
        "by_group": {
            group: float(np.mean([np.mean(by_corruption[name]) for name in names]))
            for group, names in GROUPS.items()
        },
        "by_corruption": by_corruption,
        "clean_accuracy": clean["accuracy"],
        "corrupted_images": found[CORRUPTIONS[0]][0]["images"],
        "l2": l2,
    }
    return write_result(subject, settings, outcome)


def _accuracies(
    subject: Subject,
    settings: Settings,
    classifier: LinearClassifier,
    test: ImageDataset,
    name: str,
    severity: int,
) -> dict[str, float]:
    """Returns the accuracies on one corruption, from an earlier start if it was done then."""
    if settings.corrupted is None:
        images = corrupted(
            test, name, severity, subject.image_size, subject.crop_proportion, settings.cache
        )
    else:
        images = prepared(
            settings.corrupted, name, severity, subject.class_names, settings.data_dir
        )
        images = sample(images, settings.images)
    crops = settings.corrupted is not None and are_crops(settings.corrupted)
    crop_proportion = 1.0 if crops else subject.crop_proportion

    def compute() -> dict[str, float]:
        say(f"{name}, severity {severity}")
        features = subject.outputs_of(
            subject.encoder, images, progress=False, crop_proportion=crop_proportion
        )
        found = accuracies(images.labels, classifier.predict(features))
        return {**found, "images": len(images)}

    key = {
        "evaluation": settings.evaluation,
        "revisions": [revision_of(name) for name in (settings.evaluation, "linear_probe")],
        "subject": {name: subject.facts[name] for name in IDENTITY},
        "images": images.fingerprint,
        "crop_proportion": crop_proportion,
    }
    return remembered(subject.workdir / "trials", key, compute)


def _report(result: dict[str, Any]) -> None:
    print(
        f"Corrupted images of {result['dataset']}: accuracy {result['accuracy']:.2%}, clean "
        f"{result['clean_accuracy']:.2%}; {result['corrupted_images']} images of each corruption"
    )
    for group, names in GROUPS.items():
        print(f"  {group:8} {result['by_group'][group]:.2%}")
        for name in names:
            row = ", ".join(f"{100 * value:.1f}" for value in result["by_corruption"][name])
            print(f"    {name:18} {row}")


def main(_: list[str]) -> None:
    settings = settings_from_flags(Settings, data_dir=flags.FLAGS.data_dir)
    subject = subject_from_flags(Settings)
    settings.check(subject.train, subject.validation)
    _report(run(subject, settings))
    tell_next()


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main, continues=True)
