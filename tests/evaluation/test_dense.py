"""Detection and segmentation: metrics by hand, inputs by their masks, a model that knows all."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from evaluation import dense, detect, segment
from evaluation.average_precision import average_precision, mean_average_precision, overlap
from evaluation.dense import fine_tune, load_dense_subject, prepared, step_schedule
from sassl_tf.datasets import annotated, scenes
from sassl_tf.datasets.annotated import IGNORED
from tests import commands
from tests.datasets.test_annotated import boxes_of
from training.encoders import build_encoder


def objects(boxes, classes=None, difficult=None, scores=None):
    boxes = np.array(boxes, float).reshape(-1, 4)
    made = {"boxes": boxes, "classes": np.zeros(len(boxes), int)}
    if classes is not None:
        made["classes"] = np.array(classes)
    made["difficult"] = np.zeros(len(boxes), bool) if difficult is None else np.array(difficult)
    if scores is not None:
        made["scores"] = np.array(scores)
    return made


A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]


def test_overlap_by_hand():
    second = [[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]]
    np.testing.assert_allclose(overlap(np.array(A), np.array(second)), [[1, 50 / 150, 0]])


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        # Right, wrong, right: precision 1 at recall 1/2, and 2/3 at recall 1.
        (objects([A, B]), objects([A, FAR, B], scores=[0.9, 0.8, 0.7]), (1 + 2 / 3) / 2),
        # The second box on an object that was found is wrong: 1 at 1/2, nothing more.
        (objects([A, B]), objects([A, A], scores=[0.9, 0.8]), 0.5),
        # A wrong one first: the precision at recall 1/2 is the better one of a larger recall, 2/3.
        (objects([A, B]), objects([FAR, A, B], scores=[0.9, 0.8, 0.7]), 2 / 3),
        # A difficult object counts neither way.
        (objects([A, B], difficult=[0, 1]), objects([B, A], scores=[0.9, 0.8]), 1.0),
        (objects([A]), objects([], scores=[]), 0.0),
        (objects([]), objects([A], scores=[0.5]), 0.0),
    ],
)
def test_average_precision_by_hand(truth, found, expected):
    truth["difficult"] = truth["difficult"].astype(bool)
    assert average_precision([truth], [found], 0, 0.5) == pytest.approx(expected)


def test_scores_are_compared_across_images_and_classes_are_averaged():
    truths = [objects([A]), objects([A, B], classes=[0, 1])]
    found = [
        objects([FAR], scores=[0.9]),
        objects([A, [20, 0, 30, 8]], classes=[0, 1], scores=[0.8, 0.3]),
    ]
    # Class 0: wrong, right of two objects: 1/4. Class 1: an overlap of 0.8.
    at = mean_average_precision(truths, found, 3, [0.5, 0.75, 0.85])
    np.testing.assert_allclose(at, [(0.25 + 1) / 2, (0.25 + 1) / 2, 0.25 / 2])


def test_scores_of_a_segmentation_by_hand():
    table = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])  # the third class occurs nowhere
    found = segment.scores(table)
    assert found["miou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert found["pixel_accuracy"] == pytest.approx(9 / 12)


def test_pixels_of_no_class_have_no_loss():
    masks = tf.constant([[[0, 1], [IGNORED, 1]]], tf.uint8)
    probabilities = tf.constant([[[[0.5, 0.5], [0.25, 0.75]], [[0.0, 1.0], [0.8, 0.2]]]])
    expected = -np.log([0.5, 0.75, 0.2]).mean()
    assert float(segment.masked_loss(masks, probabilities)) == pytest.approx(expected, rel=1e-5)


def test_boxes_fit_the_masks_of_training_examples():
    """Scaled by a half, mirrored or not: each box is that of its figure in the mask."""
    data = scenes.scenes(count=6, size=128)
    originals = [data.mask(i).numpy() for i in range(6)]
    halves = [mask[1::2, 1::2] for mask in originals]
    originals += [mask[:, ::-1] for mask in originals]
    halves += [mask[:, ::-1] for mask in halves]
    found = []
    for example in dense.training_examples(data, 64, seed=0).take(12).as_numpy_iterator():
        is_there = example["classes"] >= 0
        assert (example["boxes"][~is_there] == -1).all() and is_there.any()
        [number] = np.flatnonzero([np.array_equal(example["masks"], half) for half in halves])
        found.append(number)
        boxes, classes = zip(*boxes_of(originals[number], 64), strict=True)
        expected = np.column_stack([np.array(boxes) / 2, classes])
        actual = np.column_stack([example["boxes"], example["classes"]])[is_there]
        np.testing.assert_allclose(in_order(actual), in_order(expected), atol=1e-4)
    assert {number % 6 for number in found} == {*range(6)}
    assert 0 < sum(number >= 6 for number in found) < 12  # mirrored


def in_order(rows):
    return rows[np.lexsort(rows.T)]


def test_a_wide_image_fills_the_width_and_black_the_rest():
    image = np.full((10, 20, 3), 255, np.uint8)
    data = annotated.AnnotatedDataset(
        images=types.SimpleNamespace(image=lambda _: tf.constant(image)),
        class_names=["a"],
        read_mask=lambda _: tf.ones((10, 20), tf.uint8),
    )
    pixels, share, mask = prepared(data, tf.constant(0), 8)
    assert share.numpy().tolist() == [1.0, 0.5]
    assert (pixels[:4] > 0.99).numpy().all() and not pixels[4:].numpy().any()
    assert (mask[:4] == 1).numpy().all() and (mask[4:] == IGNORED).numpy().all()


def test_the_schedule_rises_and_falls_twice():
    schedule = step_schedule(1.0, 1000, (0.75, 0.92))
    rates = [float(schedule(step)) for step in (0, 5, 9, 10, 749, 750, 919, 920)]
    assert 0 < rates[0] < rates[1] < rates[2] < 1
    np.testing.assert_allclose(rates[3:], [1, 1, 0.1, 0.1, 0.01], rtol=1e-5)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A subject of few small scenes, whose encoder has four stages."""
    folder = tmp_path_factory.mktemp("dense")
    build_encoder("resnet10_slim", width=0.25).save(folder / "encoder.keras")
    (folder / "config.json").write_text(json.dumps({"image_size": 48}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "COUNTS", {"train": 16, "test": 6})
        return load_dense_subject(folder, "shapes", "masks")


def test_the_side_is_a_multiple_of_32(subject):
    assert subject.image_size == 64 and len(subject.train) == 16
    with pytest.raises(ValueError, match="image size is 50; give a multiple of 32"):
        load_dense_subject(subject.encoder_path, "shapes", "masks", image_size=50)


def test_splits_without_objects_or_of_other_classes_are_told(subject, monkeypatch):
    """The AP would be 0, whatever the detector finds, or of other classes."""
    bare = dataclasses.replace(subject.test, classes=np.full_like(subject.test.classes, -1))
    given = {"train": subject.train, "test": bare}
    monkeypatch.setattr(dense, "load_annotated", lambda spec, split, *rest: given[split])
    with pytest.raises(ValueError, match="test split of shapes has no object in its 6 images"):
        load_dense_subject(subject.encoder_path, "shapes", "boxes")
    given["test"] = dataclasses.replace(subject.test, class_names=["x", "y"])
    with pytest.raises(ValueError, match=r"splits of shapes have different class names.* and x, y"):
        load_dense_subject(subject.encoder_path, "shapes", "boxes")


def test_a_mask_with_a_value_of_no_class_is_told(subject, monkeypatch):
    read = subject.test.read_mask

    def changed(index):
        return tf.where(index == 3, tf.constant(99, tf.uint8), read(index))

    given = {
        "train": subject.train,
        "test": dataclasses.replace(subject.test, read_mask=changed),
    }
    monkeypatch.setattr(dense, "load_annotated", lambda spec, split, *rest: given[split])
    with pytest.raises(ValueError, match=r"image 3 of the test split .* value 99; expected 0 to"):
        load_dense_subject(subject.encoder_path, "shapes", "masks")


class Oracle:
    """In the place of both models: it looks the images up among those of the test split."""

    def __init__(self, subject, shift=0.0):
        data, side = subject.test, subject.image_size
        rows = [prepared(data, tf.constant(i, tf.int64), side) for i in range(len(data))]
        self.images = tf.stack([image for image, _, _ in rows])
        self.masks = tf.stack([mask for _, _, mask in rows])
        self.boxes = tf.constant(data.boxes * side + shift, tf.float32)
        self.classes = tf.constant(data.classes, tf.float32)

    def find(self, images):
        distances = tf.reduce_sum(tf.abs(images[:, None] - self.images[None]), axis=(2, 3, 4))
        return tf.argmin(distances, axis=1)

    def __call__(self, images, training):
        if isinstance(images, dict):
            return images["images"]
        return tf.one_hot(tf.gather(self.masks, self.find(images)), 13)

    def decode_predictions(self, predictions, images):
        chosen = self.find(images)
        classes = tf.gather(self.classes, chosen)
        boxes = tf.gather(self.boxes, chosen)
        return {"boxes": boxes, "classes": classes, "confidence": tf.ones_like(classes)}


def test_a_model_that_knows_the_truth_has_all_points(subject):
    assert segment.scores(segment.confusion(Oracle(subject), subject))["miou"] == 1.0
    assert detect.scores(Oracle(subject), subject) == {"ap50": 1.0, "ap75": 1.0, "ap": 1.0}
    shifted = detect.scores(Oracle(subject, shift=2.0), subject)  # of boxes of 13 to 29 px
    assert shifted["ap50"] > shifted["ap"] > 0 and shifted["ap50"] > shifted["ap75"]


def test_a_box_suppresses_those_of_its_own_class_alone():
    """A person on a motorbike, as VOC and COCO count it, and a second box of the person."""
    boxes = tf.constant([[[10.0, 10, 30, 30], [10, 10, 30, 31], [11, 10, 30, 30]]])
    logits = tf.constant([[[3.0, -9], [-9, 1], [2, -9]]])
    found = detect.decoder()(boxes, logits, image_shape=(64, 64, 3))
    kept = found["classes"][0].numpy() >= 0
    np.testing.assert_array_equal(found["classes"][0][kept], [0, 1])
    np.testing.assert_allclose(found["boxes"][0][kept], boxes[0, :2], atol=1e-4)
    np.testing.assert_allclose(found["confidence"][0][kept], tf.sigmoid([3.0, 1]), atol=1e-5)


def test_random_weights_are_new_ones_of_the_seed(subject):
    settings = {init: segment.Settings(init=init) for init in dense.INITS}
    weights = [
        subject.backbone(settings[init], seed).get_weights()[0]
        for init, seed in (("pretrained", 0), ("random", 0), ("random", 1))
    ]
    np.testing.assert_array_equal(weights[0], subject.encoder.get_weights()[0])
    assert not np.allclose(weights[0], weights[1]) and not np.allclose(*weights[1:])


def test_fine_tuning_lowers_the_loss_and_trials_are_remembered(subject, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Dense(13, "softmax")])
    settings = segment.Settings(batch_size=4, steps=12, learning_rate=1.0, trials=2)
    losses = []

    def loss(batch):
        value = segment.masked_loss(batch["masks"], model(batch["images"]))
        tf.py_function(lambda x: losses.append(float(x)), [value], [])
        return value

    fine_tune(model, loss, subject, settings, 0, segment.DROPS)
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]
    with pytest.raises(ValueError, match=r"loss is nan after step 12 at the learning rate 1"):
        fine_tune(model, lambda b: loss(b) * np.nan, subject, settings, 0, segment.DROPS)

    done = []

    def trial(seed):
        done.append(seed)
        return {"miou": 0.25 + 0.5 * seed}

    for _ in range(2):
        result = dense.over_seeds(subject, settings, trial)
    assert done == [0, 1] and result["miou"] == 0.5
    assert result["std"]["miou"] == pytest.approx(0.5 / 2**0.5)
    [file] = subject.workdir.glob("segment-shapes-*.json")
    assert "mIoU 50.00% ± 35.36%" in dense.shown(result)
    assert json.loads(file.read_text())["values"] == {"miou": [0.25, 0.75]}
    # The last seed alone, then one more from the first on: none but the new one is trained.
    one = dataclasses.replace(settings, seed=1, trials=1)
    assert dense.over_seeds(subject, one, trial)["values"] == {"miou": [0.75]}
    three = dense.over_seeds(subject, dataclasses.replace(settings, trials=3), trial)
    assert done == [0, 1, 2] and three["values"] == {"miou": [0.25, 0.75, 1.25]}
    assert json.loads(file.read_text())["trials"] == 3
    # The same encoder under another path.
    moved = dataclasses.replace(subject, encoder_path=tmp_path)
    assert dense.over_seeds(moved, one, trial)["values"] == {"miou": [0.75]} and len(done) == 3


