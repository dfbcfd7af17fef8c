"""Tar shards as webdataset writes them.

The files of a sample follow one another and have the same name up to the first dot: `KEY.jpg` (or
another image) and, where there is a label, `KEY.cls`, a number.
"""

import itertools
import tarfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tqdm.auto import tqdm

from sassl_tf.datasets.dataset import SPLIT_NAMES, UNLABELLED
from sassl_tf.datasets.listing import SUFFIXES
from sassl_tf.datasets.records import SPLIT
from sassl_tf.datasets.shards import absolute, matching
from sassl_tf.errors import UserError
from sassl_tf.paths import reading
from training.conversion.source import Source

LABEL = ".cls"


def images_of_tars(pattern: str) -> Source:
    """Returns the `Source` of the images in tar files, in their order.

    Args:
        pattern: of the files, compressed or not; `{split}` in it is as in `records:`.

    Raises:
        ValueError: no file matches.
    """
    pattern = absolute(pattern)
    names = {name for names in SPLIT_NAMES.values() for name in names}
    # The longest first: val* is the pattern of validation-0.tar too.
    splits = sorted(names, key=lambda name: (-len(name), name)) if SPLIT in pattern else ["train"]
    shards: dict[str, list[str]] = {}
    for split in splits:
        taken = {path for paths in shards.values() for path in paths}
        found = matching(pattern.replace(SPLIT, split))
        shards[split] = [path for path in found if path not in taken]
    if not any(shards.values()):
        raise UserError(f"No file matches tar:{pattern}. Give a pattern such as DIR/train-*.tar.")

    def examples() -> Iterator[tuple[str, int, bytes]]:
        for split, paths in shards.items():
            for path in tqdm(paths, desc=split, unit="shard", disable=None):
                for label, image in _samples(path):
                    yield split, label, image

    return Source([], examples())


def _samples(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields (label, encoded image) of the samples of a tar file that have an image."""
    try:
        with (
            reading(path),
            tf.io.gfile.GFile(path, "rb") as file,
            tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as archive,
        ):
            members = ((m.name, archive.extractfile(_no_link(m, path))) for m in archive)
            files = ((_key(name), content.read()) for name, content in members if content)
            for key, parts in itertools.groupby(files, lambda named: named[0][0]):
                content = {suffix: data for (_, suffix), data in parts}
                image = next((content[s] for s in SUFFIXES if s in content), None)
                if image is not None:
                    yield _label(content.get(LABEL), path, key), image
                elif LABEL in content:
                    raise UserError(
                        f"{path} has a label of {key} without its image beside it. The files of a "
                        "sample must follow one another: write the archive with tar --sort=name."
                    )
    except tarfile.TarError as error:
        raise UserError(f"{path} is no whole tar file ({error}). Copy it again.") from error


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error. tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # blocks of zeros: the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or missing: {error}") from error


def _no_link(member, path):
    """Returns a member of an archive that is no link."""
    if member.islnk() or member.issym():
        raise UserError(
            f"{member.name} in {path} is a link to {member.linkname}. Write the archive with tar "
            "--dereference --hard-dereference."
        )
    return member


def _key(name):
    """Returns the name of the sample that a file belongs to, and the rest of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, dot, suffix = file.partition(".")
    return folder + slash + key, dot + suffix.lower()


def _label(text, path, key):
    if text is None:
        return UNLABELLED
    try:
        return int(text)
    except ValueError:
        raise UserError(
            f"The label of {key} in {path} is {text[:30]!r}; expected a number. Write the shards "
            "again with numbers as labels, or without."
        ) from None
