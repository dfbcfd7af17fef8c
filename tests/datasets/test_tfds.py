import time
import types

import numpy as np
import pytest

from sassl_tf.datasets import MissingSplit, load_dataset
from sassl_tf.datasets import tfds as module
from sassl_tf.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 10, 14, 3), np.uint8)


def store(folder, name, splits, file_format="tfrecord", **features):
    """Makes a real TFDS dataset; each split is a list of its examples."""
    tfds = pytest.importorskip("tensorflow_datasets")
    kinds = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "gray": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
        "text": tfds.features.Text(),
        "depth": tfds.features.Image(shape=(4, 4, 1), dtype=np.float32),
    }
    features = {key: kinds[kind] for key, kind in features.items()}
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.2.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={key: list(enumerate(value)) for key, value in splits.items()},
        data_dir=folder,
        disable_shuffling=True,
        file_format=file_format,
    )
    return folder


def labelled(images, labels):
    return [{"image": i, "label": y} for i, y in zip(images, labels, strict=True)]


def test_labelled(tmp_path):
    splits = {
        "train": labelled(IMAGES[:8], [0, 1, 2, 0, 1, 2, 0, 1]),
        "validation": labelled(IMAGES[8:], [2, 1, 0, 2]),
    }
    store(tmp_path, "insects", splits, image="image", label="label")
    train = load_dataset("tfds:insects", "train", data_dir=tmp_path)
    test = load_dataset("tfds:insects:1.2.0", "test", data_dir=str(tmp_path))
    assert train.class_names == ["ant", "bee", "cat"]
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] and test.labels.tolist() == [
        2,
        1,
        0,
        2,
    ]
    for i, image in enumerate(IMAGES[:8]):
        np.testing.assert_array_equal(train.example(i)["image"], image)
    np.testing.assert_array_equal(test.image(3), IMAGES[11])
    assert train.fingerprint != test.fingerprint
    assert train.fingerprint == load_dataset("tfds:insects", data_dir=tmp_path).fingerprint


def test_a_test_split_without_labels_gives_way_to_validation(tmp_path):
    splits = {
        "test": labelled(IMAGES[:2], [-1, -1]),
        "validation": labelled(IMAGES[2:5], [2, 1, 0]),
    }
    store(tmp_path, "hidden_labels", splits, image="image", label="label")
    assert load_dataset("tfds:hidden_labels", "test", tmp_path).labels.tolist() == [2, 1, 0]
    with pytest.raises(MissingSplit):  # it is the test split already
        load_dataset("tfds:hidden_labels", "validation", tmp_path)
    with pytest.raises(ValueError, match=r"no split for 'train'.*it has test, validation"):
        load_dataset("tfds:hidden_labels", "train", tmp_path)


def test_a_validation_split_beside_the_test_split(tmp_path):
    splits = {
        name: labelled(IMAGES[i : i + 1], [i]) for i, name in enumerate(["test", "validation"])
    }
    store(tmp_path, "both", splits, image="image", label="label")
    assert load_dataset("tfds:both", "test", tmp_path).labels.tolist() == [0]
    assert load_dataset("tfds:both", "validation", tmp_path).labels.tolist() == [1]


def test_gray_and_unlabelled(tmp_path):
    examples = [{"image": image[..., :1], "label": "words"} for image in IMAGES]
    store(tmp_path, "gray", {"train": examples}, image="gray", label="text")
    dataset = load_dataset("tfds:gray", data_dir=tmp_path)
    assert dataset.labels.tolist() == [-1] * 12 and dataset.class_names == []
    np.testing.assert_array_equal(dataset.image(7), np.repeat(IMAGES[7, ..., :1], 3, axis=-1))


def test_no_image(tmp_path):
    store(tmp_path, "texts", {"train": [{"words": "a"}]}, words="text")
    with pytest.raises(ValueError, match=r"no feature named image.*words"):
        load_dataset("tfds:texts", data_dir=tmp_path)
    depth = [{"image": np.zeros((4, 4, 1), np.float32)}]
    store(tmp_path, "depths", {"train": depth}, image="depth")
    with pytest.raises(ValueError, match="float32"):
        load_dataset("tfds:depths", data_dir=tmp_path)


def test_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HOST", ("127.0.0.1", 9))  # nobody listens there
    monkeypatch.setattr(module.urllib.request, "getproxies", dict)
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"cifar10.*3\.0\.2.*--data_dir"):
        load_dataset("tfds:cifar10", data_dir=tmp_path)
    assert time.monotonic() - started < 60


def test_what_cannot_be_prepared_is_told(tmp_path, monkeypatch):
    """Files to be fetched by hand are an AssertionError of TFDS's, and need no network."""
    monkeypatch.setattr(module, "_can_connect", lambda: False)
    with pytest.raises(ValueError, match=r"(?s)could not be prepared: .*manual.*--data_dir"):
        load_dataset("tfds:imagenet2012_subset/1pct", data_dir=tmp_path)


def test_a_proxy_may_know_the_way(monkeypatch):
    monkeypatch.setattr(module, "_can_connect", lambda: False)
    builder = types.SimpleNamespace(MANUAL_DOWNLOAD_INSTRUCTIONS=None, data_path="here")
    monkeypatch.setattr(module.urllib.request, "getproxies", lambda: {"https": "proxy:80"})
    module._check_network("pets", builder)
    for none in ({}, {"no": "localhost"}):  # NO_PROXY
        monkeypatch.setattr(module.urllib.request, "getproxies", lambda none=none: none)
        with pytest.raises(UserError, match="is not prepared"):
            module._check_network("pets", builder)


@pytest.mark.parametrize("name", ["cifar10:9.9.9", "cifar10/nope", "cifar10?x=1"])
def test_versions_and_configs_that_do_not_exist(name, tmp_path):
    with pytest.raises(ValueError, match=r"cannot load .*tfds:NAME/CONFIG") as told:
        load_dataset(f"tfds:{name}", data_dir=tmp_path)
    assert isinstance(told.value, UserError)


def test_unknown(tmp_path):
    with pytest.raises(ValueError, match=r"no 'cifar_ten'.*--data_dir"):
        load_dataset("tfds:cifar_ten", data_dir=tmp_path)
