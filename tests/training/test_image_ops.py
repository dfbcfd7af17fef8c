"""The batched image operations against tf.image one image at a time, scipy and colorsys."""

import colorsys
import functools
import itertools

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from training import image_ops

IDENTITY_FACTORS = (1.0, 1.0, 1.0, 0.0)
TF_IMAGE = [
    lambda image, factor: image * factor,
    tf.image.adjust_contrast,
    tf.image.adjust_saturation,
    tf.image.adjust_hue,
]


def random_images(batch, height=13, width=17, seed=0):
    """Photograph-like extremes included: greys, black, white and saturated pixels."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(size=(batch, height, width, 3)).astype(np.float32)
    images[:, 0] = images[:, 0, :, :1]
    images[:, 1] = np.round(images[:, 1])
    return images


def random_jitter(batch, seed=0):
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(4) for _ in range(batch)]).astype(np.int32)
    factors = rng.uniform(0.0, 2.0, (3, batch)).astype(np.float32)
    return order, *factors, rng.uniform(-0.5, 0.5, batch).astype(np.float32)


def jitter_by_tf_image(image, order, *factors):
    for operation in order:
        image = tf.clip_by_value(TF_IMAGE[operation](image, factors[operation]), 0.0, 1.0)
    return image.numpy()


def test_color_jitter_is_tf_image_in_the_drawn_order():
    orders = np.array(list(itertools.permutations(range(4))), np.int32)
    images, (_, *factors) = random_images(24), random_jitter(24)
    expected = [jitter_by_tf_image(*one) for one in zip(images, orders, *factors, strict=True)]
    np.testing.assert_allclose(
        image_ops.color_jitter(images, orders, *factors), np.stack(expected), atol=1e-5
    )


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.2, 1 / 3, 1.0])
def test_hue_is_colorsys(turns):
    rgb = random_images(1, 4, 4)
    factors = [np.float32([factor]) for factor in (1.0, 1.0, 1.0, turns)]
    turned = image_ops.color_jitter(rgb, np.int32([[0, 1, 2, 3]]), *factors)

    def turn(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
        return colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)

    np.testing.assert_allclose(turned, np.apply_along_axis(turn, -1, rgb), atol=1e-5)


def torchvision_operation(image, operation, factor):
    """As its functional operations on tensors are defined; hue is the same as TensorFlow's."""
    grey = image @ np.float32([0.2989, 0.587, 0.114])
    blend_with = [np.zeros_like(image), np.full_like(image, grey.mean()), grey[..., None]]
    return factor * image + (1 - factor) * blend_with[operation]


@pytest.mark.parametrize("law", ["byol", "torchvision"])
def test_the_other_laws_of_jitter(law):
    images = random_images(6)
    orders, *factors = random_jitter(6)
    expected = []
    for image, order, *own in zip(images, orders, *factors, strict=True):
        for operation in order:
            factor = own[operation]
            if law == "torchvision" and operation != image_ops.HUE:
                image = torchvision_operation(image, operation, factor)
            elif law == "byol" and operation == image_ops.BRIGHTNESS:
                image = image + (factor - 1)
            else:
                image = TF_IMAGE[operation](image, factor)
            image = np.clip(image, 0, 1)
        expected.append(image)
    result = image_ops.color_jitter(images, orders, *factors, law=law)
    np.testing.assert_allclose(result, np.stack(expected), atol=1e-5)


def test_color_jitter_by_hand():
    image = np.float32([[[0.4, 0.2, 0.2], [0.8, 0.8, 0.8]]])[None]
    cases = [
        ([2.0, 1, 1, 0], [[0.8, 0.4, 0.4], [1, 1, 1]]),
        ([1, 0.0, 1, 0], [[0.6, 0.5, 0.5], [0.6, 0.5, 0.5]]),
        ([1, 1, 0.0, 0], [[0.4, 0.4, 0.4], [0.8, 0.8, 0.8]]),
        ([1, 1, 9.0, 0], [[0.4, 0.0, 0.0], [0.8, 0.8, 0.8]]),
        ([1, 1, 1, 1 / 3], [[0.2, 0.4, 0.2], [0.8, 0.8, 0.8]]),
    ]
    for factors, expected in cases:
        columns = [np.float32([factor]) for factor in factors]
        result = image_ops.color_jitter(image, np.int32([[3, 2, 1, 0]]), *columns)
        np.testing.assert_allclose(result[0, 0], expected, atol=1e-6, err_msg=str(factors))


@given(
    hnp.arrays(np.float32, (3, 4, 5, 3), elements=st.floats(0, 1, width=32)),
    st.integers(0, 1000),
    st.floats(0.1015625, 2.0, width=32),
)
@settings(max_examples=25, deadline=None)
def test_values_stay_in_range(images, seed, sigma):
    results = [
        image_ops.color_jitter(images, *random_jitter(3, seed)),
        image_ops.gaussian_blur(images, np.full(3, sigma, np.float32), 3),
        image_ops.grayscale(images),
        image_ops.solarize(images),
    ]
    for result in results:
        assert np.all((result.numpy() >= 0) & (result.numpy() <= 1))


