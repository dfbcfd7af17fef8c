"""Views of an image for self-supervised learning: what is drawn, and how it is applied.

A view is made in three steps, so that one seed per image fixes it, wherever and in whatever batch
the image is processed:

    draws = draw_view(config, tf.shape(image), seed, augment)   # per image: a nest of scalars
    image = crop_view(image, draws, size)                       # per image: sizes differ
    ... dataset.batch() stacks images and draws alike ...
    views = finish_views(images, draws, config, augment)        # per batch: fast

Each operation draws from a seed of its own, derived by name, so that switching an operation on or
off changes no other draw: runs with and without SASSL see the same crops and the same colours.
"""

import zlib

import tensorflow as tf
from ml_collections import ConfigDict

from sassl_tf.errors import UserError
from training import image_ops

BLUR_KERNEL_DIVISOR = 10  # the kernel's side is a tenth of the image's [simclr: data_util.py]
SASSL_POSITIONS = ("none", "before_jitter", "after_all")


def view_config(**overrides):
    """The operations of one view; SimCLR's numbers, unless overridden.

    Sources: arXiv 2002.05709, appendix A; google-research/simclr, tf2/data_util.py.
    `sassl` says where SASSL's style transfer comes: "before_jitter", "after_all", or "none".
    """
    config = ConfigDict(
        {
            "crop_area": (0.08, 1.0),
            "crop_ratio": (3 / 4, 4 / 3),
            "crop_sampler": "tensorflow",  # or "torchvision", "byol"
            "flip_probability": 0.5,
            "jitter_probability": 0.8,
            "jitter_law": "simclr",  # or "byol", "torchvision"
            "brightness": 0.8,
            "contrast": 0.8,
            "saturation": 0.8,
            "hue": 0.2,
            "grayscale_probability": 0.2,
            "blur_probability": 0.5,
            "blur_sigma": (0.1, 2.0),
            "solarize_probability": 0.0,
            "sassl": "none",
        }
    ).lock()  # so that a misspelt override is an error
    config.update(overrides)
    return config.unlock()


def simclr_views(strength=1.0, blur_probability=0.5):
    """SimCLR: both views alike. For CIFAR: strength 0.5, blur_probability 0 (its appendix B.9).

    Sources: those of `view_config`.
    """
    numbers = {
        **_jitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
        "blur_probability": blur_probability,
    }
    return _pair(numbers, numbers)


def moco_v2_views():
    """MoCo v2: both views alike. Source: facebookresearch/moco, main_moco.py, `--aug-plus`."""
    numbers = {
        "crop_area": (0.2, 1.0),
        "crop_sampler": "torchvision",
        "jitter_law": "torchvision",
        **_jitter(0.4, 0.4, 0.4, 0.1),
    }
    return _pair(numbers, numbers)


def byol_views():
    """BYOL: the left view always blurred, the right one seldom blurred and sometimes solarized.

    Sources: arXiv 2006.07733, table 6; google-deepmind/deepmind-research,
    byol/utils/dataset.py (the crop) and augmentations.py.
    """
    numbers = {"crop_sampler": "byol", "jitter_law": "byol", **_jitter(0.4, 0.4, 0.2, 0.1)}
    return _pair(
        {**numbers, "blur_probability": 1.0},
        {**numbers, "blur_probability": 0.1, "solarize_probability": 0.2},
    )


def _jitter(brightness, contrast, saturation, hue):
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
    }


def _pair(left, right):
    """SASSL's style transfer is for the left view alone (arXiv 2312.01187)."""
    left = view_config(**left, sassl="before_jitter")
    return ConfigDict({"left": left, "right": view_config(**right)})


