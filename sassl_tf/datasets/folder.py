"""Folders of image files as datasets."""

import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sassl_tf.checked import cached, read_json, write_json
from sassl_tf.datasets.cache import cache_folder
from sassl_tf.datasets.dataset import (
    READS_IN_FLIGHT,
    UNLABELLED,
    ImageDataset,
    check_split,
    fingerprint_of,
    on_host,
    os_bytes,
)
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.datasets.failing import failing
from sassl_tf.datasets.left_out import leave_out
from sassl_tf.datasets.listing import files_under, listing
from sassl_tf.errors import FileError, UserError
from sassl_tf.paths import AnyPath, as_path, is_url
from sassl_tf.typing import PathLike


def folder(path: PathLike, split: str = "train") -> ImageDataset:
    """Loads a folder of class folders (or of plain images) as an `ImageDataset`.

    - `path/train/<class>/...` and `path/test/<class>/...` or `path/val/<class>/...`: the split
      "test" is `test` where there is one, else `val`; where there are both, `val` is "validation",
      which the other forms lack. A `test` without class folders, as ImageNet's, is not used where
      `val` has some. A label means the same class in all of them. Names may be in any
      case, and `training`, `valid`, `validation`, `dev` and `testing` mean the same.
    - `path/<class>/...`: every fifth image of each class, in sorted order, is "test".
    - images directly in `path` or in a split's folder, with no class folders: unlabelled. Without
      split folders all of them are "train".

    Class folders are searched recursively; hidden files and folders are ignored, links are followed
    but not back into a folder that they are in. Images beside class folders or split folders, and
    folders of images beside split folders, are not used, and a warning names them. Images are
    decoded as `sassl_tf.datasets.decoding.decode_image` says: JPEG, PNG, GIF, BMP and WebP to RGB,
    alpha dropped and EXIF rotation ignored.

    Every file is decoded once, when it is first seen, because an unreadable one would otherwise
    stop a training in the middle. Unreadable files are left out with a warning. The result is kept
    in `$SASSL_CACHE` (else `~/.cache/sassl_tf`) until a file changes.

    Raises:
        ValueError: no such folder, split or image; a folder that cannot be read, or that may be a
            split or a class; or more unreadable files than 1 % (one is always allowed).
    """
    check_split(split)
    root = _existing(path)
    return _dataset(path, root, split, *listing(root, split))


def every_image(path: PathLike) -> ImageDataset:
    """Loads all images under a folder, whatever its subfolders are called, without labels.

    Files are checked, and hidden ones ignored, as `folder` does.

    Raises:
        ValueError: no such folder or image; a folder that cannot be read; or more unreadable files
            than 1 % (one is always allowed).
    """
    root = _existing(path)
    files = sorted(files_under(root))
    if not files:
        raise UserError(f"There are no files under {root}.")
    return _dataset(path, root, "train", files, np.full(len(files), UNLABELLED), [])


def image_files(paths: Sequence[PathLike]) -> ImageDataset:
    """Loads single image files, without labels, in the order that they are given.

    Raises:
        ValueError: no file is given, or one is missing or no readable image.
    """
    files = [str(pathlib.Path(path).expanduser().absolute()) for path in paths]
    if not files:
        raise UserError("No image file is given; give one or more.")
    tensor = _paths(files)
    if bad := undecodable(tensor):
        raise UserError(
            f"{', '.join(files[i] for i in bad[:5])}{', ...' * (len(bad) > 5)}: no such file, or "
            "no readable image. Give files of JPEG, PNG, GIF, BMP or WebP."
        )
    stats = [_size_and_time(file) for file in files]
    return ImageDataset(
        name="files",
        split="train",
        class_names=[],
        labels=np.full(len(files), UNLABELLED),
        fingerprint=fingerprint_of(*itertools.chain.from_iterable(zip(files, stats, strict=True))),
        read=lambda index: _read(tensor, index),
        damaged=functools.partial(damaged_files, tensor, np.array(stats, np.int64)),
        files=files,
    )


def _existing(path: PathLike) -> AnyPath:
    root = as_path(path).absolute()
    if not root.is_dir():
        raise UserError(f"The dataset folder {root} does not exist (or is no folder).")
    return root


def _dataset(
    path: PathLike,
    root: AnyPath,
    split: str,
    files: Sequence[str],
    labels: NDArray[np.integer],
    class_names: list[str],
) -> ImageDataset:
    names = [file[len(str(root)) + 1 :] for file in files]
    stats = sizes_and_times(files)
    bad = _bad_files(root, split, names, _paths(files), stats)

    good = np.setdiff1d(np.arange(len(files)), bad)
    paths = _paths([files[i] for i in good])
    encoded = _reader(paths, [stats[i] for i in good])

    def read(index: tf.Tensor) -> tf.Tensor:
        return decode_image(encoded(index))

    # Times too: an image replaced by one of the same size is another image.
    names_sizes_times = itertools.chain.from_iterable((names[i], *stats[i]) for i in good)
    names_sizes = itertools.chain.from_iterable((names[i], stats[i][0]) for i in good)
    return ImageDataset(
        name=f"folder:{path}",
        split=split,
        class_names=class_names,
        labels=labels[good],
        fingerprint=fingerprint_of(*class_names, *names_sizes_times),
        read=read,
        listing=fingerprint_of(*class_names, *names_sizes),
        damaged=functools.partial(
            damaged_files, paths, np.array([stats[i] for i in good], np.int64), read
        ),
        encoded=encoded,
        files=[names[i] for i in good],
    )


