"""Datasets with boxes and masks: generated scenes, folders as VOC's, TFDS."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sassl_tf.datasets import MissingSplit, tfds_annotated
from sassl_tf.datasets.annotated import IGNORED, load_annotated, padded_boxes
from sassl_tf.datasets.scenes import scenes
from sassl_tf.datasets.shapes import SILHOUETTES
from sassl_tf.datasets.voc import CLASSES
from tests.conftest import shared_path

VOC_XML = (
    """<annotation><size><width>{w}</width><height>{h}</height></size>{objects}</annotation>"""
)
VOC_OBJECT = """<object><name>{0}</name><difficult>{1}</difficult><bndbox><xmin>{2}</xmin>
<ymin>{3}</ymin><xmax>{4}</xmax><ymax>{5}</ymax></bndbox></object>"""


def boxes_of(mask, cell):
    """The boxes and classes of a scene's mask, found pixel by pixel."""
    found = []
    for top in (0, cell):
        for left in (0, cell):
            part = mask[top : top + cell, left : left + cell]
            pixels = [(x + left, y + top) for y, x in np.argwhere(part > 0)]
            if pixels:
                xs, ys = zip(*pixels, strict=True)
                box = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
                found.append((box, int(part.max()) - 1))
    return found


def test_boxes_of_scenes_hold_their_masks_exactly():
    data = scenes(count=40, size=64, seed=3)
    counts = []
    for index in range(len(data)):
        mask = data.mask(index).numpy()
        boxes, classes, hard = data.objects(index)
        pairs = [(tuple(64 * box), label) for box, label in zip(boxes, classes, strict=True)]
        assert pairs == boxes_of(mask, 32) and not hard.any()
        counts.append(len(boxes))
    assert {*counts} == {1, 2, 3, 4}
    assert data.class_names == [*SILHOUETTES] and len(data.mask_names) == 13


def test_figures_of_scenes_differ_from_the_ground():
    """Light on dark or dark on light: inside and outside of a box's figure have other means."""
    data = scenes(count=20, size=64)
    for index in range(len(data)):
        image, mask = data.images.image(index).numpy() @ [0.299, 0.587, 0.114], data.mask(index)
        assert abs(image[mask > 0].mean() - image[mask == 0].mean()) > 40


def test_scenes_are_a_function_of_their_arguments():
    first, again, other = (scenes(count=3, size=32, seed=seed) for seed in (1, 1, 2))
    test = scenes("test", count=3, size=32, seed=1)
    images = [tf.stack([data.images.image(i) for i in range(3)]) for data in (first, again)]
    np.testing.assert_array_equal(*images)
    prints = {data.images.fingerprint for data in (first, other, test)}
    assert len(prints) == 3 and first.images.fingerprint == again.images.fingerprint
    for wrong in ({"size": 33}, {"count": 0}, {"seed": -1}, {"size": 30}):
        with pytest.raises(ValueError, match="count, size and seed of scenes"):
            scenes(**wrong)
    with pytest.raises(ValueError, match="no validation split"):
        load_annotated("shapes", "validation")


