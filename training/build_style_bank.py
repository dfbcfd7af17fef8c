"""Computes a style bank: the codes of a style dataset, once before training.

    python -m training.build_style_bank --images=FOLDER --stylizer=compact --output=styles.npz

`--images` is a folder, all of whose images are encoded, or a dataset as for training (`tfds:dtd`).
Use the bank with the same stylizer, by `SASSLAugmentation(styles="styles.npz")`. The same command
continues after an interruption.
"""

import shlex
import shutil

import numpy as np
from absl import flags
from tqdm.auto import tqdm

from sassl_tf.checked import cached, read_array, write_array
from sassl_tf.datasets import ImageDataset, load_dataset
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.datasets.folder import every_image
from sassl_tf.files import check_holds_no_folders
from sassl_tf.paths import as_path
from sassl_tf.style_bank import StyleBank
from sassl_tf.stylizers import Stylizer, load_stylizer
from sassl_tf.typing import PathLike
from training.command import binary
from training.engine.lock import locked
from training.report.logs import say

PART = 1024  # images, after which a part is saved


def build_style_bank(
    dataset: ImageDataset, stylizer: Stylizer, output: PathLike, part: int = PART
) -> StyleBank:
    """Encodes all images of an `ImageDataset` and writes the bank.

    Finished parts are saved in a folder beside `output`, named after the images and the stylizer.
    The next call continues from there. The folder is removed at the end.

    Args:
        dataset: an `ImageDataset`.
        stylizer: a `Stylizer`.
        output: path of the `.npz` file.
        part: number of images in a part.

    Returns:
        The `StyleBank`.

    Raises:
        ValueError: a code is not finite.
        InUse: another process computes the same bank.
    """
    check_holds_no_folders(output)  # of finished parts
    output = as_path(output)
    key = fingerprint_of(dataset.fingerprint, dataset.split, stylizer.fingerprint, part)
    parts = output.with_name(f".{output.name}.{key}")
    with locked(parts):
        bank = _bank_of_parts(dataset, stylizer, parts, part)
        bank.save(output)
        shutil.rmtree(parts)
    return bank


def _bank_of_parts(dataset, stylizer, parts, part):
    """Returns the bank; reads the files in the folder `parts`, and writes missing ones."""
    starts = range(0, len(dataset), part)
    files = [parts / f"{start:09d}.npy" for start in starts]
    codes = [cached(read_array, file) for file in files]
    done = sum(part_codes is not None for part_codes in codes)
    if done:
        say(f"Continuing after {min(done * part, len(dataset))} of {len(dataset)} images.")
    with tqdm(total=len(dataset), unit="img", desc="Encoding styles") as bar:
        for i, (start, file) in enumerate(zip(starts, files, strict=True)):
            numbers = np.arange(start, min(start + part, len(dataset)))
            if codes[i] is None:
                codes[i] = StyleBank.from_images(dataset.subset(numbers), stylizer).codes
                write_array(file, codes[i])
            bar.update(len(numbers))
    return StyleBank(np.concatenate(codes), stylizer.fingerprint)


def style_dataset(images: str, data_dir: str | None = None) -> ImageDataset:
    """Returns the `ImageDataset` of a folder or of a spec for `load_dataset`."""
    if images == "shapes" or images.startswith(("folder:", "records:", "tfds:")):
        return load_dataset(images, data_dir=data_dir)
    return every_image(images)


def main(_: list[str]) -> None:
    stylizer = load_stylizer(_STYLIZER.value, _WEIGHTS.value)
    dataset = style_dataset(_IMAGES.value, _DATA_DIR.value)
    bank = build_style_bank(dataset, stylizer, _OUTPUT.value)
    print(f"{_OUTPUT.value}: {len(bank)} styles of {_IMAGES.value}, for {stylizer!r}.")
    weights = [f"--config.sassl.weights={_WEIGHTS.value}"] if _WEIGHTS.value else []
    arguments = [f"--config.sassl.stylizer={stylizer.name}", *weights]
    print("In training:", shlex.join([*arguments, f"--config.sassl.styles={_OUTPUT.value}"]))


if __name__ == "__main__":
    _IMAGES = flags.DEFINE_string(
        "images", None, "The folder or the dataset of style images.", required=True
    )
    _DATA_DIR = flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    _STYLIZER = flags.DEFINE_string("stylizer", "compact", "The name of the stylizer.")
    _WEIGHTS = flags.DEFINE_string(
        "weights", None, "The stylizer's weights, if its name does not determine them."
    )
    _OUTPUT = flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    binary.run(main, continues=True)
