"""Writes the features of all images of a folder to a file.

    python -m evaluation.extract --encoder=runs/simclr --images=photos --output=photos.npz

The name of the output says its format. An `.npz` file has the arrays `features`, float32 [N, D],
and `files`, the N paths within the folder; `numpy.load` reads it. A `.parquet` file has a row for
each image with the columns `file` and `features`, which pandas, Polars and DuckDB read. The images
are taken from all subfolders, in sorted order, and prepared as the evaluations do it.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from absl import flags

from evaluation.encoders import default_image_size, load_encoder, workdir_of
from evaluation.flags import define_crop_flag, define_encoder_flags
from evaluation.subject import EXTRACT_BATCH_SIZE
from sassl_tf.checked import write_arrays
from sassl_tf.datasets import ImageDataset
from sassl_tf.datasets.dataset import os_bytes
from sassl_tf.datasets.folder import every_image
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import AnyPath, as_path
from sassl_tf.representation.features import (
    CROP_PROPORTION,
    PREPARATION,
    encoder_fingerprint,
    extract_features,
)
from sassl_tf.typing import PathLike
from training.command import binary

FORMATS = (".npz", ".parquet")
ROWS_OF_A_GROUP = 65_536  # of a Parquet file: the rows that are in memory at a time


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """An encoder with the preparation of its images.

    Attributes:
        path: where it was loaded from, a `.keras` file or a workdir.
        encoder: Keras model, float32 [B, H, W, 3] in [0, 1] to [B, D].
        image_size: the side in pixels of the images that it sees.
        crop_proportion: the share of the resized shorter side that the centre crop takes.
        batch_size: how many images it sees at a time.
    """

    path: PathLike
    encoder: keras.Model
    image_size: int
    crop_proportion: float = CROP_PROPORTION
    batch_size: int = EXTRACT_BATCH_SIZE

    def features(self, dataset: ImageDataset, keep: bool = False) -> np.ndarray:
        """Computes the features of all images of a dataset.

        Args:
            dataset: an `ImageDataset` of N images.
            keep: whether to keep the features in the encoder's workdir, if it has one, where the
                next call finds them.

        Returns:
            float32 [N, D].
        """
        workdir = workdir_of(self.path)
        if isinstance(workdir, pathlib.Path) and not os.access(workdir, os.W_OK):
            workdir = None  # someone else's encoder; they need not be kept
        return extract_features(
            self.encoder,
            dataset,
            self.image_size,
            self.batch_size,
            cache_dir=workdir / "features" if keep and workdir else None,
            crop_proportion=self.crop_proportion,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that features depend on besides the images, as a dict of JSON's types."""
        return {
            "encoder": str(self.path),
            "encoder_fingerprint": encoder_fingerprint(self.encoder),
            "image_size": self.image_size,
            "crop_proportion": self.crop_proportion,
            "preparation": PREPARATION,
        }


def frozen_encoder(
    path: PathLike,
    image_size: int | None = None,
    crop_proportion: float = CROP_PROPORTION,
    batch_size: int = EXTRACT_BATCH_SIZE,
) -> FrozenEncoder:
    """Loads a `FrozenEncoder`.

    Args:
        path: a `.keras` file or a pretraining workdir.
        image_size: the side of the images; by default the side that the encoder was made for.
        crop_proportion: as for `sassl_tf.representation.features.prepare_image`.
        batch_size: how many images it sees at a time.

    Raises:
        ValueError: there is no encoder.
    """
    encoder = load_encoder(path)
    size = image_size or default_image_size(path, encoder)
    return FrozenEncoder(path, encoder, size, crop_proportion, batch_size)


def frozen_encoder_from_flags() -> FrozenEncoder:
    """Loads the `FrozenEncoder` that the flags about encoder and crop name."""
    values = flags.FLAGS
    return frozen_encoder(
        values.encoder, values.image_size, values.crop_proportion, values.extract_batch_size
    )


def check_output(output: PathLike) -> AnyPath:
    """Returns the output's Path.

    Raises:
        ValueError: its name says no known format.
    """
    output = as_path(output)
    if output.suffix not in FORMATS:
        raise UserError(
            f"The output is {str(output)!r}; give a name that ends with {' or '.join(FORMATS)}, "
            "which is the format."
        )
    return output


def write_features(
    output: PathLike, files: Sequence[str], features: np.ndarray, facts: Mapping[str, Any]
) -> None:
    """Writes features with the names of their images.

    Args:
        output: the file, `.npz` or `.parquet`.
        files: the N paths of the images within their folder.
        features: float32 [N, D], which may be a memory map.
        facts: a dict of JSON's types; an `.npz` has it as JSON in the array `facts`, a Parquet file
            under the key "facts" of its schema's metadata.

    Raises:
        ValueError: the output's name says no known format.
    """
    output = check_output(output)
    # Names that are no UTF-8 are written with escapes, as Parquet and JSON have no other strings.
    names = [os_bytes(file).decode("utf-8", "backslashreplace") for file in files]
    if output.suffix == ".npz":
        arrays = {"features": features, "files": np.array(names), "facts": json.dumps(facts)}
        write_arrays(output, **arrays)
    else:
        with replacing(output) as beside:
            _write_parquet(beside, names, features, facts)


def _write_parquet(path, names, features, facts):
    import pyarrow
    from pyarrow import parquet

    vector = pyarrow.list_(pyarrow.float32(), features.shape[1])
    schema = pyarrow.schema(
        [("file", pyarrow.string()), ("features", vector)], {"facts": json.dumps(facts)}
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(names), ROWS_OF_A_GROUP):
            rows = np.asarray(features[start : start + ROWS_OF_A_GROUP], np.float32)
            vectors = pyarrow.FixedSizeListArray.from_arrays(rows.ravel(), type=vector)
            part = [pyarrow.array(names[start : start + ROWS_OF_A_GROUP]), vectors]
            writer.write_table(pyarrow.table(part, schema=schema))


def main(_: list[str]) -> None:
    values = flags.FLAGS
    output = check_output(values.output)
    images = every_image(values.images)
    frozen = frozen_encoder_from_flags()
    features = frozen.features(images)
    facts = {**frozen.facts, "images": str(values.images), "images_fingerprint": images.fingerprint}
    write_features(output, images.files, features, facts)
    print(f"Wrote {output}: {len(features):,} images, {features.shape[1]} features each.")


if __name__ == "__main__":
    define_encoder_flags()
    define_crop_flag()
    flags.DEFINE_string("images", None, "The folder of images.", required=True)
    flags.DEFINE_string(
        "output", None, "The file to write; it ends with .npz or .parquet.", required=True
    )
    binary.run(main)
