"""Datasets of images with boxes and masks: `shapes`, `voc:PATH`, `tfds:NAME`."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.dataset import ImageDataset, check_split
from sassl_tf.errors import UserError
from sassl_tf.typing import Array, PathLike

IGNORED = 255  # the mask's value of pixels that belong to no class, such as VOC's outlines


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedDataset:
    """Images with boxes around their objects, with masks, or with both.

    Attributes:
        images: an `ImageDataset` of N images.
        class_names: of the C classes of objects.
        boxes: float32 [N, M, 4], x0, y0, x1, y1 as shares of the width and the height; rows of -1
            fill up to M, the largest number of objects in an image. None if there are none.
        classes: int64 [N, M], -1 where there is no object; None without boxes.
        difficult: bool [N, M]: objects that count neither as found nor as missed; None for none.
        mask_names: of the values of the masks, the first for 0; empty without masks.
        read_mask: int64 [] tensor to uint8 [H, W] tensor, with `IGNORED` for pixels of no class;
            None without masks.
    """

    images: ImageDataset
    class_names: Sequence[str]
    boxes: np.ndarray | None = None
    classes: np.ndarray | None = None
    difficult: np.ndarray | None = None
    mask_names: Sequence[str] = ()
    read_mask: Callable[[tf.Tensor], tf.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def mask(self, index: int | Array) -> tf.Tensor:
        """Returns the mask of an image, uint8 [H, W].

        Raises:
            ValueError: the dataset has no masks.
        """
        if self.read_mask is None:
            raise UserError(f"{self.images.name} has no masks; give shapes, or a VOC folder.")
        with tf.device("/CPU:0"):
            return tf.ensure_shape(self.read_mask(tf.cast(index, tf.int64)), [None, None])

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the boxes [n, 4], classes [n] and difficulty [n] of the n objects of an image.

        Raises:
            ValueError: the dataset has no boxes.
        """
        if self.boxes is None or self.classes is None:
            raise UserError(f"{self.images.name} has no boxes; give shapes, or a VOC folder.")
        is_there = self.classes[index] >= 0
        hard = np.zeros(is_there.shape, bool) if self.difficult is None else self.difficult[index]
        return self.boxes[index][is_there], self.classes[index][is_there], hard[is_there]


def load_annotated(
    spec: str, split: str = "train", data_dir: PathLike | None = None, needs: str = "boxes"
) -> AnnotatedDataset:
    """Loads one split of a dataset with boxes or masks.

    Args:
        spec: "shapes" (scenes of them; see `sassl_tf.datasets.scenes`), "voc:PATH" (a folder in the
            layout of PASCAL VOC) or "tfds:NAME" (such as tfds:voc/2007 or tfds:coco/2017 for boxes,
            tfds:oxford_iiit_pet for masks).
        split: "train" or "test".
        data_dir: the folder of prepared TFDS datasets.
        needs: "boxes" or "masks": a VOC folder has other images for each.

    Raises:
        MissingSplit: the dataset has no such split; it is a ValueError.
        ValueError: an unknown spec or split, or a dataset that cannot be read.
    """
    kind, _, argument = str(spec).partition(":")
    check_split(split)
    if spec == "shapes":
        from sassl_tf.datasets.scenes import scenes

        return scenes(split)
    if kind == "voc" and argument:
        from sassl_tf.datasets.voc import voc

        return voc(argument, split, needs)
    if kind == "tfds" and argument:
        from sassl_tf.datasets.tfds_annotated import tfds_annotated

        return tfds_annotated(argument, split, data_dir)
    raise UserError(
        f"The dataset {spec!r} with boxes or masks is not known; give shapes, voc:PATH (a folder "
        "in the layout of PASCAL VOC) or tfds:NAME (such as tfds:voc/2007)."
    )


def padded_boxes(
    boxes: Sequence[np.ndarray], classes: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes [N, M, 4] and classes [N, M] of lists of arrays [n, 4] and [n]."""
    most = max((len(some) for some in boxes), default=0)
    all_boxes = np.full((len(boxes), most, 4), -1, np.float32)
    all_classes = np.full((len(boxes), most), -1, np.int64)
    for number, (some, kinds) in enumerate(zip(boxes, classes, strict=True)):
        all_boxes[number, : len(some)] = np.reshape(some, (-1, 4))
        all_classes[number, : len(some)] = kinds
    return all_boxes, all_classes
