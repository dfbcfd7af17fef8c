r"""Other domains: a linear probe trained on one domain and tested on others.

    python -m evaluation.domains --encoder=runs/simclr --train=folder:photo \
        --test=folder:art,folder:cartoon,folder:sketch

As with PACS (Li et al. 2017, arXiv 1710.03077), the classes are the same, and the images are of
another kind: photographs, paintings, sketches. The probe is that of evaluation.linear_probe, with
L2 chosen within the train domain: no image of another domain decides anything. It is tested on all
images of each other domain, whatever their splits, and on the test split of its own. Classes are
matched by their names. Images of a class that the train domain lacks are left out and counted.

Results go to `domains-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from evaluation.classes import every_split, shared_classes
from evaluation.flags import (
    define_crop_flag,
    define_encoder_flags,
    define_result_flags,
    settings_from_flags,
    tell_next,
)
from evaluation.linear_probe import check_choice, probe_of
from evaluation.results import accuracies, write_result
from evaluation.settings import REQUIRED, EvaluationSettings, option
from evaluation.subject import Subject, load_subject
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError
from sassl_tf.paths import as_path, is_url
from training.command import binary

METRIC = "accuracy"  # the key of the result that counts


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of an evaluation on other domains.

    Attributes:
        test: the other domains, datasets for `load_dataset`.
        data_dir: the folder of prepared TFDS datasets.
    """

    name = "domains"
    UNRECORDED = ("data_dir",)
    DETAILS = ("home_accuracy", "by_domain")
    test: tuple[str, ...] = option(
        flags.DEFINE_list,
        REQUIRED,
        "The datasets of the other domains, with commas.",
        read=tuple,
    )
    data_dir: str | None = None

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        check_choice(train, validation)
        for images in self.domains(train).values():
            shared_classes(images, train)

    def domains(self, train: ImageDataset) -> dict[str, ImageDataset]:
        """Returns {spec: all images} of the other domains.

        Args:
            train: the train images, of the domain that none of the others may be.

        Raises:
            UserError: a domain is missing, is given twice or is the train domain.
        """
        found = {spec: every_split(spec, self.data_dir) for spec in self.test}
        places = [_place(images) for images in (train, *found.values())]
        for spec, place in zip(self.test, places[1:], strict=True):
            if places.count(place) > 1:
                told = "the train domain too" if place == places[0] else "given twice"
                raise UserError(f"The test domain {spec} is {told}; leave it out of --test.")
        return found

    def listings(self) -> dict[str, str]:
        # Numbered, for a record of a study holds no paths.
        listings = [every_split(spec, self.data_dir).listing for spec in self.test]
        return {f"test domain {number}": one for number, one in enumerate(listings, 1)}

    def recorded(self, subject: Subject) -> dict[str, Any]:
        # A list, as results files have had it from the beginning.
        return {"test": list(self.test), "listings": [*self.listings().values()]}


def _place(images: ImageDataset) -> str:
    """Returns where images are: for those on this machine, a path that has one form."""
    kind, _, path = images.name.partition(":")
    local = kind in ("folder", "records") and not is_url(path)
    return str(as_path(path).resolve()) if local else images.name


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Trains the probe on the subject's train split and tests it on the other domains.

    Args:
        subject: the `Subject`, whose dataset is the train domain.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict: "accuracy" and "mean_per_class_accuracy", the
        means over the other domains; "by_domain" with each one's, the number of its images and of
        those left out; "home_accuracy" on the subject's test split.

    Raises:
        UserError: a domain is missing, is given twice, is the train domain, or has no class in
            common with it.
    """
    domains = settings.domains(subject.train)
    shared = {spec: shared_classes(domains[spec], subject.train) for spec in settings.test}
    classifier, l2 = probe_of(subject)
    by_domain = {}
    for spec, images in shared.items():
        found = accuracies(images.labels, classifier.predict(subject.features(images)))
        del found["quadratic_kappa"]  # not for classes that are no grades
        by_domain[spec] = {
            **found,
            "images": len(images),
            "left_out": len(domains[spec]) - len(images),
        }
    home = accuracies(subject.test.labels, classifier.predict(subject.test_features))
    outcome = {
        **{
            metric: float(np.mean([one[metric] for one in by_domain.values()]))
            for metric in ("accuracy", "mean_per_class_accuracy")
        },
        "by_domain": by_domain,
        "home_accuracy": home["accuracy"],
        "l2": l2,
    }
    return write_result(subject, settings, outcome)


def _report(result: dict[str, Any]) -> None:
    print(
        f"Trained on {result['dataset']}: accuracy {result['accuracy']:.2%} on other domains, "
        f"{result['home_accuracy']:.2%} on its own test images"
    )
    for spec, found in result["by_domain"].items():
        left_out = f", {found['left_out']} of other classes left out" if found["left_out"] else ""
        print(f"  {spec}: {found['accuracy']:.2%} of {found['images']} images{left_out}")


def main(_: list[str]) -> None:
    values = flags.FLAGS
    settings = settings_from_flags(Settings, data_dir=values.data_dir)
    subject = load_subject(
        values.encoder,
        values.train,
        data_dir=values.data_dir,
        workdir=values.workdir,
        image_size=values.image_size,
        crop_proportion=values.crop_proportion,
        extract_batch_size=values.extract_batch_size,
    )
    settings.check(subject.train, subject.validation)
    _report(run(subject, settings))
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    define_result_flags()
    define_crop_flag()
    flags.DEFINE_string(
        "train", None, "The dataset of the domain to train on: folder:PATH, ...", required=True
    )
    flags.DEFINE_list(
        "test", None, "The datasets of the other domains, with commas.", required=True
    )
    binary.run(main)