def damaged_files(
    paths: tf.Tensor,
    stats: NDArray[np.int64],
    read: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> list[str]:
    """Returns the paths of files that have changed and cannot be read.

    Args:
        paths: string [N].
        stats: size and time [N, 2] that the files had when they could be read.
        read: the operations that read and decode the file of an index; None if `undecodable` does
            it as they do.
    """
    files = [os.fsdecode(path) for path in paths.numpy()]
    now = np.array(sizes_and_times(files), np.int64)
    changed = np.flatnonzero((now != stats).any(axis=1))
    bad = failing(read or functools.partial(_read, paths), changed) if changed.size else changed
    return [files[i] for i in bad]


def _reader(paths: tf.Tensor, stats: Sequence[tuple[int, int]]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the operations from an index to the content of a file; see `file_content`."""
    sizes = on_host(np.array([max(size, 1) for size, _ in stats], np.int64))
    return lambda index: file_content(tf.gather(paths, index), tf.gather(sizes, index))


def _paths(files: Sequence[str]) -> tf.Tensor:
    return on_host(np.array([os_bytes(file) for file in files], object))


def file_content(path: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the content of a file, string [], without keeping a thread waiting for it.

    `tf.io.read_file` blocks one of the few threads that all operations share, one for each core, so
    that no more reads than cores would be in flight. Datasets read in threads of their own.

    Args:
        path: string [].
        size: int64 [], of the file, at least 1.

    Raises:
        tf.errors.OpError: there is no such file, or it has another size.
    """
    variant = tf.raw_ops.FixedLengthRecordDatasetV2(
        filenames=[path],
        header_bytes=tf.constant(0, tf.int64),
        record_bytes=size,
        footer_bytes=tf.constant(0, tf.int64),
        buffer_size=size,
        compression_type="",
    )
    content = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
    return content.take(1).get_single_element()


def _read(paths: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return decode_image(tf.io.read_file(tf.gather(paths, index)))


# Files that cannot be read.


def _bad_files(
    root: AnyPath,
    split: str,
    names: Sequence[str],
    paths: tf.Tensor,
    stats: Sequence[tuple[int, int]],
) -> list[int]:
    """Returns the positions of unreadable files, after a warning; ValueError if too many."""
    key = _cache_key(root, names, stats)
    remembered = _load_cache(key)
    if remembered is not None:
        bad = remembered
    elif is_url(root):
        encoded = _reader(paths, stats)
        everything = np.arange(len(names))
        bad = failing(lambda index: decode_image(encoded(index)), everything).tolist()
    else:
        bad = undecodable(paths)
    leave_out([names[i] for i in bad], len(names), f"files of the {split} split of {root}")
    if remembered is None:
        _save_cache(key, bad)
    return bad


def undecodable(paths: tf.Tensor) -> list[int]:
    """Decodes every file, in parallel, and returns the positions of those that fail."""
    return failing(lambda index: _read(paths, index), np.arange(len(paths))).tolist()


def sizes_and_times(files: Sequence[str]) -> list[tuple[int, int]]:
    """Returns (bytes, nanoseconds of the last change) of each file; (0, 0) for one that is gone."""
    if not any(map(is_url, files)):
        return [_size_and_time(file) for file in files]
    with concurrent.futures.ThreadPoolExecutor(READS_IN_FLIGHT) as pool:  # each is a request
        return list(pool.map(_size_and_time, files))


def _size_and_time(file: str) -> tuple[int, int]:
    try:
        stat = as_path(file).stat() if is_url(file) else os.stat(file)
    except FileError:
        raise  # a bucket that does not answer
    except OSError:  # a dangling link, which cannot be read later on
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _cache_key(root: AnyPath, names: Sequence[str], stats: Sequence[tuple[int, int]]) -> str:
    # Another TensorFlow may read more, or fewer, formats.
    digest = hashlib.sha256(os_bytes(f"{tf.__version__}\0{root.resolve()}\0"))
    for name, (size, time) in zip(names, stats, strict=True):
        digest.update(os_bytes(f"{name}\0{size}\0{time}\0"))
    return digest.hexdigest()[:32]


def _load_cache(key: str) -> list[int] | None:
    try:
        content = cached(read_json, cache_folder() / f"images-{key}.json")
    except OSError:
        return None
    return content.get("bad") if isinstance(content, dict) else None


def _save_cache(key: str, bad: list[int]) -> None:
    with contextlib.suppress(OSError):  # without a cache the next start only takes longer
        write_json(cache_folder() / f"images-{key}.json", {"bad": bad})
