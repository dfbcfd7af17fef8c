"""Image operations of self-supervised views, on whole batches with parameters per image.

Everything here is a pure function: the parameters, drawn elsewhere, come in as [B] tensors, so one
call serves images that each have their own draw. Images are float32 [B, H, W, 3] in [0, 1], and so
are the results, unless a docstring says otherwise. No operation mixes images.

The operations mean what they mean in SimCLR's second implementation (google-research/simclr,
tf2/data_util.py, impl "simclrv2"), whose colour operations are those of tf.image.
"""

import numpy as np
import tensorflow as tf

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the numbers that `color_jitter`'s order holds

_LUMA = (0.2989, 0.5870, 0.1140)  # the weights of tf.image.rgb_to_grayscale
_WHOLE_IMAGE = np.array([[[0, 0, 1, 1]]], np.float32)  # the object of which the crop must hold some
_CROP_ATTEMPTS = 10  # torchvision's


def _select(condition, yes, no):
    """tf.where for operands of one shape: without its broadcasting, several times faster."""
    return tf.raw_ops.Select(condition=condition, x=yes, y=no)


def flip(images, apply):
    """Mirrors left and right the images that bool [B] `apply` selects. Any dtype and range."""
    return _where(apply, tf.reverse(images, [2]), images)


def _where(mask, yes, no):
    """By image."""
    return tf.where(mask[:, None, None, None], yes, no)


def grayscale(images):
    """The luma of each pixel, in all three channels."""
    # One product with a 3×3 matrix is several times faster than a sum that is then repeated.
    return tf.tensordot(images, tf.tile(tf.constant(_LUMA)[:, None], [1, 3]), 1)


def solarize(images, threshold=0.5):
    """Inverts the values at or above the threshold."""
    return _select(images < threshold, images, 1.0 - images)


