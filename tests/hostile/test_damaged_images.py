"""Image files that are cut short, overwritten or deleted while they are being read."""

import types

import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from evaluation import finetune, sgd_classifier
from evaluation.shape_bias import cue_conflict_images
from sassl_tf.datasets.dataset import DamagedImages, joined, naming_damaged
from sassl_tf.datasets.folder import folder
from sassl_tf.representation.features import extract_features
from tests.datasets.test_folder import class_folders
from tests.training.three_steps import encoder
from training.configs import simclr
from training.engine import loop
from training.engine.loop import Run, pretrain
from training.input.data_service import NoBatches
from training.input.options import InputOptions
from training.report.input_check import InputCheck
from training.report.pictures import first_views


@pytest.fixture
def root(tmp_path):
    return class_folders(tmp_path / "images", {"ant": 10, "bee": 10})


def cut(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def read_all(dataset):
    images = tf.data.Dataset.range(len(dataset)).map(dataset.image, tf.data.AUTOTUNE)
    with naming_damaged(dataset):
        return sum(1 for _ in images)


@pytest.mark.parametrize(
    "damage", [cut, lambda file: file.unlink(), lambda file: file.write_text("")]
)
def test_a_damaged_image_is_named_and_no_other(root, damage):
    dataset = folder(root)
    (root / "ant" / "03.png").write_bytes((root / "ant" / "03.png").read_bytes())  # another time
    damage(root / "bee" / "01.png")
    with pytest.raises(DamagedImages, match=r"^1 images .*: \S*bee/01\.png\. Put") as error:
        read_all(dataset)
    assert "03.png" not in str(error.value)
    assert isinstance(error.value.__cause__, tf.errors.OpError)


def test_subsets_and_joined_datasets_name_them(root):
    train, test = folder(root, "train"), folder(root, "test")
    (root / "ant" / "04.png").unlink()  # every fifth is test
    with pytest.raises(DamagedImages, match=r"ant/04\.png"):
        read_all(joined(train, test))
    assert read_all(train.subset([0, 1])) == 2


def test_an_evaluation_names_them(root):
    dataset = folder(root)
    cut(root / "ant" / "00.png")
    with pytest.raises(DamagedImages, match=r"ant/00\.png"):
        extract_features(encoder(False), dataset, 16, progress=False)


def test_training_a_probe_or_the_encoder_names_them(root):
    """They are damaged between the features and the training."""
    dataset = folder(root)
    cut(root / "bee" / "00.png")
    recipe = sgd_classifier.Recipe(2, 8, 0.1)
    with pytest.raises(DamagedImages, match=r"bee/00\.png"):
        sgd_classifier.train_classifier(encoder(False), dataset, recipe, 16)
    settings = finetune.Settings(steps=4, batch_size=8)
    with pytest.raises(DamagedImages, match=r"bee/00\.png"):
        finetune.train(encoder(False), dataset, 16, settings, 0.1, 0.0)


def test_the_picture_of_views_and_the_measured_input_name_them(root):
    dataset = folder(root)
    for file in dataset.files:
        cut(root / file)
    batch = {"left": tf.zeros([2, 8, 8, 3]), "right": tf.zeros([2, 8, 8, 3]), "index": [0, 1]}
    with pytest.raises(DamagedImages, match=r"ant/00\.png"):
        first_views(dataset, {name: tf.convert_to_tensor(x) for name, x in batch.items()}, 2)
    config = simclr.get_config("smoke")
    config.batch_size = 2
    plan = types.SimpleNamespace(
        dataset=dataset,
        config=config,
        augment=None,
        strategy=tf.distribute.get_strategy(),
        total_steps=1000,
    )
    options = InputOptions("", 4, 1.0)
    with pytest.raises(DamagedImages, match=r"ant/00\.png"):
        InputCheck(types.SimpleNamespace(plan=plan, start=0, chief=True), options)


def test_cue_conflict_images_are_named(tmp_path):
    for shape, texture in (("cat", "dog"), ("dog", "cat")):
        (tmp_path / shape).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
        for number in range(3):
            file = tmp_path / shape / f"{shape}{number}-{texture}1.png"
            file.write_bytes(tf.io.encode_png(pixels).numpy())
    images, _, _ = cue_conflict_images(tmp_path)
    cut(tmp_path / "dog" / "dog1-cat1.png")
    with pytest.raises(DamagedImages, match=r"^1 images .*: \S*dog/dog1-cat1\.png\. Put"):
        extract_features(encoder(False), images, 16, progress=False)


def test_a_style_bank_names_them(root):
    dataset = folder(root)
    cut(root / "bee" / "01.png")
    stylizer = sassl_tf.load_stylizer("compact")
    with pytest.raises(DamagedImages, match=r"bee/01\.png"):
        sassl_tf.StyleBank.from_images(dataset, stylizer)


def test_errors_that_no_image_is_behind_stay_as_they_are(root):
    dataset = folder(root)
    with pytest.raises(tf.errors.ResourceExhaustedError), naming_damaged(dataset):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")
    with pytest.raises(NoBatches, match="broke off"), naming_damaged(dataset):
        try:
            raise tf.errors.UnavailableError(None, None, "of the data service, not of a bucket")
        except tf.errors.OpError as error:
            raise NoBatches("broke off") from error
    cut(root / "ant" / "00.png")
    with pytest.raises(KeyError), naming_damaged(dataset):
        raise KeyError
    with pytest.raises(DamagedImages), naming_damaged(dataset):
        try:
            raise tf.errors.InvalidArgumentError(None, None, "of a worker")
        except tf.errors.OpError as error:
            raise NoBatches("broke off") from error


@pytest.mark.slow
def test_the_same_command_continues_once_the_image_is_back(root, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "set_numerics", lambda config: None)  # for all later tests
    config = simclr.get_config("smoke")
    config.dataset, config.image_size, config.batch_size = f"folder:{root}", 16, 8
    config.epochs, config.checkpoint_every, config.sassl.enabled = 12.0, 1, False
    file, whole = root / "bee" / "02.png", (root / "bee" / "02.png").read_bytes()
    save = Run.save_checkpoint

    def save_and_damage(run, step):
        save(run, step)
        if step == 1:
            cut(file)

    with monkeypatch.context() as patch, pytest.raises(DamagedImages, match=r"bee/02\.png"):
        patch.setattr(Run, "save_checkpoint", save_and_damage)
        pretrain(config, tmp_path / "run")
    with (
        pytest.warns(UserWarning, match=r"bee/02\.png"),
        pytest.raises(ValueError, match=r"fingerprints\.images: there 16, here 15"),
    ):
        pretrain(config, tmp_path / "run")
    file.write_bytes(whole)
    run = pretrain(config, tmp_path / "run")
    assert run.start >= 1 and (tmp_path / "run" / "encoder.keras").is_file()
    assert all(np.isfinite(v.numpy()).all() for v in run.method.encoder.variables)
