"""Images of a dataset with random access, such as a folder."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from sassl_tf.datasets import MissingSplit, load_dataset
from sassl_tf.datasets.dataset import READS_IN_FLIGHT, naming_damaged
from training.conversion.source import Source


def images_of_folder(spec: str) -> Source:
    """Returns the `Source` of a folder's images, in a random order.

    Args:
        spec: as for `load_dataset`, such as "folder:PATH".

    Raises:
        ValueError: no such dataset.
    """
    datasets = [load_dataset(spec)]
    for split in ("test", "validation"):
        with contextlib.suppress(MissingSplit):
            datasets.append(load_dataset(spec, split))

    def examples() -> Iterator[tuple[str, int, bytes]]:
        for dataset in datasets:
            order = np.random.default_rng(0).permutation(len(dataset))
            stored = tf.data.Dataset.from_tensor_slices(order).map(
                dataset.encoded, num_parallel_calls=READS_IN_FLIGHT, deterministic=True
            )
            shown = tqdm(order, desc=dataset.split, unit="img", disable=None)
            with naming_damaged(dataset):
                for index, image in zip(shown, stored.as_numpy_iterator(), strict=True):
                    yield dataset.split, int(dataset.labels[index]), image

    # All splits have the same names, or none where no image of them is in a class folder.
    class_names = next((d.class_names for d in datasets if d.class_names), [])
    return Source(class_names, examples())