def gaussian_blur(images, sigma, kernel_size):
    """Blurs each image with its own `sigma`, float [B], in pixels; beyond the border lies black.

    The kernel has 2·(kernel_size // 2) + 1 taps, a Python int or an int tensor.
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    taps = tf.repeat(_gaussian_taps(sigma, kernel_size // 2), 3, axis=1)
    # Images become channels of one picture, for a depthwise convolution has a kernel per channel.
    stacked = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, height, width, batch * 3])
    for kernel in (taps[:, None, :, None], taps[None, :, :, None]):
        stacked = tf.nn.depthwise_conv2d(stacked, kernel, [1, 1, 1, 1], "SAME")
    blurred = tf.transpose(tf.reshape(stacked, [height, width, batch, 3]), [2, 0, 1, 3])
    # Rounding may take the sum of the taps just above 1.
    return tf.ensure_shape(tf.minimum(blurred, 1.0), images.shape)


def _gaussian_taps(sigma, radius):
    """float [2·radius + 1, B]: a normalised Gaussian for each sigma."""
    offsets = tf.cast(tf.range(-radius, radius + 1), tf.float32)[:, None]
    taps = tf.exp(-tf.square(offsets) / (2.0 * tf.square(sigma)))
    return taps / tf.reduce_sum(taps, axis=0)


def color_jitter(images, order, brightness, contrast, saturation, hue, law="simclr"):
    """Brightness, contrast, saturation and hue, each once, in an order of each image's own.

    `order` is int32 [B, 4]: row b lists, first to last, the operations on image b (BRIGHTNESS,
    CONTRAST, SATURATION, HUE). The factors are float [B]: the first three multiply, `hue` adds
    turns of the colour wheel. Values are clipped to [0, 1] after each operation.

    `law`: "simclr" is that of tf.image, with brightness as a product; under "byol" brightness is
    a sum, of its factor - 1; under "torchvision", MoCo's and SimSiam's, contrast moves away from
    the mean luma, and saturation each pixel from its own.

    All are in closed forms on colour planes, [B, 3, H·W]: these vectorise, where tf.image's
    saturation and hue go pixel by pixel through branches and take one factor for all images.
    Each place in the order computes all four on all images, as an accelerator likes it.
    """
    shape = tf.shape(images)
    planes = tf.reshape(images, [shape[0], shape[1] * shape[2], 3])
    planes = tf.transpose(planes, [0, 2, 1])
    factors = brightness, contrast, saturation, hue
    operations = [*zip(JITTER_LAWS[law], factors, strict=True)]
    for chosen in tf.unstack(order, num=4, axis=1):
        planes = tf.clip_by_value(_dispatch(planes, chosen, operations), 0.0, 1.0)
    images_out = tf.reshape(tf.transpose(planes, [0, 2, 1]), shape)
    return tf.ensure_shape(images_out, images.shape)


def _dispatch(planes, chosen, operations):
    """Gives image b to the function and the factor [B] of `operations[chosen[b]]`."""
    result = planes
    for number, (operation, factor) in enumerate(operations):
        theirs = (chosen == number)[:, None, None]
        result = tf.where(theirs, operation(planes, factor[:, None, None]), result)
    return result


DISTORTION_DRAWS = (
    *("jitter", "order", "brightness", "contrast", "saturation", "hue"),
    *("grayscale", "blur", "sigma", "solarize"),
)


def all_to_unit_range(images, flips):
    """float32 in [0, 1] of uint8, or of floats in [0, 1]; mirrored where bool [B] `flips` says."""
    return flip(tf.image.convert_image_dtype(images, tf.float32), flips)


def distort_all(images, draws, law, kernel_size):
    """What follows SASSL in a view: jitter, grayscale, blur and solarization.

    Of each the images that `draws["jitter"]`, `["grayscale"]`, `["blur"]` and `["solarize"]`,
    bool [B], select; with the parameters in the other `DISTORTION_DRAWS`, of
    `training.views.draw_view`.
    """
    parameters = [draws[name] for name in ("order", "brightness", "contrast", "saturation", "hue")]
    jittered = color_jitter(images, *parameters, law=law)
    images = _where(draws["jitter"], jittered, images)
    images = _where(draws["grayscale"], grayscale(images), images)
    images = _where(draws["blur"], gaussian_blur(images, draws["sigma"], kernel_size), images)
    return _where(draws["solarize"], solarize(images), images)


# The same two for a processor. XLA fuses them into a few passes over each image, which fits into
# the cache, where a batch does not; and an image passes only what was drawn for it.


@tf.function(jit_compile=True, autograph=False)
def to_unit_range(images, flips):
    """`all_to_unit_range`, image by image."""

    def one(args):
        image, mirrored = args
        image = tf.image.convert_image_dtype(image, tf.float32)
        return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)

    return tf.map_fn(one, (images, flips), fn_output_signature=tf.float32)


@tf.function(jit_compile=True, autograph=False)
def distort(images, draws, law, kernel_size):
    """`distort_all`, image by image."""

    def one(args):
        image, draws = args
        height, width, _ = image.shape
        planes = tf.transpose(tf.reshape(image, [-1, 3]))[None]
        for name, operation in (
            ("jitter", lambda planes: _jittered(planes, draws, JITTER_LAWS[law])),
            ("grayscale", lambda planes: tf.tile(_luma(planes), [1, 3, 1])),
            ("blur", lambda planes: _blurred(planes, draws["sigma"], kernel_size, height, width)),
            ("solarize", solarize),
        ):
            planes = tf.cond(
                draws[name],
                lambda planes=planes, operation=operation: operation(planes),
                lambda planes=planes: planes,
            )
        return tf.reshape(tf.transpose(planes[0]), image.shape)

    return tf.map_fn(one, (images, draws), fn_output_signature=tf.float32)


def _jittered(planes, draws, operations):
    """`color_jitter` of one image, [1, 3, H·W]. A loop, for XLA compiles each of unrolled turns."""
    factors = tf.stack([draws[name] for name in ("brightness", "contrast", "saturation", "hue")])

    def operate(place, planes):
        # Not order[place], for which XLA would compile the program anew for every order.
        which = tf.gather(draws["order"], place)
        factor = tf.gather(factors, which)
        planes = tf.switch_case(which, [lambda do=do: do(planes, factor) for do in operations])
        return place + 1, tf.clip_by_value(planes, 0.0, 1.0)

    loop = (lambda place, _: place < 4), operate, (0, planes)
    return tf.while_loop(*loop, maximum_iterations=4)[1]


def _blurred(planes, sigma, kernel_size, height, width):
    """`gaussian_blur` of one image, [1, 3, H·W]."""
    radius = kernel_size // 2
    taps = _gaussian_taps(sigma[None], radius)[:, 0]
    image = tf.reshape(planes, [3, height, width])
    for axis in (1, 2):
        image = _convolved(image, taps, radius, axis)
    return tf.reshape(tf.minimum(image, 1.0), planes.shape)


def _convolved(image, taps, radius, axis):
    """A symmetric kernel along one axis: sums of shifted images, two pairs of taps at a time.

    Two are what XLA makes the fastest loop of; with more its sums are no longer vectorised.
    """
    padded = tf.pad(image, [[radius, radius] if here == axis else [0, 0] for here in range(3)])

    def pair(tap):
        places = tap, 2 * radius - tap
        begins = ([place if here == axis else 0 for here in range(3)] for place in places)
        before, after = (tf.slice(padded, begin, image.shape) for begin in begins)
        return tf.gather(taps, tap) * (before + after)

    def two_pairs(tap, total):
        return tap + 2, total + pair(tap) + pair(tap + 1)

    loop = (lambda tap, _: tap < radius - 1), two_pairs, (0, taps[radius] * image)
    total = tf.while_loop(*loop, maximum_iterations=radius // 2)[1]
    return total + pair(radius - 1) if radius % 2 else total


def _brightness(planes, factor):
    return planes * factor


def _added_brightness(planes, factor):
    return planes + (factor - 1.0)


def _contrast(planes, factor):
    mean = tf.reduce_mean(planes, axis=2, keepdims=True)
    return (planes - mean) * factor + mean


def _contrast_of_luma(planes, factor):
    mean = tf.reduce_mean(_luma(planes), axis=2, keepdims=True)
    return (planes - mean) * factor + mean


def _saturation(planes, factor):
    # With hue and value fixed, each channel's distance from the value (the largest channel) is in
    # proportion to the saturation, chroma / value, which must not exceed 1.
    value, chroma = _value_and_chroma(planes)
    scale = tf.minimum(factor, tf.math.divide_no_nan(value, chroma))
    return value + (planes - value) * scale


def _saturation_of_luma(planes, factor):
    luma = _luma(planes)
    return (planes - luma) * factor + luma


def _luma(planes):
    return tf.reduce_sum(planes * tf.constant(_LUMA)[:, None], axis=1, keepdims=True)


def _hue(planes, turns):
    value, chroma = _value_and_chroma(planes)
    hue = _hue_of(planes, value, chroma) + 6.0 * turns
    hue -= 6.0 * tf.floor(hue / 6.0)
    # How far red, green and blue stand above the smallest channel, in chromas: trapezia around the
    # colour wheel, as in https://en.wikipedia.org/wiki/HSL_and_HSV ("HSV to RGB alternative").
    distance = tf.abs(hue - tf.constant([[3.0], [2.0], [4.0]]))
    height = tf.constant([[-1.0], [2.0], [2.0]]) + tf.constant([[1.0], [-1.0], [-1.0]]) * distance
    return value - chroma + chroma * tf.clip_by_value(height, 0.0, 1.0)


def _value_and_chroma(planes):
    red, green, blue = tf.split(planes, 3, axis=1)
    value = tf.maximum(red, tf.maximum(green, blue))
    return value, value - tf.minimum(red, tf.minimum(green, blue))


def _hue_of(planes, value, chroma):
    """Hue in sixths of a turn, from red, in [-1, 5]; 0 for greys."""
    red, green, blue = tf.split(planes, 3, axis=1)
    from_red, from_green, from_blue = (
        tf.math.divide_no_nan(difference, chroma)
        for difference in (green - blue, blue - red, red - green)
    )
    not_red = _select(tf.equal(value, green), 2.0 + from_green, 4.0 + from_blue)
    return _select(tf.equal(value, red), from_red, not_red)


JITTER_LAWS = {
    "simclr": (_brightness, _contrast, _saturation, _hue),
    "byol": (_added_brightness, _contrast, _saturation, _hue),
    "torchvision": (_brightness, _contrast_of_luma, _saturation_of_luma, _hue),
}


def tensorflow_crop_box(shape, area, ratio, seed):
    """The box of a random resized crop: int32 scalars (top, left, height, width).

    `shape` is the image's, [H, W, 3]; `area` is the range of the crop's share of the image and
    `ratio` that of its width by its height; `seed` is int32 [2]. The whole image, if no box that
    fits is found.

    The law is SimCLR's (TensorFlow's sample_distorted_bounding_box): ratio and height
    are uniform, so small crops are likelier than under torchvision's law; but, as there, none
    below a tenth of the image, whatever `area` says.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        _WHOLE_IMAGE,
        seed,
        min_object_covered=0.1,
        aspect_ratio_range=ratio,
        area_range=area,
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    return begin[0], begin[1], size[0], size[1]


