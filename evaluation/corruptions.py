"""Hendrycks and Dietterich's corruptions (arXiv 1903.12261): fifteen, at five severities.

The package imagecorruptions-imaug computes them, after the authors' own code. Its random numbers
come from NumPy's global generator, which is set for every image, so that all encoders see the same
corrupted images; one image is corrupted at a time for that reason.
"""

import dataclasses
import pathlib
import threading
import zlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import tensorflow as tf

from evaluation.classes import every_split, with_labels_of
from sassl_tf.checked import cached, new_array, read_array
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.datasets.tfds import tfds
from sassl_tf.errors import PackageError, UserError
from sassl_tf.representation.features import resize_and_crop, taken_whole
from sassl_tf.typing import PathLike

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for group in GROUPS.values() for name in group)
SEVERITIES = (1, 2, 3, 4, 5)
# ImageNet-C's: a severity means the same for the picture, whatever the size of the encoder's input.
SIDE = 224
FRAMING = 2  # part of the fingerprint of corrupted images: raise it where `_framed` changes
# The names in TFDS's cifar10_corrupted that differ from those of ImageNet-C.
_OTHER_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
_SEEDED = ("impulse_noise", "glass_blur")  # by an argument of the package, not by NumPy's generator
_NUMPY = threading.Lock()


def package() -> ModuleType:
    """Returns the module `imagecorruptions`.

    Raises:
        PackageError: it is not installed.
    """
    try:
        import imagecorruptions
    except ImportError as error:
        raise PackageError(
            "Corrupted images need the package imagecorruptions-imaug: pip install "
            f"imagecorruptions-imaug, or pip install '.[robustness]'. ({error}; for libGL.so.1: "
            "apt-get install libgl1, which OpenCV needs)"
        ) from error
    return imagecorruptions


def corrupt(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """Returns a corrupted image.

    Args:
        image: uint8 [H, W, 3], sides of 32 pixels or more.
        corruption: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        seed: in [0, 2**32), from which all random numbers come.

    Returns:
        uint8 [H, W, 3].
    """
    module = package()
    more = {"seed": seed} if corruption in _SEEDED else {}
    with _NUMPY:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            return module.corrupt(image, severity, corruption_name=corruption, **more)
        finally:
            np.random.set_state(before)


def corrupted(
    dataset: ImageDataset,
    corruption: str,
    severity: int,
    image_size: int,
    crop_proportion: float,
    cache: PathLike | None = None,
) -> ImageDataset:
    """Returns the images of a dataset, corrupted, in the size that an encoder takes.

    As in ImageNet-C, the centre crop of an image is brought to 224 px and corrupted. Then it is
    resized to the encoder's size. Sizes are in pixels, bicubic, and values are rounded to uint8
    after both steps. What is cropped is what `prepare_image` crops of the clean image, so that
    nothing but the corruption is different: an image of the encoder's size is taken whole.

    Args:
        dataset: N images.
        corruption: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        image_size: the side of the result.
        crop_proportion: as for `prepare_image`.
        cache: a folder that keeps the result for other encoders; None keeps nothing.
    """
    module = package()
    salt = zlib.crc32(f"{corruption} {severity}".encode())
    sizes = SIDE, image_size, crop_proportion, FRAMING
    parts = ("corrupted", module.__name__, corruption, severity, *sizes)
    fingerprint = fingerprint_of(dataset.fingerprint, *parts)

    def one(index: np.ndarray, image: np.ndarray) -> np.ndarray:
        seed = int(np.random.SeedSequence([int(index), salt]).generate_state(1)[0])
        return corrupt(image, corruption, severity, seed)

    def read(index: tf.Tensor) -> tf.Tensor:
        crop = _framed(dataset.image(index), image_size, crop_proportion)
        image = tf.ensure_shape(tf.numpy_function(one, [index, crop], tf.uint8), [SIDE, SIDE, 3])
        return _uint8(resize_and_crop(image, image_size, 1.0))

    made = dataclasses.replace(
        dataset, fingerprint=fingerprint, read=read, encoded=None, encoded_run=None
    )
    if cache is None:
        return made
    file = pathlib.Path(cache).expanduser() / f"{fingerprint}.npy"
    kept = cached(read_array, file)
    if kept is None:
        with new_array(file, (len(dataset), image_size, image_size, 3), np.uint8) as array:
            indices = tf.data.Dataset.range(len(dataset))
            for i, image in enumerate(indices.map(read).prefetch(8).as_numpy_iterator()):
                array[i] = image
        kept = read_array(file)

    def from_cache(index: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda i: np.array(kept[i]), [index], tf.uint8)

    return dataclasses.replace(made, read=from_cache)


def _framed(image: tf.Tensor, image_size: int, crop_proportion: float) -> tf.Tensor:
    """Returns at `SIDE` what `prepare_image` shows of an image at `image_size`, as uint8."""
    crop = tf.cond(
        taken_whole(image, image_size),
        lambda: resize_and_crop(image, SIDE, 1.0),
        lambda: resize_and_crop(image, SIDE, crop_proportion),
    )
    return _uint8(crop)


def prepared(
    spec: str, corruption: str, severity: int, class_names: list[str], data_dir: str | None
) -> ImageDataset:
    """Loads images that others have corrupted, with the labels of given classes.

    Args:
        spec: "tfds:cifar10_corrupted" or "tfds:imagenet2012_corrupted", or "folder:PATH" with the
            images in PATH/CORRUPTION/SEVERITY/CLASS, as ImageNet-C is distributed.
        corruption: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        class_names: the classes, in the order of their labels.
        data_dir: the folder of prepared TFDS datasets.

    Raises:
        UserError: they are not there, or have other classes.
    """
    return with_labels_of(_load_prepared(spec, corruption, severity, data_dir), class_names)


def prepared_listing(spec: str, severities: Sequence[int], data_dir: str | None) -> str:
    """Returns the `ImageDataset.listing` of all prepared images of some severities.

    Raises:
        UserError: they are not there.
    """
    found = [
        _load_prepared(spec, name, severity, data_dir).listing
        for name in CORRUPTIONS
        for severity in severities
    ]
    return fingerprint_of(*found)


def are_crops(spec: str) -> bool:
    """Returns whether prepared images are centre crops, as ImageNet-C's; CIFAR's are whole."""
    return not spec.startswith("tfds:cifar")


def _load_prepared(spec: str, corruption: str, severity: int, data_dir: str | None) -> ImageDataset:
    kind, _, place = spec.partition(":")
    if kind == "tfds":
        name = _OTHER_NAMES.get(corruption, corruption) if "cifar" in place else corruption
        return tfds(f"{place}/{name}_{severity}", "test", data_dir=data_dir)
    if kind == "folder" and place:
        path = pathlib.Path(place).expanduser() / corruption / str(severity)
        return every_split(f"folder:{path}")
    raise UserError(
        f"corrupted is {spec!r}; expected tfds:NAME, such as tfds:cifar10_corrupted, or "
        "folder:PATH with PATH/CORRUPTION/SEVERITY/CLASS."
    )


def _uint8(image: tf.Tensor) -> tf.Tensor:
    """Returns an image of [0, 1] as uint8."""
    return tf.cast(tf.round(255.0 * image), tf.uint8)
