"""Datasets whose classes are matched by name, whatever their labels and splits."""

import dataclasses

import numpy as np

from sassl_tf.datasets import ImageDataset, MissingSplit, load_dataset
from sassl_tf.datasets.dataset import SPLITS, joined
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest


def every_split(spec: str, data_dir: str | None = None) -> ImageDataset:
    """Loads the images of all splits of a dataset.

    Raises:
        UserError: there is no such dataset, or it has no images or no labels.
    """
    found: list[ImageDataset] = []
    missing: list[MissingSplit] = []
    for split in SPLITS:
        try:
            found.append(load_dataset(spec, split, data_dir))
        except MissingSplit as error:
            missing.append(error)
    if not found:
        raise missing[0]
    whole = found[0]
    for dataset in found[1:]:
        whole = joined(whole, dataset)
    if not whole.class_names:
        raise UserError(f"{spec} has no class folders, and its images need labels.")
    return whole


def shared_classes(dataset: ImageDataset, train: ImageDataset) -> ImageDataset:
    """Returns the images of those classes that have train images, with the labels there.

    Raises:
        UserError: there is no such class.
    """
    class_names = train.class_names
    trained = {class_names[label] for label in np.unique(train.labels) if label >= 0}
    known = np.array([name in trained for name in dataset.class_names])
    chosen = np.flatnonzero((dataset.labels >= 0) & known[dataset.labels])
    if not len(chosen):
        raise UserError(
            f"{dataset.name} and the train domain have no class in common: "
            f"{', '.join(dataset.class_names[:5])}, ... and {', '.join(sorted(trained)[:5])}, ... "
            "Classes are matched by name; rename the folders."
        )
    return with_labels_of(dataset.subset(chosen), class_names)


def with_labels_of(dataset: ImageDataset, class_names: list[str]) -> ImageDataset:
    """Returns a dataset with the labels that its classes have among others, by name.

    Raises:
        UserError: a class of an image is not among them.
    """
    places = {name: label for label, name in enumerate(class_names)}
    own = [dataset.class_names[label] for label in np.unique(dataset.labels)]
    unknown = [name for name in own if name not in places]
    if unknown:
        raise UserError(
            f"{len(unknown)} classes of {dataset.name} are not among those that the probe learns "
            f"({', '.join(unknown[:5])}).{nearest(unknown[0], class_names)} Classes are matched by "
            "name: rename their folders."
        )
    label_of = np.array([places.get(name, -1) for name in dataset.class_names])
    return dataclasses.replace(
        dataset, labels=label_of[dataset.labels], class_names=list(class_names)
    )
