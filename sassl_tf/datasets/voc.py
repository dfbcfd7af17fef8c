"""Folders in the layout of PASCAL VOC: JPEGImages, Annotations, perhaps SegmentationClass."""

import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.annotated import AnnotatedDataset, padded_boxes
from sassl_tf.datasets.dataset import check_split, on_host, os_bytes
from sassl_tf.datasets.folder import image_files
from sassl_tf.datasets.listing import TEST_EVERY
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

CLASSES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
]
# The lists in ImageSets of each of our splits, the best first.
LISTS = {"train": ("trainval", "train"), "test": ("test", "val"), "validation": ("val",)}


def voc(path: PathLike, split: str = "train") -> AnnotatedDataset:
    """Loads a folder in the layout of PASCAL VOC.

    The split is a list of ImageSets: of Segmentation where SegmentationClass has masks, else of
    Main. It is `trainval`, else `train`, and for "test" `test`, else `val`. Without lists, every
    fifth image in sorted order is "test". The classes are VOC's twenty if no other occurs, else
    those that occur, sorted.

    Raises:
        ValueError: no such folder or split, an image without annotation or one that is damaged.
    """
    check_split(split)
    root = pathlib.Path(path).expanduser().absolute()
    if not (root / "JPEGImages").is_dir() or not (root / "Annotations").is_dir():
        raise UserError(f"{root} has no folders JPEGImages and Annotations, as VOC's have.")
    has_masks = (root / "SegmentationClass").is_dir()
    names = _names(root, split, "Segmentation" if has_masks else "Main")
    objects = [_objects(root / "Annotations" / f"{name}.xml") for name in names]
    occurring = {kind for kinds, _, _ in objects for kind in kinds}
    class_names = CLASSES if occurring <= {*CLASSES} else sorted(occurring)
    boxes, classes = padded_boxes(
        [corners for _, corners, _ in objects],
        [np.array([class_names.index(kind) for kind in kinds], int) for kinds, _, _ in objects],
    )
    difficult = np.zeros(classes.shape, bool)
    for number, (_, _, hard) in enumerate(objects):
        difficult[number, : len(hard)] = hard
    images = image_files([root / "JPEGImages" / f"{name}.jpg" for name in names])
    object.__setattr__(images, "name", f"voc:{path}")
    object.__setattr__(images, "split", split)
    masks = [os_bytes(str(root / "SegmentationClass" / f"{name}.png")) for name in names]
    mask_paths = on_host(np.array(masks, object))
    return AnnotatedDataset(
        images=images,
        class_names=class_names,
        boxes=boxes,
        classes=classes,
        difficult=difficult,
        mask_names=["background", *class_names] if has_masks else [],
        read_mask=(lambda index: _read_mask(tf.gather(mask_paths, index))) if has_masks else None,
    )


def _names(root: pathlib.Path, split: str, task: str) -> list[str]:
    lists = root / "ImageSets" / task
    for name in LISTS[split]:
        if (lists / f"{name}.txt").is_file():
            return (lists / f"{name}.txt").read_text().split()
    if (root / "ImageSets").is_dir():
        raise UserError(f"{lists} has none of the lists {', '.join(LISTS[split])} for {split}.")
    every = sorted(file.stem for file in (root / "JPEGImages").glob("*.jpg"))
    is_test = np.arange(len(every)) % TEST_EVERY == TEST_EVERY - 1
    chosen = [name for name, held in zip(every, is_test, strict=True) if held == (split == "test")]
    if not chosen or split == "validation":
        raise UserError(f"{root} has no images for the split {split}.")
    return chosen


def _objects(file: pathlib.Path) -> tuple[list[str], np.ndarray, list[bool]]:
    """Returns the classes, the boxes [n, 4] as shares of the sides, and whether they are difficult.

    VOC counts pixels from 1, and its last pixel is inside the box.
    """
    try:
        tree = ElementTree.parse(file).getroot()
        width, height = (float(_text(tree, f"size/{side}")) for side in ("width", "height"))
        kinds, boxes, hard = [], [], []
        for item in tree.iter("object"):
            left, top, right, bottom = (
                float(_text(item, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")
            )
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
    """Reads a mask of VOC, whose palette encodes the class by the highest bits of its colours."""
    red, green, blue = tf.unstack(
        tf.cast(tf.io.decode_png(tf.io.read_file(path), 3), tf.int32), axis=-1
    )
    value = tf.zeros_like(red)
    for bit in range(8):
        colour, shift = (red, green, blue)[bit % 3], 7 - bit // 3
        value += tf.bitwise.left_shift(tf.bitwise.right_shift(colour, shift) & 1, bit)
    return tf.cast(value, tf.uint8)