def test_encoders_of_few_stages_and_datasets_without_masks_are_told(subject, tmp_path):
    encoder = build_encoder("resnet6_slim", width=0.25)
    few = dense.DenseSubject(tmp_path, encoder, "shapes", None, None, tmp_path, 64)
    with pytest.raises(ValueError, match=r"has the levels P2, P3; .* need P2 to P5"):
        few.backbone(segment.Settings(), 0)


def test_the_batch_of_features_is_no_flag():
    """No features are extracted; the test images go through the model 16 at a time."""
    flags = ["--encoder=x", "--dataset=shapes", "--extract_batch_size=4"]
    done = commands.run("evaluation.segment", *flags)
    assert done.returncode and "Unknown command line flag 'extract_batch_size'" in done.stderr


@pytest.mark.parametrize(("module", "metric"), [(segment, "miou"), (detect, "ap50")])
def test_both_train_and_write_their_result(module, metric, subject, tmp_path):
    """Two steps, which nobody learns anything in."""
    options = {"anchor_size": 16} if module is detect else {}
    settings = module.Settings(steps=2, batch_size=4, **options)
    result = module.run(dataclasses.replace(subject, workdir=tmp_path), settings)
    assert 0 <= result[metric] <= 1 and result["evaluation"] == module.Settings.name
    [file] = tmp_path.glob(f"{module.Settings.name}-*.json")
    assert json.loads(file.read_text())[metric] == result[metric]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "metric"), [(segment, "miou"), (detect, "ap50")])
def test_both_learn_their_scenes_by_heart(module, metric, subject):
    """Scored on what they were trained on: sixteen scenes teach nothing about others."""
    same = dataclasses.replace(subject, test=subject.train)
    options = {"anchor_size": 16} if module is detect else {}
    settings = module.Settings(steps=150, batch_size=8, learning_rate=0.02, **options)
    assert module.run(same, settings)[metric] > 0.2