def torchvision_crop_box(shape, area, ratio, seed):
    """As `tensorflow_crop_box`, under the law of MoCo and SimSiam (torchvision's
    RandomResizedCrop): the area is uniform and the ratio log-uniform. If no box of ten fits, the
    largest in the image's centre whose ratio is in range.
    """
    image_height, image_width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    draws = tf.random.stateless_uniform([2 * _CROP_ATTEMPTS + 2], seed)
    areas, ratios, place = tf.split(draws, [_CROP_ATTEMPTS, _CROP_ATTEMPTS, 2])
    areas = image_height * image_width * (area[0] + areas * (area[1] - area[0]))
    ratios = ratio[0] * tf.pow(ratio[1] / ratio[0], ratios)

    # The last, which is taken where no attempt fits, always does.
    nearest_ratio = tf.clip_by_value(image_width / image_height, *ratio)
    fallback_height = tf.minimum(image_height, image_width / nearest_ratio)
    heights = tf.concat([tf.sqrt(areas / ratios), fallback_height[None]], axis=0)
    widths = tf.concat([tf.sqrt(areas * ratios), fallback_height[None] * nearest_ratio], axis=0)
    heights, widths = tf.round(heights), tf.round(widths)
    fits = (heights >= 1) & (heights <= image_height) & (widths >= 1) & (widths <= image_width)
    chosen = tf.argmax(tf.cast(fits, tf.int32))
    height, width = heights[chosen], widths[chosen]

    margins = tf.stack([image_height - height, image_width - width])
    drawn = tf.floor(place * (margins + 1))
    top, left = tf.unstack(tf.where(chosen < _CROP_ATTEMPTS, drawn, tf.floor(margins / 2)))
    return tuple(tf.cast(side, tf.int32) for side in (top, left, height, width))


