"""Writes a dataset to TFRecord shards, or to class folders.

    python -m training.convert_dataset --source=folder:imagenet --output=shards --format=records
    python -m training.convert_dataset --source=tfds:cifar10 --output=cifar10
    python -m training.convert_dataset --source=cifar10_jpeg.npz --output=cifar10

Sources are `tfds:NAME` (in any of its file formats, ArrayRecord included), `folder:PATH`,
`tar:PATTERN` (webdataset) and packs of images, `.npz`.

With `--format=records` the output is `OUTPUT/{train,validation,test}-NUMBER.tfrecord` and the class
names in `label.labels.txt`, for `records:OUTPUT/{split}-*`. The images of folders are written in a
random order, the same one every time, so that neighbours are of different classes.

With `--format=folder`, the default, it is `OUTPUT/{train,val,test}/CLASS/NUMBER.jpg` (or .png), for
`folder:OUTPUT`; images without a label are left out.

Images are copied as they are stored, without encoding them again. OUTPUT appears when all is
written.

A tar shard of webdataset holds files `KEY.jpg` (or .png, ...) and `KEY.cls`, the label as a number.
`{split}` in the pattern is as for `records:`.

A pack holds, for each of its splits, `jpeg_SPLIT` (uint8, the files one after the other),
`offsets_SPLIT` (integers [N + 1]: image i is `jpeg_SPLIT[offsets[i]:offsets[i + 1]]`) and `y_SPLIT`
(integers [N]), and `class_names`.
"""

import shlex

from absl import flags

from sassl_tf.datasets.tfds import encoded_examples
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike
from training.command import binary
from training.conversion.images import images_of_folder
from training.conversion.packs import packed_images
from training.conversion.source import Source
from training.conversion.tars import images_of_tars
from training.conversion.writers import SPLIT_FOLDERS, check_is_new, write_folders, write_shards

WRITERS = {"folder": write_folders, "records": write_shards}
USE_AS = {"folder": "folder:{}", "records": "records:{}/{{split}}-*"}


def source_of(spec: str, data_dir: PathLike | None = None) -> Source:
    """Returns the `Source` that a `--source` names.

    Raises:
        ValueError: it names none.
    """
    kind, _, name = spec.partition(":")
    if kind == "tfds" and name:
        return Source(*encoded_examples(name, [*SPLIT_FOLDERS], data_dir))
    if kind == "folder" and name:
        return images_of_folder(spec)
    if kind == "tar" and name:
        return images_of_tars(name)
    if spec.endswith(".npz"):
        return packed_images(spec)
    raise UserError(
        f"The source is {spec!r}; expected tfds:NAME, folder:PATH, tar:PATTERN or a .npz file."
    )


def main(_: list[str]) -> None:
    values = flags.FLAGS
    check_is_new(values.output)  # before the source is read, which takes long
    count = WRITERS[values.format](source_of(values.source, values.data_dir), values.output)
    use_as = shlex.quote(USE_AS[values.format].format(values.output))
    print(f"{count} images. Use them as {use_as}")


if __name__ == "__main__":
    flags.DEFINE_string(
        "source",
        None,
        "The dataset to convert: tfds:NAME, folder:PATH, tar:PATTERN, or a .npz pack.",
        required=True,
    )
    flags.DEFINE_string("output", None, "The folder to write; it must not exist.", required=True)
    flags.DEFINE_enum(
        "format", "folder", WRITERS, "The form to write: class folders, or TFRecord shards."
    )
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    binary.run(main)
