"""Prepared images by hand and by TensorFlow, and features that are computed once."""

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.representation import features as features_module
from sassl_tf.representation.features import extract_features, prepare_image
from tests.evaluation.tiny import in_memory, noise_images, tiny_encoder


def test_an_image_of_the_right_size_is_only_divided_by_255():
    [image] = noise_images(1, side=12)
    assert np.array_equal(prepare_image(image, 12), image.astype(np.float32) / np.float32(255))


def test_resize_and_crop_by_hand():
    # 32 x 64, a white disc in the middle third; size 28: shorter side 32, so no pixel is resampled
    # and the crop starts at row (32 - 28) / 2 = 2 and column (64 - 28) / 2 = 18.
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    prepared = prepare_image(image, 28).numpy()
    np.testing.assert_allclose(prepared, image[2:30, 18:46] / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 60), (91, 77), (20, 300)])
def test_only_the_crop_of_what_tensorflow_resizes_is_computed(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    scale = 64 / min(shape)
    resized = tf.image.resize(
        image, [round(side * scale) for side in shape], method="bicubic", antialias=True
    )
    top, left = ((side - 56) // 2 for side in resized.shape[:2])
    expected = np.clip(resized[top : top + 56, left : left + 56], 0, 255) / 255
    np.testing.assert_allclose(prepare_image(image, 56), expected, atol=1e-4)


def test_a_crop_of_the_whole_shorter_side():
    image = np.random.default_rng(0).integers(0, 256, (28, 64, 3), np.uint8)
    prepared = prepare_image(image, 28, crop_proportion=1.0).numpy()
    np.testing.assert_allclose(prepared, image[:, 18:46] / 255, atol=1e-6)
    with pytest.raises(ValueError, match=r"crop proportion is 1\.5"):
        extract_features(tiny_encoder(), in_memory(noise_images(2)), 16, crop_proportion=1.5)


def test_downsampling_keeps_the_centre_and_the_range():
    image = np.zeros((100, 150, 3), np.uint8)
    image[40:60, 65:85] = 255  # a square of 20 around the centre
    prepared = prepare_image(image, 56).numpy()  # shorter side 64: the square is 12.8 wide
    assert prepared.shape == (56, 56, 3)
    assert prepared.min() >= 0 and prepared.max() <= 1
    rows, columns = np.nonzero(prepared[..., 0] > 0.5)
    assert abs(rows.mean() - 27.5) < 0.5 and abs(columns.mean() - 27.5) < 0.5
    assert 12 <= np.ptp(rows) + 1 <= 14 and 12 <= np.ptp(columns) + 1 <= 14


def test_downsampling_is_antialiased():
    image = np.zeros((128, 128, 3), np.uint8)
    image[:, ::2] = 255  # stripes of one pixel become gray, not moire
    prepared = prepare_image(image, 28).numpy()
    np.testing.assert_allclose(prepared, 0.5, atol=0.02)


def test_features_are_in_order_and_in_inference_mode():
    images = noise_images(11)
    encoder = tiny_encoder()
    features = extract_features(encoder, in_memory(images), image_size=16, batch_size=4)
    expected = encoder(np.stack(images).astype(np.float32) / 255, training=False)
    assert features.shape == (11, 6) and features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


def test_the_cache_spares_the_encoder(tmp_path, monkeypatch):
    encoder, dataset = tiny_encoder(), in_memory(noise_images(5))
    first = extract_features(encoder, dataset, 16, cache_dir=tmp_path)
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]

    monkeypatch.setattr(features_module, "_extract", None)  # calling it would raise
    again = extract_features(encoder, dataset, 16, cache_dir=tmp_path)
    assert isinstance(again, np.memmap)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("change", ["weights", "dataset", "split", "image_size"])
def test_the_cache_knows_what_changed(tmp_path, change):
    encoder, images, size, split, fingerprint = tiny_encoder(), noise_images(4), 16, "train", "made"
    before = extract_features(encoder, in_memory(images), size, cache_dir=tmp_path)
    if change == "weights":
        weights = encoder.get_weights()
        weights[0][0, 0, 0, 0] += 0.5
        encoder.set_weights(weights)
    elif change == "dataset":
        images, fingerprint = noise_images(4, seed=1), "another"
    elif change == "split":
        images, split = noise_images(4, seed=1), "test"
    else:
        size = 14
    dataset = in_memory(images, split=split, fingerprint=fingerprint)
    after = extract_features(encoder, dataset, size, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not np.allclose(before, after)


def test_nan_features_are_an_error_and_not_cached(tmp_path):
    encoder = tiny_encoder()
    encoder.set_weights([np.full_like(w, np.nan) for w in encoder.get_weights()])
    with pytest.raises(ValueError, match="NaN or infinite"):
        extract_features(encoder, in_memory(noise_images(3)), 16, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named():
    dataset = in_memory(noise_images(2))
    with pytest.raises(ValueError, match="16 x 16"):
        extract_features(tiny_encoder(side=16), dataset, 32)
    with pytest.raises(ValueError, match="batch size is 0"):
        extract_features(tiny_encoder(), dataset, 16, batch_size=0)
