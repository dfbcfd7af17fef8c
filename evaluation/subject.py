"""The subject of an evaluation: an encoder and the labelled splits of a dataset, loaded once."""

import contextlib
import dataclasses
import functools
import os
from typing import Any

import keras
import numpy as np

from evaluation.encoders import default_image_size, encoder_file, load_encoder, workdir_of
from sassl_tf.datasets import ImageDataset, MissingSplit, load_dataset
from sassl_tf.errors import UserError
from sassl_tf.paths import AnyPath, as_path
from sassl_tf.representation.features import (
    CROP_PROPORTION,
    PREPARATION,
    encoder_fingerprint,
    extract_features,
)
from sassl_tf.typing import PathLike
from training.report.logs import say

EXTRACT_BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """An encoder, the labelled splits of a dataset, and how images are prepared.

    Features are computed when they are first asked for, and then kept here and on disk.

    Attributes:
        encoder_path: a `.keras` file or a pretraining workdir, where `encoder` was loaded from.
        encoder: Keras model, float32 [B, H, W, 3] in [0, 1] to [B, D].
        dataset: the name that `load_dataset` knows the dataset by, such as `folder:pets`.
        train: the train split, with N images of C classes.
        test: the test split, with M images.
        validation: the dataset's own validation split, with V images; None if it has none.
        workdir: Path of the folder for results, features and finished trials.
        image_size: the side in pixels of the images that the encoder sees.
        crop_proportion: the share of the resized shorter side that the centre crop takes.
        extract_batch_size: how many images the encoder sees at a time. Results do not depend on it.
        encoder_fingerprint: short hexadecimal hash of the encoder as it was loaded.
    """

    encoder_path: str | os.PathLike
    encoder: keras.Model
    dataset: str
    train: ImageDataset
    test: ImageDataset
    validation: ImageDataset | None
    workdir: AnyPath
    image_size: int
    crop_proportion: float = CROP_PROPORTION
    extract_batch_size: int = EXTRACT_BATCH_SIZE
    encoder_fingerprint: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder_fingerprint", encoder_fingerprint(self.encoder))

    @property
    def class_names(self) -> list[str]:
        """The names of the C classes, in the order of their labels."""
        return self.train.class_names

    @property
    def _own_validation(self):
        return [] if self.validation is None else [self.validation]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts about what is evaluated, as a dict for the results file."""
        splits = [self.train, self.test, *self._own_validation]
        return {
            "encoder": str(self.encoder_path),
            "encoder_fingerprint": self.encoder_fingerprint,
            "feature_size": self.encoder.outputs[0].shape[-1],
            "image_size": self.image_size,
            "crop_proportion": self.crop_proportion,
            "preparation": PREPARATION,
            "dataset": self.dataset,
            "dataset_fingerprints": {split.split: split.fingerprint for split in splits},
            "classes": len(self.class_names),
            "train_images": len(self.train),
            "test_images": len(self.test),
            "validation_images": sum(map(len, self._own_validation)),
        }

    @functools.cached_property
    def train_features(self) -> np.ndarray:
        """The features of the train split, float32 [N, D]."""
        return self.features(self.train)

    @functools.cached_property
    def test_features(self) -> np.ndarray:
        """The features of the test split, float32 [M, D]."""
        return self.features(self.test)

    @functools.cached_property
    def validation_features(self) -> np.ndarray | None:
        """The features of the validation split, float32 [V, D]; None if there is no such split."""
        return None if self.validation is None else self.features(self.validation)

    def features(self, dataset: ImageDataset) -> np.ndarray:
        """Computes the features of a dataset's images, or reads them from `workdir/features`.

        Returns:
            float32 [number of images, D].
        """
        return self.outputs_of(self.encoder, dataset, cache_dir=self.workdir / "features")

    def outputs_of(self, model: keras.Model, dataset: ImageDataset, **options: Any) -> np.ndarray:
        """Computes a model's outputs [number of images, D] for images prepared as the subject's.

        Args:
            model: Keras model of images, such as `encoder`, or `encoder` with a head.
            dataset: an `ImageDataset`.
            **options: `cache_dir`, `progress` and `crop_proportion` (by default the subject's), as
                for `extract_features`.
        """
        options = {"crop_proportion": self.crop_proportion, **options}
        return extract_features(model, dataset, self.image_size, self.extract_batch_size, **options)

    def fresh_encoder(self) -> keras.Model:
        """Loads the encoder once more, for an evaluation that might change it."""
        return load_encoder(self.encoder_path)

    def check_preparation(self) -> None:
        """Checks with two test images that the encoder takes them and gives finite features.

        Raises:
            ValueError: it does not.
        """
        few = self.test.subset(np.arange(min(2, len(self.test))))
        self.outputs_of(self.encoder, few, progress=False)


def load_subject(
    encoder_path: PathLike,
    dataset: str,
    data_dir: PathLike | None = None,
    workdir: PathLike | None = None,
    image_size: int | None = None,
    crop_proportion: float = CROP_PROPORTION,
    extract_batch_size: int = EXTRACT_BATCH_SIZE,
    encoder: keras.Model | None = None,
) -> Subject:
    """Loads an encoder and a dataset.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        dataset: `folder:PATH`, `records:PATTERN`, `tfds:NAME` or `shapes`.
        data_dir: the folder of prepared TFDS datasets.
        workdir: the folder for results and features; by default the encoder's own workdir.
        image_size: the side of the images; by default the side that the encoder was made for.
        crop_proportion: the share of the resized shorter side, as for `prepare_image`.
        extract_batch_size: how many images the encoder sees at a time.
        encoder: the Keras model of `encoder_path`, if it is loaded already.

    Returns:
        A `Subject`.

    Raises:
        ValueError: no such encoder or dataset, an unlabelled dataset, or no workdir.
    """
    workdir = result_workdir(encoder_path, workdir)
    # The dataset comes first: its problems show sooner than an encoder loads.
    train, test, *validation = labelled_splits(dataset, data_dir)
    encoder = encoder or load_encoder(encoder_path)
    return Subject(
        encoder_path=encoder_path,
        encoder=encoder,
        dataset=dataset,
        train=train,
        test=test,
        validation=validation[0] if validation else None,
        workdir=workdir,
        image_size=image_size or default_image_size(encoder_path, encoder),
        crop_proportion=crop_proportion,
        extract_batch_size=extract_batch_size,
    )


def labelled_splits(dataset: str, data_dir: PathLike | None = None) -> list[ImageDataset]:
    """Loads [train, test] of a dataset, and validation if it has one of its own; all labelled.

    Args:
        dataset: `folder:PATH`, `records:PATTERN`, `tfds:NAME` or `shapes`.
        data_dir: the folder of prepared TFDS datasets.

    Raises:
        ValueError: no such dataset, images without label, fewer than two classes to train on, or a
            class that is tested and has no train images.
    """
    splits = [_labelled(load_dataset(dataset, s, data_dir)) for s in ("train", "test")]
    with contextlib.suppress(MissingSplit):
        splits.append(_labelled(load_dataset(dataset, "validation", data_dir)))
    _check_classes(*splits)
    return splits


def result_workdir(encoder_path: PathLike, workdir: PathLike | None = None) -> AnyPath:
    """Returns the folder for results as a Path: `workdir` if given, else the encoder's own.

    Raises:
        ValueError: there is neither, or no such encoder.
    """
    encoder_file(encoder_path)  # a missing encoder is the first thing to tell
    folder = workdir or workdir_of(encoder_path)
    if not folder:
        raise UserError(
            f"The encoder {encoder_path} lies in no pretraining workdir, so the results have no "
            "place to go to: give a folder as --workdir."
        )
    return as_path(folder)


def _labelled(dataset):
    unlabelled = int((dataset.labels < 0).sum())
    if unlabelled or not dataset.class_names:
        raise UserError(
            f"{unlabelled} of {len(dataset)} images of {dataset.name} ({dataset.split}) have no "
            "label, and this evaluation needs them all: give a dataset of class folders."
        )
    return dataset


def _check_classes(train, *others):
    trained = np.unique(train.labels)
    untrained = sorted({label for split in others for label in np.setdiff1d(split.labels, trained)})
    if untrained:
        names = ", ".join(train.class_names[label] for label in untrained[:5])
        raise UserError(
            f"{len(untrained)} classes of {train.name} have no train images ({names}): nothing "
            "could learn them. Add some, or take their images out of the other splits."
        )
    if len(trained) < 2:
        names = ", ".join(train.class_names[label] for label in trained)
        raise UserError(
            f"The train images of {train.name} are all of one class ({names}); an evaluation needs "
            "two or more. Is this the folder that holds the class folders?"
        )
    untested = np.setdiff1d(trained, others[0].labels)
    if len(untested):
        names = ", ".join(train.class_names[label] for label in untested[:5])
        say(
            f"{len(untested)} of {len(trained)} classes of {train.name} have no test images "
            f"({names}{', ...' * (len(untested) > 5)}): the accuracy says nothing about them."
        )
