"""Measures of whether pictures have a teacher's style, with its fine detail, or only its colours.

A mean squared error is content with a blurred picture, and that of a view in which nine tenths are
the photograph with almost any. So T's own picture (β = 1) is measured, at the α of the paper and in
full, with F and T both the stylizer's own, against the teacher's of the same content and style.
"""

import numpy as np
import scipy.ndimage
import tensorflow as tf

ALPHAS = (0.2, 1.0)
BLUR = 1.5  # px; fine detail is what a Gaussian blur of this standard deviation takes away
BATCH = 32
# Decimals of the measures in tables.
DIGITS = {"style_gap": 2, "detail_energy": 2, "detail_explained": 2, "psnr": 1}


def style_gap(pictures, targets, contents, encode):
    """‖F(picture) - F(target)‖ / ‖F(content) - F(target)‖ of each image.

    0 is the target's style; 1 is no nearer to it than the content is.

    Args:
        pictures, targets, contents: float32 [N, H, W, 3] in [0, 1].
        encode: F of the teacher, images to codes.
    """
    ours, theirs, plain = (_in_batches(encode, x) for x in (pictures, targets, contents))
    return np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(plain - theirs, axis=1)


def fine_detail(images):
    """Images [N, H, W, 3] less their Gaussian blur."""
    return images - scipy.ndimage.gaussian_filter(images, (0, BLUR, BLUR, 0), mode="reflect")


def detail_energy(pictures, targets):
    """Energy of fine detail by the target's, of each image: below 1 is blurred."""
    return _energy(fine_detail(pictures)) / _energy(fine_detail(targets))


def detail_explained(pictures, targets):
    """1 - ‖d - d'‖² / ‖d'‖² of each image, d and d' the fine detail of picture and target.

    1 is the same detail, 0 as good as none at all.
    """
    detail = fine_detail(targets)
    return 1 - _energy(fine_detail(pictures) - detail) / _energy(detail)


def psnr(pictures, targets):
    """In dB, of values in [0, 1], of each image."""
    return -10 * np.log10(np.mean((pictures - targets) ** 2, axis=(1, 2, 3)))


def measures(pictures, targets, contents, encode):
    """{name: number}: medians over images, and the mean for PSNR."""
    values = {
        "style_gap": np.median(style_gap(pictures, targets, contents, encode)),
        "detail_energy": np.median(detail_energy(pictures, targets)),
        "detail_explained": np.median(detail_explained(pictures, targets)),
        "psnr": np.mean(psnr(pictures, targets)),
    }
    return {name: round(float(value), 3) for name, value in values.items()}


def pictures_of(layer, images, alpha, draws):
    """T's own pictures (β = 1) by a `SASSLAugmentation`, of the styles in `draws`."""
    ones = np.ones(len(images), np.float32)
    draws = {"style": draws, "alpha": alpha * ones, "beta": ones, "apply": ones > 0}
    return _in_batches(layer.transform_images, images, draws)


def texture(candidates, reference, images, encode):
    """Rows of {stylizer, alpha, and `measures`}, against the reference's pictures.

    Args:
        candidates: {name: `SASSLAugmentation`}, the reference's among them, all of the same styles
            in the same order.
        reference: its name.
        images: float32 [N, H, W, 3] in [0, 1].
        encode: F of the reference, images to codes.
    """
    styles = np.random.default_rng(0).random(len(images), np.float32)
    rows = []
    for alpha in ALPHAS:
        targets = pictures_of(candidates[reference], images, alpha, styles)
        rows.append({"stylizer": "the plain image", "alpha": alpha})
        rows[-1].update(measures(images, targets, images, encode))
        for name, layer in candidates.items():
            if name != reference:
                found = pictures_of(layer, images, alpha, styles)
                row = {"stylizer": name, "alpha": alpha}
                rows.append({**row, **measures(found, targets, images, encode)})
    return rows


def _energy(images):
    return np.sum(np.square(images), axis=(1, 2, 3))


def _in_batches(function, *arrays):
    parts = []
    for start in range(0, len(arrays[0]), BATCH):
        batch = tf.nest.map_structure(lambda x, s=start: tf.constant(x[s : s + BATCH]), arrays)
        parts.append(function(*batch).numpy())
    return np.concatenate(parts)
