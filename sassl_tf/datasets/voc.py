"""Folders in the layout of PASCAL VOC: JPEGImages, Annotations, perhaps SegmentationClass."""

import dataclasses
import itertools
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.annotated import AnnotatedDataset, padded_boxes
from sassl_tf.datasets.dataset import (
    MissingSplit,
    check_split,
    fingerprint_of,
    on_host,
    os_bytes,
)
from sassl_tf.datasets.folder import image_files, sizes_and_times
from sassl_tf.datasets.listing import TEST_EVERY
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

CLASSES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
]
LISTS = ("train", "trainval", "val", "test")
# The folder of ImageSets with the lists for each kind of annotation.
TASKS = {"boxes": "Main", "masks": "Segmentation"}


def voc(path: PathLike, split: str = "train", needs: str = "boxes") -> AnnotatedDataset:
    """Loads a folder in the layout of PASCAL VOC.

    The split is a list of ImageSets: of Main for boxes, of Segmentation for masks. "test" is the
    list `test`; "train" is then `trainval`, else `train`. Without `test`, as in VOC2012, "test" is
    `val` and "train" is `train`. Without lists, every fifth image in sorted order is "test". The
    classes are VOC's twenty if no other occurs in the folder, else those that occur, sorted.

    Args:
        path: of the folder.
        split: "train" or "test".
        needs: "boxes", or "masks" for the images of SegmentationClass, with their boxes too.

    Raises:
        ValueError: no such folder or split, or an annotation or a mask that is missing or damaged.
    """
    check_split(split)
    if split == "validation":
        raise MissingSplit(f"voc:{path} has no validation split here: val is for training or test.")
    root = pathlib.Path(path).expanduser().absolute()
    if not (root / "JPEGImages").is_dir() or not (root / "Annotations").is_dir():
        raise UserError(f"{root} has no folders JPEGImages and Annotations, as VOC's have.")
    has_masks = needs == "masks"
    if has_masks and not (root / "SegmentationClass").is_dir():
        raise UserError(f"{root} has no masks: there is no folder SegmentationClass in it.")
    names = _names(root, split, TASKS[needs])
    objects = [_objects(_annotation(root, name)) for name in names]
    class_names = _class_names(root, names, objects)
    boxes, classes = padded_boxes(
        [corners for _, corners, _ in objects],
        [np.array([class_names.index(kind) for kind in kinds], int) for kinds, _, _ in objects],
    )
    difficult = np.zeros(classes.shape, bool)
    for number, (_, _, hard) in enumerate(objects):
        difficult[number, : len(hard)] = hard
    images = image_files([root / "JPEGImages" / f"{name}.jpg" for name in names])
    # The same images with other annotations are other data.
    annotations = [*class_names, boxes.tobytes(), classes.tobytes(), difficult.tobytes()]
    masks = _masks(root, names) if has_masks else []
    states = itertools.chain.from_iterable(sizes_and_times(masks))
    fingerprint = fingerprint_of(images.fingerprint, *annotations, *states)
    images = dataclasses.replace(
        images, name=f"voc:{path}", split=split, fingerprint=fingerprint, listing=""
    )
    mask_paths = on_host(np.array([os_bytes(mask) for mask in masks], object))
    return AnnotatedDataset(
        images=images,
        class_names=class_names,
        boxes=boxes,
        classes=classes,
        difficult=difficult,
        mask_names=["background", *class_names] if has_masks else [],
        read_mask=(lambda index: _read_mask(tf.gather(mask_paths, index))) if has_masks else None,
    )


def _masks(root: pathlib.Path, names: list[str]) -> list[str]:
    """Returns the paths of the masks of images."""
    files = [root / "SegmentationClass" / f"{name}.png" for name in names]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(
            f"{len(missing)} of {len(files)} masks are missing, the first is {missing[0]}. "
            "Put them there, or list the images that have masks in "
            "ImageSets/Segmentation/train.txt and val.txt."
        )
    return [str(file) for file in files]


