"""Decoding of image files, alike for every format."""

import tensorflow as tf


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG, GIF (its first frame), BMP or WebP file to uint8 [H, W, 3] RGB.

    Gray and palette images become RGB and 16-bit values lose their lower byte. Alpha is dropped,
    not composited: transparent pixels show the colour stored under them. EXIF rotation is ignored.
    All this is as PIL's `convert("RGB")` does it, except for 16-bit gray, which PIL clips, and for
    transparent pixels of a GIF, which are black here.

    Args:
        data: string [], the bytes of the file.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are cut short or no image of these formats.
    """
    image = tf.case(
        [
            (tf.io.is_jpeg(data), lambda: _decode_jpeg(data)),
            (_is_palette_bmp(data), lambda: _decode_palette_bmp(data)),
            (_is_webp(data), lambda: _decode_webp(data)),
        ],
        default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    # TensorFlow's default transform is off by up to 4 gray levels; this one gives PIL's pixels.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _is_palette_bmp(data: tf.Tensor) -> tf.Tensor:
    is_bmp = tf.strings.substr(data, 0, 2) == "BM"
    return is_bmp & (tf.strings.substr(data, 28, 2) == b"\x08\x00")  # 8 bits per pixel


def _decode_palette_bmp(data: tf.Tensor) -> tf.Tensor:
    """Looks up a palette's colours, because TensorFlow takes its indices for gray levels."""
    pixels = _uint32(data, 10)
    palette = 14 + _uint32(data, 14)  # behind the file header and the information header
    entries = tf.strings.substr(data, palette, (pixels - palette) // 4 * 4)
    blue_green_red = tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 4])
    indices = tf.io.decode_bmp(data)[..., 0]
    return tf.gather(blue_green_red[:, 2::-1], tf.cast(indices, tf.int32))


def _is_webp(data: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(data, 8, 4) == "WEBP"


def _decode_webp(data: tf.Tensor) -> tf.Tensor:
    # With channels=3, TensorFlow refuses a file of 4.
    return tf.io.decode_image(data, expand_animations=False)[..., :3]


def _uint32(data: tf.Tensor, offset: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(data, offset, 4), tf.int32)[0]
