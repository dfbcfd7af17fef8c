"""What a teacher makes of crops and styles, on disk: the samples that a student learns from.

A teacher costs ten times what a step of its student does, so it works once and its answers are
read as often as need be. A folder of samples holds `styles.npz` and, of each side, parts of
`PART_SIZE` samples that are written one by one: begun again, it goes on with the next part.
"""

import numpy as np
import tensorflow as tf

from sassl_tf.checked import cached, read_arrays, write_arrays
from sassl_tf.style_images import style_images
from training.logs import say

TEACHER_SIZE = 256
CONTENT_SIZE = 128
CROPS_PER_STYLE = 4
PARTS = {64: 4, 96: 4, 128: 18, 160: 2, 224: 1}  # of each side of a crop, in pixels
_BATCH = 32


def read_images(folder, side):
    """uint8 [N, side, side, 3]: the centre of every image under a folder."""
    images = style_images(folder, side).map(_to_bytes)
    return np.stack(list(images.as_numpy_iterator()))


def square_crops(images, seed, smallest, side):
    """One random square crop of each image, of `smallest` to all of its side, resized."""
    count = tf.shape(images)[0]
    u = tf.random.stateless_uniform((3, count), seed)
    scale = smallest + (1 - smallest) * u[0]
    top, left = (1 - scale) * u[1], (1 - scale) * u[2]
    boxes = tf.stack([top, left, top + scale, left + scale], axis=1)
    return tf.image.crop_and_resize(images, boxes, tf.range(count), (side, side))


def _to_bytes(images):
    return tf.saturate_cast(tf.round(255 * images), tf.uint8)


def _to_unit(images):
    return tf.cast(images, tf.float32) / 255.0


def write_samples(folder, teacher, contents, styles, style_size, seed, part_size):
    """Writes what is not there yet, or is damaged, of a folder of samples.

    Args:
        folder: where to.
        teacher: a `Stylizer`.
        contents: folders of photographs, read at `CONTENT_SIZE`; the style images, at
            `TEACHER_SIZE`, are contents of some batches too, as larger crops need more pixels.
        styles: a folder of style images, of each of which `CROPS_PER_STYLE` crops are taken.
        style_size: the side, in pixels, at which the student sees them.
        seed: an int.
        part_size: samples of a part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    style_pixels = read_images(styles, TEACHER_SIZE)
    if cached(read_arrays, folder / "styles.npz") is None:
        say(f"The teacher's codes of {len(style_pixels)} styles")
        small, codes = _style_crops(teacher, style_pixels, style_size)
        write_arrays(folder / "styles.npz", small=small, codes=codes)
    codes = read_arrays(folder / "styles.npz")["codes"]
    photographs = np.concatenate([read_images(path, CONTENT_SIZE) for path in contents])

    @tf.function(reduce_retracing=True)
    def answer(content, z_s, alpha):
        z_c = teacher.encode_style(content)
        return _to_bytes(teacher.stylize(content, (1 - alpha) * z_c + alpha * z_s)), z_c

    for side, parts in PARTS.items():
        for part in range(parts):
            path = _part_path(folder, side, part)
            if cached(read_arrays, path) is None:
                rng = np.random.default_rng((seed, side, part))
                arrays = _part(rng, photographs, style_pixels, codes, side, part_size, answer)
                write_arrays(path, **arrays)
                say(f"{part_size} samples of {side} px, part {part + 1} of {parts}")


def _style_crops(teacher, images, style_size):
    """Crops of the style images at the student's size, and the teacher's codes of them."""
    small, codes = [], []
    for crop in range(CROPS_PER_STYLE):
        for start in range(0, len(images), _BATCH):
            batch = _to_unit(images[start : start + _BATCH])
            if crop:  # the first one is the whole image
                batch = square_crops(batch, (crop, start), 0.5, TEACHER_SIZE)
            codes.append(teacher.encode_style(batch).numpy())
            small.append(_to_bytes(tf.image.resize(batch, (style_size, style_size))).numpy())
    return np.concatenate(small), np.concatenate(codes)


def _part(rng, photographs, style_pixels, codes, side, count, answer):
    """The arrays of a part; α is in SASSL's [0.1, 0.3] for 7 of 10 samples, else in [0, 1]."""
    style = rng.integers(len(codes), size=count).astype(np.int32)
    usual, narrow, wide = rng.random(count), rng.uniform(0.1, 0.3, count), rng.random(count)
    alpha = np.where(usual < 0.7, narrow, wide).astype(np.float32)
    samples = []
    for start in range(0, count, _BATCH):
        rows = slice(start, min(start + _BATCH, count))
        large = rng.random() < (0.3 if side >= 160 else 0.1)
        pool = style_pixels if large else photographs
        picked = _to_unit(pool[rng.integers(len(pool), size=rows.stop - start)])
        crops = _to_bytes(square_crops(picked, rng.integers(2**31, size=2), 0.35, side))
        target, z_c = answer(_to_unit(crops), codes[style[rows]], alpha[rows, None])
        samples.append((crops.numpy(), target.numpy(), z_c.numpy()))
    content, target, z_c = map(np.concatenate, zip(*samples, strict=True))
    return {"content": content, "target": target, "z_c": z_c, "style": style, "alpha": alpha}


def _part_path(folder, side, part):
    return folder / f"{side}px_{part:03}.npz"


class Samples:
    """A folder of samples, to draw batches from; see `write_samples`."""

    def __init__(self, folder):
        styles = read_arrays(folder / "styles.npz")
        self.small, self.codes = styles["small"], styles["codes"]
        self._parts = {
            side: [read_arrays(_part_path(folder, side, part)) for part in range(parts)]
            for side, parts in PARTS.items()
        }

    def batch(self, rng, side, count):
        """`count` samples of one part: content, target and style pixels uint8; codes; α [B, 1]."""
        part = self._parts[side][rng.integers(len(self._parts[side]))]
        rows = rng.choice(len(part["alpha"]), min(count, len(part["alpha"])), replace=False)
        style = part["style"][rows]
        return {
            "content": part["content"][rows],
            "target": part["target"][rows],
            "style": self.small[style],
            "z_c": part["z_c"][rows],
            "z_s": self.codes[style],
            "alpha": part["alpha"][rows, None],
        }