def draw_view(config, image_shape, seed, augment=None):
    """All the randomness of one view of one image: a dict of scalars (and two short vectors).

    `image_shape` is that of the whole image, [H, W, 3], and `seed` int32 [2]. Where the view is
    stylized and the layer `augment` is given, `draws["sassl"]` is what it draws for one image.
    """
    _check(config)
    sampler = image_ops.CROP_SAMPLERS[config.crop_sampler]
    jitter_apply, *factors, first, second, third, fourth = _uniforms(seed, "jitter", 9)
    brightness, contrast, saturation, hue = factors
    blur_apply, blur_sigma = _uniforms(seed, "blur", 2)
    draws = {
        "crop": tf.stack(
            sampler(image_shape, config.crop_area, config.crop_ratio, _named_seed(seed, "crop"))
        ),
        "flip": _uniforms(seed, "flip", 1)[0] < config.flip_probability,
        "jitter": jitter_apply < config.jitter_probability,
        "order": tf.argsort(tf.stack([first, second, third, fourth])),
        "brightness": _between(brightness, *_around_one(config.brightness)),
        "contrast": _between(contrast, *_around_one(config.contrast)),
        "saturation": _between(saturation, *_around_one(config.saturation)),
        "hue": _between(hue, -config.hue, config.hue),
        "grayscale": _uniforms(seed, "grayscale", 1)[0] < config.grayscale_probability,
        "blur": blur_apply < config.blur_probability,
        "sigma": _between(blur_sigma, *config.blur_sigma),
        "solarize": _uniforms(seed, "solarize", 1)[0] < config.solarize_probability,
    }
    if _uses_sassl(config, augment):
        sassl_seed = _named_seed(seed, "sassl")
        draws["sassl"] = augment.get_random_transformation(shape=(), seed=sassl_seed)
    return draws


def _check(config):
    for field, known in (
        ("crop_sampler", image_ops.CROP_SAMPLERS),
        ("jitter_law", image_ops.JITTER_LAWS),
    ):
        if config[field] not in known:
            raise UserError(f"The view's {field} is {config[field]!r}; expected one of {[*known]}.")


def _named_seed(seed, name):
    """int32 [2]: independent of the seeds of all other names."""
    salt = zlib.crc32(name.encode()) & 0x7FFFFFFF  # the same in every process, unlike hash()
    return tf.random.experimental.stateless_fold_in(seed, salt)


def _uniforms(seed, name, count):
    """A list of `count` floats in [0, 1); one draw for them all, for small ops cost their call."""
    return tf.unstack(tf.random.stateless_uniform([count], _named_seed(seed, name)))


def _between(uniform, low, high):
    return low + uniform * (high - low)


def _around_one(strength):
    return max(1.0 - strength, 0.0), 1.0 + strength


def _uses_sassl(config, augment):
    if config.sassl not in SASSL_POSITIONS:
        raise UserError(f"The view's sassl is {config.sassl!r}; expected one of {SASSL_POSITIONS}.")
    if config.sassl == "none" or augment is None:
        return False
    # The views are in [0, 1] when the layer meets them; another range would go wrong unnoticed.
    value_range = tuple(getattr(augment, "value_range", (0, 1)))
    if value_range != (0, 1):
        raise UserError(f"The SASSL layer needs value_range=(0, 1) here, not {value_range}.")
    return True


def crop_view(image, draws, size):
    """The drawn crop of one image [H, W, 3]: [size, size, 3], uint8 or float in [0, 1] as given."""
    top, left, height, width = tf.unstack(draws["crop"])
    return image_ops.crop_and_resize(image, top, left, height, width, size)


def finish_views(images, draws, config, augment=None, static_shapes=False):
    """Everything after the crop, on a batch: float32 [B, size, size, 3] in [0, 1].

    `images` are crops [B, size, size, 3], uint8 or float in [0, 1]; `draws` those of `draw_view`
    with a leading B. The order is the paper's (arXiv 2312.01187): crop, flip, SASSL, jitter,
    grayscale, blur, solarize; `config.sassl` "after_all" puts SASSL last.

    With `static_shapes`, for accelerators, every operation computes all images, and the whole may
    be compiled with XLA; `augment` then has to be a layer with `static_shapes=True`. Else
    they go one by one, each only through what it drew, which suits processors. The results agree.
    """
    position = config.sassl if _uses_sassl(config, augment) else "none"
    images = (image_ops.all_to_unit_range if static_shapes else image_ops.to_unit_range)(
        images, draws["flip"]
    )
    if position == "before_jitter":
        images = augment.transform_images(images, draws["sassl"])
    distortions = ("jitter", "grayscale", "blur", "solarize")
    if any(config[f"{name}_probability"] > 0 for name in distortions):
        distort = image_ops.distort_all if static_shapes else image_ops.distort
        kernel_size = images.shape[1] // BLUR_KERNEL_DIVISOR
        draws_here = {name: draws[name] for name in image_ops.DISTORTION_DRAWS}
        images = distort(images, draws_here, config.jitter_law, kernel_size)
    if position == "after_all":
        images = augment.transform_images(images, draws["sassl"])
    return images