def _names(root: pathlib.Path, split: str, task: str) -> list[str]:
    """Returns the names of the images of a split, without their suffix."""
    lists = root / "ImageSets" / task
    present = [name for name in LISTS if _list(lists, name)]
    if present:
        wanted = _lists_of(split, "test" in present)
        for name in wanted:
            if name in present:
                return _list(lists, name)
        raise MissingSplit(
            f"{lists} has none of the lists {', '.join(wanted)} for {split}; it has "
            f"{', '.join(present)}."
        )
    if (root / "ImageSets").is_dir():
        raise UserError(f"{lists} has none of the lists {', '.join(LISTS)}.")
    every = sorted(file.stem for file in (root / "JPEGImages").glob("*.jpg"))
    is_test = np.arange(len(every)) % TEST_EVERY == TEST_EVERY - 1
    chosen = [name for name, held in zip(every, is_test, strict=True) if held == (split == "test")]
    if not chosen:
        raise MissingSplit(f"{root} has no images for the split {split}.")
    return chosen


def _annotation(root: pathlib.Path, name: str) -> pathlib.Path:
    return root / "Annotations" / f"{name}.xml"


def _class_names(
    root: pathlib.Path, names: list[str], objects: list[tuple[list[str], np.ndarray, list[bool]]]
) -> list[str]:
    """Returns the names of the classes: the same for every split, also where one lacks a class."""
    occurring = {kind for kinds, _, _ in objects for kind in kinds}
    folders = [root / "ImageSets" / task for task in TASKS.values()]
    others = {name for folder in folders for part in LISTS for name in _list(folder, part)}
    if not (root / "ImageSets").is_dir():
        others = {file.stem for file in (root / "JPEGImages").glob("*.jpg")}
    for name in others - {*names}:
        if (file := _annotation(root, name)).is_file():  # VOC's test images may have none
            occurring.update(_objects(file)[0])
    return CLASSES if occurring <= {*CLASSES} else sorted(occurring)


def _lists_of(split: str, has_test: bool) -> tuple[str, ...]:
    """Returns the lists that may be a split, the best first."""
    if split == "test":
        return ("test",) if has_test else ("val",)
    # trainval holds val, which is the test split where there is no list test.
    return ("trainval", "train") if has_test else ("train",)


def _list(lists: pathlib.Path, name: str) -> list[str]:
    file = lists / f"{name}.txt"
    return file.read_text().split() if file.is_file() else []


def _objects(file: pathlib.Path) -> tuple[list[str], np.ndarray, list[bool]]:
    """Returns the classes, the boxes [n, 4] as shares of the sides, and whether they are difficult.

    VOC counts pixels from 1, and its last pixel is inside the box.
    """
    try:
        tree = ElementTree.parse(file).getroot()
        width, height = (float(_text(tree, f"size/{side}")) for side in ("width", "height"))
        if not min(width, height) > 0:
            raise UserError(f"its size is {width:g} x {height:g}")
        kinds, boxes, hard = [], [], []
        for item in tree.iter("object"):
            left, top, right, bottom = (
                float(_text(item, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")
            )
            if not (left <= right and top <= bottom):
                raise UserError(f"a box is {left:g}, {top:g}, {right:g}, {bottom:g}")
            kinds.append(_text(item, "name"))
            boxes.append([(left - 1) / width, (top - 1) / height, right / width, bottom / height])
            hard.append(item.findtext("difficult", "0").strip() == "1")
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise UserError(
            f"The annotation {file} cannot be read ({error}). Expected VOC's XML, with size and "
            "object/bndbox."
        ) from error
    return kinds, np.clip(np.reshape(boxes, (-1, 4)), 0, 1), hard


def _text(node: ElementTree.Element, path: str) -> str:
    text = node.findtext(path)
    if text is None:
        raise UserError(f"it has no {path}")
    return text.strip()


def _read_mask(path: tf.Tensor) -> tf.Tensor:
    """Reads a mask: a PNG of grey values that are classes, or of colours of VOC's palette."""
    stored = tf.io.decode_png(tf.io.read_file(path), 0)
    is_grey = tf.shape(stored)[-1] < 3
    return tf.cond(is_grey, lambda: stored[..., 0], lambda: _class_of_colour(stored))


def _class_of_colour(colours: tf.Tensor) -> tf.Tensor:
    """VOC's palette encodes the class by the highest bits of its colours."""
    red, green, blue = tf.unstack(tf.cast(colours[..., :3], tf.int32), axis=-1)
    value = tf.zeros_like(red)
    for bit in range(8):
        colour, shift = (red, green, blue)[bit % 3], 7 - bit // 3
        value += tf.bitwise.left_shift(tf.bitwise.right_shift(colour, shift) & 1, bit)
    return tf.cast(value, tf.uint8)