@pytest.fixture
def voc_folder(tmp_path):
    """Three images of which two have masks, with a list for each split."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    values = np.array([[0, 1, 2, 15], [20, 255, 7, 0]], np.uint8)
    palette = np.zeros((256, 3), int)
    for number in range(256):  # as VOC's devkit makes it
        rest = number
        for bit in range(8):
            palette[number] |= [((rest >> channel) & 1) << (7 - bit) for channel in range(3)]
            rest >>= 3
    for name in ("a", "b"):
        Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(tmp_path / f"JPEGImages/{name}.jpg")
        mask = Image.fromarray(values, mode="P")
        mask.putpalette(palette.astype(np.uint8).ravel().tolist())
        mask.save(tmp_path / f"SegmentationClass/{name}.png")
        objects = [VOC_OBJECT.format("dog", 0, 1, 1, 2, 2)]
        objects += [VOC_OBJECT.format("cat", 1, 3, 1, 4, 1)] if name == "a" else []
        (tmp_path / f"Annotations/{name}.xml").write_text(
            VOC_XML.format(w=4, h=2, objects="".join(objects))
        )
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\n")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("b\n")
    return tmp_path, values


def test_a_folder_as_vocs(voc_folder):
    folder, values = voc_folder
    train, test = (
        load_annotated(f"voc:{folder}", split, needs="masks") for split in ("train", "test")
    )
    np.testing.assert_array_equal(train.mask(0), values)
    assert values.max() == IGNORED
    boxes, classes, hard = train.objects(0)
    # The first pixel of VOC is 1, and the last one is inside: two pixels of four, two of two.
    np.testing.assert_allclose(boxes, [[0, 0, 0.5, 1], [0.5, 0, 1, 0.5]])
    assert [train.class_names[label] for label in classes] == ["dog", "cat"]
    assert hard.tolist() == [False, True] and len(test) == 1
    assert train.class_names == CLASSES and train.mask_names[0] == "background"


def test_masks_of_grey_values_and_masks_that_change(voc_folder):
    """As the augmented masks of SBD are passed on; and a mask that was repaired is other data."""
    folder, values = voc_folder
    file = folder / "SegmentationClass/a.png"
    before = load_annotated(f"voc:{folder}", needs="masks")
    Image.fromarray(values, mode="L").save(file)
    os.utime(file, ns=(0, 0))
    after = load_annotated(f"voc:{folder}", needs="masks")
    for data in (before, after):  # both read what is there now
        np.testing.assert_array_equal(data.mask(0), values)
    assert before.images.fingerprint != after.images.fingerprint
    file.unlink()
    with pytest.raises(ValueError, match=r"1 of 1 masks are missing, the first is .*a.png"):
        load_annotated(f"voc:{folder}", needs="masks")


def photographs(data):
    return [file.rpartition("/")[-1].removesuffix(".jpg") for file in data.images.files]


def test_no_list_is_of_two_splits(voc_folder):
    """As in VOC2012: train, val and trainval, but no test; then as in VOC2007, with test."""
    folder, _ = voc_folder
    lists = folder / "ImageSets/Segmentation"
    (lists / "trainval.txt").write_text("a\nb\n")
    spec = f"voc:{folder}"

    def splits():
        loaded = (load_annotated(spec, split, needs="masks") for split in ("train", "test"))
        return [photographs(data) for data in loaded]

    assert splits() == [["a"], ["b"]]
    (lists / "test.txt").write_text("c\n")
    copied = {"JPEGImages": "jpg", "Annotations": "xml", "SegmentationClass": "png"}
    for part, suffix in copied.items():
        shutil.copy(folder / part / f"a.{suffix}", folder / part / f"c.{suffix}")
    assert splits() == [["a", "b"], ["c"]]
    (lists / "trainval.txt").unlink()
    assert splits() == [["a"], ["c"]]
    (lists / "train.txt").unlink()
    with pytest.raises(MissingSplit, match="none of the lists trainval, train for train; it has"):
        load_annotated(spec, needs="masks")
    with pytest.raises(MissingSplit, match="no validation split"):
        load_annotated(spec, "validation")


def test_a_label_means_the_same_in_every_split(voc_folder):
    """Names of one's own; the test split lacks a class, and a third list has another one."""
    folder, _ = voc_folder
    (folder / "ImageSets/Main").mkdir()
    for name, kinds in {"a": ["ant", "cow"], "b": ["cow"], "c": ["bee"], "d": ["yak"]}.items():
        shutil.copy(folder / "JPEGImages/a.jpg", folder / f"JPEGImages/{name}-.jpg")
        objects = "".join(VOC_OBJECT.format(kind, 0, 1, 1, 2, 2) for kind in kinds)
        (folder / f"Annotations/{name}-.xml").write_text(VOC_XML.format(w=4, h=2, objects=objects))
    for part, name in {"train": "a-", "test": "b-", "val": "c-"}.items():
        (folder / f"ImageSets/Main/{part}.txt").write_text(f"{name}\n")
    shutil.rmtree(folder / "ImageSets/Segmentation")
    train, test = (load_annotated(f"voc:{folder}", split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ["ant", "bee", "cow"]
    assert (train.objects(0)[1].tolist(), test.objects(0)[1].tolist()) == ([0, 2], [2])
    (folder / "Annotations/c-.xml").write_text(VOC_XML.format(w=4, h=2, objects=""))
    again = load_annotated(f"voc:{folder}")
    assert again.class_names == ["ant", "cow"]
    assert again.images.fingerprint != train.images.fingerprint


def test_boxes_have_lists_of_their_own(voc_folder):
    """The detection of VOC has many images without masks."""
    folder, _ = voc_folder
    with pytest.raises(ValueError, match="Main has none of the lists train"):
        load_annotated(f"voc:{folder}")
    (folder / "ImageSets/Main").mkdir()
    (folder / "ImageSets/Main/train.txt").write_text("a\nb\n")
    data = load_annotated(f"voc:{folder}")
    assert photographs(data) == ["a", "b"] and data.read_mask is None
    assert photographs(load_annotated(f"voc:{folder}", needs="masks")) == ["a"]
    shutil.rmtree(folder / "SegmentationClass")
    with pytest.raises(ValueError, match="has no masks: there is no folder SegmentationClass"):
        load_annotated(f"voc:{folder}", needs="masks")


def test_damaged_annotations_are_told(voc_folder):
    folder, _ = voc_folder
    shutil.copytree(folder / "ImageSets/Segmentation", folder / "ImageSets/Main")
    (folder / "Annotations/a.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(ValueError, match=r"a\.xml cannot be read .it has no size/width"):
        load_annotated(f"voc:{folder}")
    size = "<size><width>{}</width><height>9</height></size>"
    box = "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>3</xmax>"
    box += "<ymax>4</ymax></bndbox></object>"
    for text, told in (
        (size.format(0), "its size is 0 x 9"),
        (size.format(9) + box.format(8), "a box is 8, 1, 3, 4"),
    ):
        (folder / "Annotations/a.xml").write_text(f"<annotation>{text}</annotation>")
        with pytest.raises(ValueError, match=rf"a\.xml cannot be read .{told}"):
            load_annotated(f"voc:{folder}")
    (folder / "Annotations/a.xml").write_text("no XML")
    with pytest.raises(ValueError, match=r"a\.xml cannot be read"):
        load_annotated(f"voc:{folder}")
    with pytest.raises(ValueError, match="has no folders JPEGImages and Annotations"):
        load_annotated(f"voc:{folder / 'JPEGImages'}")


def test_voc_photographs():
    folder = shared_path("data/voc100")
    train, test = (load_annotated(f"voc:{folder}", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (80, 20) and train.class_names == CLASSES
    for data in (train, test):
        for index in range(len(data)):
            boxes, classes, _ = data.objects(index)
            assert len(classes) and (boxes[:, 2:] > boxes[:, :2]).all()
            assert boxes.min() >= 0 and boxes.max() <= 1
    with pytest.raises(ValueError, match="has no masks"):
        train.mask(0)


def store(folder, name, splits, **features):
    """Makes a real TFDS dataset; each split is a list of its examples."""
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict({"image": image, **features}),
        split_datasets={split: list(enumerate(rows)) for split, rows in splits.items()},
        data_dir=folder,
        disable_shuffling=True,
    )


def store_boxed(folder, name, flag="is_difficult", **splits):
    """Makes one with boxes; each split is a list of numbers, of images with a dog each or none."""
    import tensorflow_datasets as tfds

    box = tfds.features.BBox(ymin=0.0, xmin=0.25, ymax=0.5, xmax=1.0)
    none = {"bbox": [], "label": [], flag: []}
    one = {"bbox": [box], "label": ["dog"], flag: [True]}

    def row(value):
        image = np.full((4, 8, 3), abs(value), np.uint8)
        return {"image": image, "objects": one if value > 0 else none}

    objects = tfds.features.Sequence(
        {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            flag: np.bool_,
        }
    )
    rows = {split: [row(value) for value in values] for split, values in splits.items()}
    store(folder, name, rows, objects=objects)


def values_of(data):
    return [int(data.images.image(index)[0, 0, 0]) for index in range(len(data))]


def test_tfds_with_boxes(tmp_path):
    store_boxed(tmp_path, "boxed", train=[7, -9], test=[1])
    data = load_annotated("tfds:boxed", data_dir=tmp_path)
    by_value = {value: index for index, value in enumerate(values_of(data))}
    boxes, classes, hard = data.objects(by_value[7])
    np.testing.assert_allclose(boxes, [[0.25, 0, 1, 0.5]])
    assert (classes.tolist(), hard.tolist(), data.class_names) == ([1], [True], ["cat", "dog"])
    assert not data.objects(by_value[9])[0].size and data.images.image(0).shape == (4, 8, 3)


def test_crowds_are_not_trained_on_and_do_not_count_in_the_test(tmp_path):
    store_boxed(tmp_path, "crowded", "is_crowd", train=[7], test=[7])
    assert not load_annotated("tfds:crowded", "train", tmp_path).objects(0)[0].size
    _, classes, hard = load_annotated("tfds:crowded", "test", tmp_path).objects(0)
    assert (classes.tolist(), hard.tolist()) == ([1], [True])


def test_tfds_is_trained_on_all_that_is_no_test(tmp_path):
    """As voc/2007, whose test is annotated, and as voc/2012 and coco/2017, whose test is not."""
    store_boxed(tmp_path, "open", train=[1, 2], validation=[3, -4], test=[-5, 6])
    store_boxed(tmp_path, "hidden", train=[1, -2], validation=[3], test=[-5, -6])
    store_boxed(tmp_path, "closed", train=[1], test=[-5])

    for name, expected in (("open", [[1, 2, 3, 4], [5, 6]]), ("hidden", [[1, 2], [3]])):
        loaded = [load_annotated(f"tfds:{name}", split, tmp_path) for split in ("train", "test")]
        assert [sorted(values_of(data)) for data in loaded] == expected
        for data in loaded if name == "open" else ():  # the boxes are those of the images
            found = [data.objects(index)[0].size > 0 for index in range(len(data))]
            assert found == [value in (1, 2, 3, 6) for value in values_of(data)]
    assert values_of(load_annotated("tfds:closed", data_dir=tmp_path)) == [1]
    with pytest.raises(ValueError, match="tfds:closed has no annotation in test, so nothing"):
        load_annotated("tfds:closed", "test", tmp_path)
    with pytest.raises(MissingSplit, match="no validation split here; it has train, "):
        load_annotated("tfds:open", "validation", tmp_path)


def test_tfds_with_masks_reads_them_where_they_lie(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setitem(tfds_annotated.MASKS, "masked", ("trimap", ("pet", "ground"), 1))
    masks = np.random.default_rng(0).integers(1, 3, (3, 4, 8, 1), np.uint8)
    rows = [
        {"image": np.full((4, 8, 3), 9 * number, np.uint8), "trimap": mask}
        for number, mask in enumerate(masks)
    ]
    trimap = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
    store(tmp_path, "masked", {"train": rows[:2], "test": rows[2:]}, trimap=trimap)
    data = load_annotated("tfds:masked", data_dir=tmp_path, needs="masks")
    by_graph = tf.data.Dataset.range(2).map(data.mask)
    for value, mask in zip(values_of(data), by_graph.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(mask, masks[value // 9, ..., 0] - 1)
    assert data.mask_names == ["pet", "ground"] and data.boxes is None
    for file in tmp_path.rglob("*-train.tfrecord*"):
        file.unlink()
    with pytest.raises(tf.errors.NotFoundError):
        data.mask(0)


def test_unknown_names_and_missing_boxes_are_told():
    with pytest.raises(ValueError, match=r"'folder:x' with boxes or masks is not known"):
        load_annotated("folder:x")
    boxes, classes = padded_boxes([np.zeros((0, 4)), np.ones((2, 4))], [[], [3, 4]])
    assert boxes.shape == (2, 2, 4) and classes.tolist() == [[-1, -1], [3, 4]]
