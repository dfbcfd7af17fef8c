"""TensorFlow Datasets with boxes or masks."""

from typing import Any

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.annotated import AnnotatedDataset, padded_boxes
from sassl_tf.datasets.dataset import UNLABELLED, ImageDataset, check_split, fingerprint_of, on_host
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.datasets.tfds import prepared_builder, source_split
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

# The feature of the masks, the names of its values, and the value of the first.
MASKS = {"oxford_iiit_pet": ("segmentation_mask", ("pet", "background", "border"), 1)}
DIFFICULT = ("is_difficult", "is_crowd")  # of VOC and of COCO


def tfds_annotated(
    name: str, split: str = "train", data_dir: PathLike | None = None
) -> AnnotatedDataset:
    """Loads a TFDS dataset with boxes (`objects`, as in voc and coco) or masks (`MASKS`).

    The split is kept in memory, images and masks in their encoded form.

    Raises:
        ValueError: an unknown dataset or split, or one without boxes and masks.
    """
    import tensorflow_datasets

    check_split(split)
    builder = prepared_builder(name, data_dir)
    features = builder.info.features
    mask_feature, mask_names, first = MASKS.get(builder.name, ("", (), 0))
    wanted: dict[str, Any] = {"image": True}
    keys = ["bbox", "label"]
    if "objects" in features:
        keys += [key for key in DIFFICULT if key in features["objects"].feature]
        wanted["objects"] = dict.fromkeys(keys, True)
    if mask_feature:
        wanted[mask_feature] = True
    if len(wanted) == 1:
        raise UserError(
            f"The dataset tfds:{name} has no objects with boxes, and no masks that are known here "
            f"(its features: {', '.join(features)}). Known masks: {', '.join(MASKS)}."
        )
    source = source_split(builder, split, label=None)
    decode = tensorflow_datasets.decode
    encoded = {key: decode.SkipDecoding() for key in ("image", mask_feature) if key}
    rows = [
        *builder.as_dataset(
            split=source,
            shuffle_files=False,
            decoders=decode.PartialDecoding(wanted, decoders=encoded),
            read_config=tensorflow_datasets.ReadConfig(
                interleave_cycle_length=1, try_autocache=False
            ),
        ).as_numpy_iterator()
    ]
    files = on_host(np.array([row["image"] for row in rows], object))
    images = ImageDataset(
        name=f"tfds:{name}",
        split=split,
        class_names=[],
        labels=np.full(len(rows), UNLABELLED),
        fingerprint=fingerprint_of("tfds", builder.info.full_name, source, len(rows)),
        read=lambda index: decode_image(tf.gather(files, index)),
    )
    found: dict[str, Any] = {}
    if "objects" in features:
        objects = [row["objects"] for row in rows]
        # TFDS has ymin, xmin, ymax, xmax.
        boxes, classes = padded_boxes(
            [some["bbox"][:, [1, 0, 3, 2]] for some in objects], [s["label"] for s in objects]
        )
        found = {"boxes": boxes, "classes": classes}
        if len(keys) > 2:
            hard = np.zeros(classes.shape, bool)
            for number, some in enumerate(objects):
                hard[number, : len(some["label"])] = some[keys[2]]
            found["difficult"] = hard
        names = features["objects"].feature["label"].names
    if mask_feature:
        masks = on_host(np.array([row[mask_feature] for row in rows], object))
        found["mask_names"] = list(mask_names)
        found["read_mask"] = lambda index: (
            tf.io.decode_png(tf.gather(masks, index), 1)[..., 0] - first
        )
    return AnnotatedDataset(images, list(names) if "objects" in features else [], **found)