@pytest.mark.parametrize("size", [(20, 20), (33, 24)])
def test_blur_is_scipy(size):
    images = random_images(4, *size)
    sigma = np.float32([0.1, 0.7, 1.3, 2.0])
    for kernel_size in (2, 3, 9):
        blurred = image_ops.gaussian_blur(images, sigma, kernel_size)
        for image, one_sigma, result in zip(images, sigma, blurred, strict=True):
            expected = scipy.ndimage.gaussian_filter(
                image,
                one_sigma,
                mode="constant",
                radius=(kernel_size // 2, kernel_size // 2, 0),
                axes=(0, 1, 2),
            )
            np.testing.assert_allclose(result, expected, atol=1e-5)


def test_grayscale_is_tf_image():
    images = random_images(3)
    expected = np.broadcast_to(tf.image.rgb_to_grayscale(images), images.shape)
    np.testing.assert_allclose(image_ops.grayscale(images), expected, atol=1e-6)


def test_solarize_by_hand():
    images = np.float32([0.0, 0.25, 0.5, 0.75, 1.0, 0.4]).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(
        np.ravel(image_ops.solarize(images)), np.float32([0, 0.25, 0.5, 0.25, 0, 0.4])
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_flip_is_numpy(dtype):
    images = (random_images(3) * 255).astype(dtype)
    flipped = image_ops.flip(images, np.array([True, False, True]))
    expected = np.stack([images[0, :, ::-1], images[1], images[2, :, ::-1]])
    np.testing.assert_array_equal(flipped, expected)


def random_distortions(batch, seed=0):
    names = ("order", "brightness", "contrast", "saturation", "hue")
    rng = np.random.default_rng(seed)
    chosen = rng.random((4, batch)) < 0.5
    return {
        **dict(zip(names, random_jitter(batch, seed), strict=True)),
        **dict(zip(("jitter", "grayscale", "blur", "solarize"), chosen, strict=True)),
        "sigma": rng.uniform(0.1, 2.0, batch).astype(np.float32),
    }


@pytest.mark.parametrize("law", image_ops.JITTER_LAWS)
@pytest.mark.parametrize("kernel_size", [1, 3, 4, 9])
def test_distort_is_the_batched_operations(law, kernel_size):
    """One image at a time and all at once are two implementations, which check each other."""
    images, draws = random_images(12), random_distortions(12)
    expected = image_ops.distort_all(images, draws, law, kernel_size)
    result = image_ops.distort(images, draws, law, kernel_size)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_distort_leaves_what_drew_nothing():
    images, draws = random_images(4), random_distortions(4)
    for name in ("jitter", "grayscale", "blur", "solarize"):
        draws[name] = np.zeros(4, bool)
    np.testing.assert_array_equal(image_ops.distort(images, draws, "simclr", 3), images)


@pytest.mark.parametrize("to_unit", [image_ops.to_unit_range, image_ops.all_to_unit_range])
def test_to_unit_range(to_unit):
    images = (random_images(3) * 255).astype(np.uint8)
    expected = np.stack([images[0, :, ::-1], images[1], images[2, :, ::-1]]) / 255
    flips = np.array([True, False, True])
    np.testing.assert_allclose(to_unit(images, flips), expected, atol=1e-6)
    np.testing.assert_allclose(to_unit(np.float32(images / 255), flips), expected, atol=1e-6)


def test_nan_stays_in_its_image():
    clean = random_images(4)
    broken = clean.copy()
    broken[2] = np.nan
    sigma, mask = np.float32([0.5, 1.0, 1.5, 2.0]), np.array([True, False, True, True])
    operations = [
        lambda images: image_ops.color_jitter(images, *random_jitter(4)),
        lambda images: image_ops.gaussian_blur(images, sigma, 5),
        image_ops.grayscale,
        image_ops.solarize,
        lambda images: image_ops.flip(images, mask),
        lambda images: image_ops.distort(images, random_distortions(4), "simclr", 5),
    ]
    for operation in operations:
        others = [0, 1, 3]
        np.testing.assert_allclose(
            operation(broken).numpy()[others], operation(clean).numpy()[others], atol=1e-6
        )


def crop_boxes(sampler, shape, area, ratio, count):
    boxes = tf.function(
        lambda seed: tf.stack(image_ops.CROP_SAMPLERS[sampler](shape, area, ratio, seed))
    )
    return np.stack([boxes(tf.constant([seed, 7])) for seed in range(count)])


@pytest.mark.parametrize("sampler", image_ops.CROP_SAMPLERS)
def test_crop_boxes_keep_to_their_ranges_and_vary(sampler):
    boxes = crop_boxes(sampler, (200, 300, 3), (0.2, 0.6), (3 / 4, 4 / 3), 300)
    top, left, height, width = boxes.T
    assert np.all((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300))
    share, ratio = height * width / 60_000, width / height
    assert 0.19 < share.min() < 0.25 and 0.5 < share.max() < 0.61
    assert 0.74 < ratio.min() < 0.85 and 1.2 < ratio.max() < 1.35
    assert len(np.unique(boxes, axis=0)) > 290


def torchvision_boxes(height, width, area, ratio, count):
    """torchvision's RandomResizedCrop.get_params, as its documentation tells the law."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        for _ in range(10):
            pixels = height * width * rng.uniform(*area)
            aspect = np.exp(rng.uniform(*np.log(ratio)))
            w, h = round(np.sqrt(pixels * aspect)), round(np.sqrt(pixels / aspect))
            if w <= width and h <= height:
                yield rng.integers(height - h + 1), rng.integers(width - w + 1), h, w
                break


def test_torchvisions_law():
    ours = crop_boxes("torchvision", (120, 160, 3), (0.2, 1.0), (3 / 4, 4 / 3), 2000)
    theirs = np.array([*torchvision_boxes(120, 160, (0.2, 1.0), (3 / 4, 4 / 3), 4000)])
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert scipy.stats.ks_2samp(a, b).pvalue > 1e-3
    tensorflows = crop_boxes("tensorflow", (120, 160, 3), (0.2, 1.0), (3 / 4, 4 / 3), 2000)
    assert scipy.stats.ks_2samp(ours[:, 2], tensorflows[:, 2]).pvalue < 1e-3


def byol_boxes(height, width, area, ratio, count):
    """The law of byol/utils/dataset.py, in NumPy."""
    rng = np.random.default_rng(0)
    pixels = height * width * rng.uniform(*area, count)
    aspect = np.exp(rng.uniform(*np.log(ratio), count))
    w = np.minimum(np.round(np.sqrt(pixels * aspect)), width).astype(int)
    h = np.minimum(np.round(np.sqrt(pixels / aspect)), height).astype(int)
    return np.stack([rng.integers(height - h + 1), rng.integers(width - w + 1), h, w], axis=1)


def test_byols_law():
    case = (0.08, 1.0), (3 / 4, 4 / 3)
    theirs = byol_boxes(375, 500, *case, 100_000)
    seeds = tf.stack([tf.range(20_000), tf.fill([20_000], 7)], axis=1)
    box = functools.partial(image_ops.byol_crop_box, (375, 500, 3), *case)
    ours = tf.function(lambda: tf.vectorized_map(lambda seed: tf.stack(box(seed)), seeds))().numpy()
    for a, b in zip(ours.T, theirs.T, strict=True):
        assert scipy.stats.ks_2samp(a, b).pvalue > 1e-3
    for boxes in (ours, theirs):  # 0.386 and 0.24 under TensorFlow's law
        share = boxes[:, 2] * boxes[:, 3] / (375 * 500)
        assert share.mean() == pytest.approx(0.521, abs=0.01)
        assert np.mean(share < 0.2) == pytest.approx(0.13, abs=0.01)
    # A side that is too long is cut, not drawn again.
    boxes = crop_boxes("byol", (10, 1000, 3), (0.9, 1.0), (3 / 4, 4 / 3), 20)
    assert np.all(boxes[:, 2] == 10) and np.all(boxes[:, 3] > 80)


def test_impossible_crop():
    """TensorFlow's law takes the whole image, torchvision's the centre within the ratio."""
    impossible = (10, 1000, 3), (0.9, 1.0), (3 / 4, 4 / 3), 3
    np.testing.assert_array_equal(crop_boxes("tensorflow", *impossible), [[0, 0, 10, 1000]] * 3)
    np.testing.assert_array_equal(crop_boxes("torchvision", *impossible), [[0, 493, 10, 13]] * 3)
    even = (10, 999, 3), *impossible[1:]
    np.testing.assert_array_equal(crop_boxes("torchvision", *even), [[0, 493, 10, 13]] * 3)
    tall = (1000, 10, 3), *impossible[1:]
    np.testing.assert_array_equal(crop_boxes("torchvision", *tall), [[493, 0, 13, 10]] * 3)


def test_crop_and_resize():
    image = (random_images(1, 30, 40)[0] * 255).astype(np.uint8)
    whole = image_ops.crop_and_resize(image, 5, 7, 16, 16, 16)
    assert whole.dtype == tf.uint8
    np.testing.assert_array_equal(whole, image[5:21, 7:23])  # same size: the pixels themselves

    smaller = image_ops.crop_and_resize(image, 5, 7, 20, 30, 12)
    expected = tf.image.resize(image[5:25, 7:37], (12, 12), "bicubic").numpy()
    np.testing.assert_allclose(smaller, np.clip(expected, 0, 255), atol=0.5)

    floats = image_ops.crop_and_resize(image / np.float32(255), 5, 7, 20, 30, 12).numpy()
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
    np.testing.assert_allclose(floats, np.clip(expected / 255, 0, 1), atol=1e-5)
