"""Writes a dataset of TFDS, or images packed in one .npz file, to class folders.

    python -m training.convert_dataset --source=tfds:imagenet2012 --data_dir=DIR --output=imagenet
    python -m training.convert_dataset --source=cifar10_jpeg.npz --output=cifar10

The folders are `OUTPUT/{train,val,test}/CLASS/NUMBER.jpg` (or .png), for `folder:OUTPUT`. Images
are copied as they are stored, without encoding them again. OUTPUT appears when all is written.

`tfds:` keeps a split in memory, while `folder:` reads images from disk when they are needed. So
use this for ImageNet and other datasets of more than 8 GiB.

A pack holds, for each of its splits, `jpeg_SPLIT` (uint8, the files one after the other),
`offsets_SPLIT` (integers [N + 1]: image i is `jpeg_SPLIT[offsets[i]:offsets[i + 1]]`) and `y_SPLIT`
(integers [N]), and `class_names`.
"""

import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from absl import flags
from tqdm.auto import tqdm

from sassl_tf.datasets.tfds import encoded_examples
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.refusals import reason
from sassl_tf.typing import PathLike
from training.command import binary

SPLIT_FOLDERS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
# The errors of np.load for a file that is cut short or of another format.
DAMAGED = (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error, TypeError)
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp", b"RI": ".webp"}


def packed_examples(path: PathLike) -> Iterator[tuple[str, str, bytes]]:
    """Yields (split, class name, encoded image) for each labelled image of a pack.

    Raises:
        ValueError: the file is not a pack, or its arrays do not fit together.
    """
    names, columns = _read_pack(path)
    for split, (data, offsets, labels) in columns.items():
        for i in tqdm(range(len(labels)), desc=split, unit="img", disable=None):
            if labels[i] >= 0:  # -1: unlabelled
                yield split, names[labels[i]], data[offsets[i] : offsets[i + 1]].tobytes()


def _read_pack(path):
    """Returns the class names and {split: (bytes, offsets, labels)} of a pack, checked."""
    try:
        with np.load(path, allow_pickle=False) as pack:
            names = [_text(name) for name in pack["class_names"]]
            splits = [name for name in SPLIT_FOLDERS if f"jpeg_{name}" in pack]
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


def write_folders(examples: Iterable[tuple[str, str, bytes]], output: PathLike) -> int:
    """Writes images to class folders.

    Args:
        examples: iterable of (split, class name, encoded image).
        output: path of the folder to make.

    Returns:
        The number of images.

    Raises:
        ValueError: `output` exists, an image has an unknown format, two classes would share a
            folder, or there is no image.
    """
    output = pathlib.Path(output)
    if output.exists():
        raise UserError(f"{output} exists already; give another --output, or remove it.")
    count = 0
    folder_of: dict[str, str] = {}  # of each class
    with replacing(output) as beside:
        for split, name, data in examples:
            suffix = SUFFIXES.get(data[:2])
            if suffix is None:
                raise UserError(
                    f"Image {count} ({split}, {name}) is not a JPEG, PNG, GIF, BMP or WebP file. "
                    "Remove it from the dataset, or convert it."
                )
            if name not in folder_of:
                folder_of[name] = _folder_name(name, folder_of.values())
            folder = beside / SPLIT_FOLDERS[split] / folder_of[name]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{count:08}{suffix}").write_bytes(data)
            count += 1
        if not count:
            raise UserError("There are no labelled images to write.")
    return count


def _folder_name(class_name, taken):
    # Some names of TFDS contain slashes (SUN397: /a/abbey).
    name = class_name.strip("/").replace("/", "_")
    if not name or name.startswith(".") or name in taken:
        raise UserError(
            f"The class {class_name!r} cannot have a folder of its own: its name is empty, begins "
            "with a dot, or becomes another class's name when _ replaces /. Rename it."
        )
    return name


def main(_: list[str]) -> None:
    values = flags.FLAGS
    kind, _, name = values.source.partition(":")
    if kind == "tfds" and name:
        examples = encoded_examples(name, [*SPLIT_FOLDERS], values.data_dir)
    elif values.source.endswith(".npz"):
        examples = packed_examples(values.source)
    else:
        raise UserError(f"The source is {values.source!r}; expected tfds:NAME or a .npz file.")
    count = write_folders(examples, values.output)
    print(f"{count} images. Use them as folder:{values.output}")


if __name__ == "__main__":
    flags.DEFINE_string(
        "source", None, "The dataset to convert: tfds:NAME, or a .npz pack.", required=True
    )
    flags.DEFINE_string("output", None, "The folder to write; it must not exist.", required=True)
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    binary.run(main)