def byol_crop_box(shape, area, ratio, seed):
    """As `tensorflow_crop_box`, under the law of BYOL (google-deepmind/deepmind-research,
    byol/utils/dataset.py): the area is uniform and the ratio log-uniform, both drawn once; a side
    that is longer than the image's is cut to it.
    """
    image_height, image_width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    draws = tf.unstack(tf.random.stateless_uniform([4], seed))
    pixels = image_height * image_width * (area[0] + draws[0] * (area[1] - area[0]))
    drawn_ratio = ratio[0] * tf.pow(ratio[1] / ratio[0], draws[1])
    height = tf.clip_by_value(tf.round(tf.sqrt(pixels / drawn_ratio)), 1.0, image_height)
    width = tf.clip_by_value(tf.round(tf.sqrt(pixels * drawn_ratio)), 1.0, image_width)
    top = tf.floor(draws[2] * (image_height - height + 1))
    left = tf.floor(draws[3] * (image_width - width + 1))
    return tuple(tf.cast(side, tf.int32) for side in (top, left, height, width))


CROP_SAMPLERS = {
    "tensorflow": tensorflow_crop_box,
    "torchvision": torchvision_crop_box,
    "byol": byol_crop_box,
}


def crop_and_resize(image, top, left, height, width, size):
    """Cuts a box out of one image [H, W, 3] and resizes it to [size, size, 3], same dtype.

    uint8, or float in [0, 1]. Bicubic without antialiasing, as SimCLR's and BYOL's. The cubic
    overshoots at edges, so that values are clipped to the range.
    """
    crop = tf.slice(image, [top, left, 0], [height, width, 3])
    resized = tf.image.resize(crop, (size, size), tf.image.ResizeMethod.BICUBIC)
    if image.dtype == tf.uint8:
        return tf.saturate_cast(tf.round(resized), tf.uint8)
    return tf.clip_by_value(resized, 0.0, 1.0)
