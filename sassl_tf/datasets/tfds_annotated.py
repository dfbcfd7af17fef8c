"""TensorFlow Datasets with boxes or masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sassl_tf.datasets.annotated import AnnotatedDataset, padded_boxes
from sassl_tf.datasets.dataset import SPLIT_NAMES, MissingSplit, check_split
from sassl_tf.datasets.records import Fields, dataset_of
from sassl_tf.datasets.tfds import check_readable, prepared_builder, stored_in
from sassl_tf.datasets.tfrecord import Records
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike

# The feature of the masks, the names of its values, and the value of the first.
MASKS = {"oxford_iiit_pet": ("segmentation_mask", ("pet", "background", "border"), 1)}
CROWD = "is_crowd"  # of COCO: one box around many objects
DIFFICULT = ("is_difficult", CROWD)  # of VOC and of COCO
LOOKED_AT = 1000  # records of a split; without an object in any, it counts as not annotated


def tfds_annotated(
    name: str, split: str = "train", data_dir: PathLike | None = None
) -> AnnotatedDataset:
    """Loads a TFDS dataset with boxes (`objects`, as in voc and coco) or masks (`MASKS`).

    Images and masks are read from the shards when they are wanted, as by `sassl_tf.datasets.tfds`;
    the boxes are read at once and kept in memory. "test" is `test`, else `validation`: the first
    that is annotated, which the tests of voc/2012 and coco/2017 are not. "train" is `train` and,
    where the test split is another one, `validation`; it has no crowds of COCO.

    Args:
        name: of the dataset in TFDS.
        split: "train" or "test".
        data_dir: the folder of prepared datasets; by default TFDS's own.

    Raises:
        MissingSplit: there is no such split; it is a ValueError.
        ValueError: an unknown dataset, one without boxes and masks, or none of the splits that may
            be "test" is annotated.
    """
    import tensorflow_datasets

    check_split(split)
    builder = prepared_builder(name, data_dir)
    features = builder.info.features
    has_boxes = "objects" in features
    mask_feature, mask_names, first = MASKS.get(builder.name, ("", (), 0))
    if not has_boxes and not mask_feature:
        raise UserError(
            f"The dataset tfds:{name} has no objects with boxes, and no masks that are known here "
            f"(its features: {', '.join(features)}). Known masks: {', '.join(MASKS)}."
        )
    check_readable(name, builder)
    fields = Fields("image", None)
    shards, places = [], []
    for source in _sources(name, builder, split):
        found = stored_in(name, builder, source, fields)
        shards += found[0]
        places += found[1]
    images = dataset_of(f"tfds:{name}", split, shards, fields, places, [])
    stored = Records(shards, places)
    parts: dict[str, Any] = {"class_names": []}
    if has_boxes:
        kinds = features["objects"].feature
        keys = ["bbox", "label", *(key for key in DIFFICULT if key in kinds)]
        wanted = tensorflow_datasets.decode.PartialDecoding({"objects": dict.fromkeys(keys, True)})
        parse = wanted.extract_features(features).deserialize_example
        rows = tf.data.Dataset.range(len(images)).map(
            tf.autograph.experimental.do_not_convert(lambda i: parse(stored.read(i))["objects"]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        objects = [*rows.as_numpy_iterator()]
        if split == "train" and CROWD in keys:  # detectors do not learn from crowds
            kept = (~some[CROWD].astype(bool) for some in objects)
            objects = [
                {key: value[mask] for key, value in some.items()}
                for some, mask in zip(objects, kept, strict=True)
            ]
        parts.update(_boxes(objects, keys[2:]), class_names=list(kinds["label"].names))
    if mask_feature:
        masks = Fields(mask_feature, None)
        parts["mask_names"] = list(mask_names)
        parts["read_mask"] = lambda index: (
            tf.io.decode_png(masks.image_in(stored.read(index)), 1)[..., 0] - first
        )
    return AnnotatedDataset(images, **parts)


def _boxes(objects: Sequence[dict[str, Any]], difficult: Sequence[str]) -> dict[str, Any]:
    # TFDS has ymin, xmin, ymax, xmax.
    boxes, classes = padded_boxes(
        [some["bbox"][:, [1, 0, 3, 2]] for some in objects], [some["label"] for some in objects]
    )
    if not difficult:
        return {"boxes": boxes, "classes": classes}
    hard = np.zeros(classes.shape, bool)
    for number, some in enumerate(objects):
        hard[number, : len(some["label"])] = some[difficult[0]]
    return {"boxes": boxes, "classes": classes, "difficult": hard}


def _sources(name: str, builder: Any, split: str) -> list[str]:
    """Returns the splits of TFDS that are the split."""
    present = builder.info.splits
    candidates = [source for source in SPLIT_NAMES["test"] if source in present]
    test = next((source for source in candidates if _is_annotated(builder, source)), None)
    if split == "test" and test is not None:
        return [test]
    if split == "test" and candidates:
        raise UserError(
            f"tfds:{name} has no annotation in {' or '.join(candidates)}, so nothing can be "
            "scored on it; give another dataset."
        )
    if split == "train" and "train" in present:
        others = [source for source in SPLIT_NAMES["validation"] if source in present]
        return ["train", *(o for o in others if o != test and _is_annotated(builder, o))]
    raise MissingSplit(
        f"tfds:{name} with its annotations has no {split} split here; it has {', '.join(present)}."
    )


def _is_annotated(builder: Any, source: str) -> bool:
    """Returns whether a split has an object; masks are in every record of a set that has them."""
    import tensorflow_datasets

    if "objects" not in builder.info.features:
        return True
    rows = builder.as_dataset(
        split=source,
        shuffle_files=False,
        decoders=tensorflow_datasets.decode.PartialDecoding({"objects": {"label": True}}),
        read_config=tensorflow_datasets.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    return any(len(row["objects"]["label"]) for row in rows.take(LOOKED_AT).as_numpy_iterator())
