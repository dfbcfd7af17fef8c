"""Images packed in one `.npz` file.

A pack holds, for each of its splits, `jpeg_SPLIT` (uint8, the files one after the other),
`offsets_SPLIT` (integers [N + 1]: image i is `jpeg_SPLIT[offsets[i]:offsets[i + 1]]`) and `y_SPLIT`
(integers [N]; -1 without a label), and `class_names`.
"""

import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from tqdm.auto import tqdm

from sassl_tf.errors import UserError
from sassl_tf.refusals import reason
from sassl_tf.typing import PathLike
from training.conversion.source import Source

SPLITS = ("train", "validation", "val", "test")
# The errors of np.load for a file that is cut short or of another format.
DAMAGED = (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error, TypeError)


def packed_images(path: PathLike) -> Source:
    """Returns the `Source` of a pack's images, in their order.

    Raises:
        ValueError: the file is not a pack, or its arrays do not fit together.
    """
    names, columns = _read_pack(path)

    def examples() -> Iterator[tuple[str, int, bytes]]:
        for split, (data, offsets, labels) in columns.items():
            for i in tqdm(range(len(labels)), desc=split, unit="img", disable=None):
                yield split, int(labels[i]), data[offsets[i] : offsets[i + 1]].tobytes()

    return Source(names, examples())


def _read_pack(path):
    """Returns the class names and {split: (bytes, offsets, labels)} of a pack, checked."""
    try:
        with np.load(path, allow_pickle=False) as pack:
            names = [_text(name) for name in pack["class_names"]]
            splits = [name for name in SPLITS if f"jpeg_{name}" in pack]
            columns = {
                name: tuple(pack[f"{column}_{name}"] for column in ("jpeg", "offsets", "y"))
                for name in splits
            }
    except DAMAGED as error:
        raise UserError(
            f"{path} is not a pack of images ({reason(error)}); expected an .npz file with "
            "jpeg_SPLIT, offsets_SPLIT, y_SPLIT and class_names, arrays of numbers and of text."
        ) from None
    problems = [
        f"{split}: {problem}"
        for split, arrays in columns.items()
        for problem in _problems(*arrays, len(names))
    ]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        problems.append(f"the class names repeat: {', '.join(repeated)}")
    if problems:
        raise UserError(
            f"The arrays of the pack {path} do not fit together. " + "; ".join(problems) + "."
        )
    return names, columns


def _text(name):
    return name.decode() if isinstance(name, bytes) else str(name)


def _problems(data, offsets, labels, count):
    """Yields a message for each difference from the format at the top of this file."""
    if data.dtype != np.uint8 or data.ndim != 1:
        yield f"jpeg is {data.dtype} of shape {data.shape}, expected uint8 [BYTES]"
    for name, array in (("offsets", offsets), ("y", labels)):
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            yield f"{name} is {array.dtype} of shape {array.shape}, expected integers, 1-D"
            return
    if len(offsets) != len(labels) + 1:
        yield f"{len(offsets)} offsets, {len(labels)} labels; expected one offset more than labels"
    # As Python's integers, since NumPy's overflow, or become floats if one is unsigned.
    ends = [int(offset) for offset in offsets]
    if ends and (ends[0] < 0 or ends[-1] > len(data) or ends != sorted(ends)):
        yield f"the offsets are not ascending numbers from 0 to {len(data)}"
    lowest, highest = (int(f(labels)) if len(labels) else 0 for f in (np.min, np.max))
    if lowest < -1 or highest >= max(count, 1):
        yield (
            f"labels are from {lowest} to {highest}, expected from 0 to below the number of class "
            f"names ({count}), or -1 for an image without a label"
        )
