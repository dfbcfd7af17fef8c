"""Image datasets with random access: shapes, `folder:PATH`, `records:PATTERN`, `tfds:NAME`."""

from sassl_tf.datasets.dataset import ImageDataset, MissingSplit, check_split
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

__all__ = ["ImageDataset", "MissingSplit", "load_dataset"]


def load_dataset(spec: str, split: str = "train", data_dir: PathLike | None = None) -> ImageDataset:
    """Loads one split of an image dataset.

    Args:
        spec: `"shapes"` (made by the package), `"folder:PATH"` (class folders; see
            `sassl_tf.datasets.folder`), `"records:PATTERN"` (TFRecord shards; see
            `sassl_tf.datasets.records`) or `"tfds:NAME"` (TensorFlow Datasets, with `NAME/config`
            and `NAME:version` as there; see `sassl_tf.datasets.tfds`).
        split: `"train"`, `"test"`, or `"validation"`, the dataset's own.
        data_dir: the folder of prepared TFDS datasets; the other forms ignore it.

    Returns:
        An `ImageDataset` of uint8 [H, W, 3] images in [0, 255].

    Raises:
        MissingSplit: the dataset has no such split; it is a ValueError.
        ValueError: an unknown spec or split, or a dataset that cannot be read.
    """
    kind, _, argument = str(spec).partition(":")
    check_split(split)
    # Imported when asked for: each needs packages that the others do not.
    if spec == "shapes":
        from sassl_tf.datasets.shapes import shapes

        return shapes(split)
    if kind == "folder" and argument:
        from sassl_tf.datasets.folder import folder

        return folder(argument, split)
    if kind == "records" and argument:
        from sassl_tf.datasets.records import records

        return records(argument, split)
    if kind == "tfds" and argument:
        from sassl_tf.datasets.tfds import tfds

        return tfds(argument, split, data_dir=data_dir)
    raise UserError(
        f"The dataset {spec!r} is not known; give tfds:NAME (such as tfds:cifar10), "
        "folder:PATH (a folder of class folders), records:PATTERN (TFRecord shards) or shapes."
    )
