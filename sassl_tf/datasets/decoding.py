"""Decoding of image files, alike for every format."""

import tensorflow as tf

HEADER = 30  # bytes, in which the formats are told apart


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG, GIF (its first frame), BMP or still WebP file to uint8 [H, W, 3] RGB.

    Gray and palette images become RGB and 16-bit values lose their lower byte. Alpha is dropped,
    not composited: transparent pixels show the colour stored under them. EXIF rotation is ignored.
    All this is as PIL's `convert("RGB")` does it, except for 16-bit gray, which PIL clips, and for
    a GIF: its transparent pixels are black, and a frame smaller than its canvas keeps its size. Of
    BMP, those of 8, 24 and 32 bits a pixel are read.

    Args:
        data: string [], the bytes of the file.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are cut short, an animated WebP, or no image of
            these formats.
    """
    # Filled up, because TensorFlow fails for a part that lies behind the end of a short file.
    header = tf.strings.join([tf.strings.substr(data, 0, HEADER), tf.constant(b"\0" * HEADER)])
    image = tf.case(
        [
            (tf.io.is_jpeg(data), lambda: _decode_jpeg(data)),
            (_is_palette_bmp(header), lambda: _decode_palette_bmp(data)),
            (_is_webp(header), lambda: _decode_webp(data, header)),
        ],
        default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    # TensorFlow's default transform is off by up to 4 gray levels; this one gives PIL's pixels.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _is_palette_bmp(header: tf.Tensor) -> tf.Tensor:
    is_bmp = tf.strings.substr(header, 0, 2) == "BM"
    return is_bmp & (tf.strings.substr(header, 28, 2) == b"\x08\x00")  # 8 bits per pixel


def _decode_palette_bmp(data: tf.Tensor) -> tf.Tensor:
    """Looks up a palette's colours, because TensorFlow takes its indices for gray levels."""
    pixels = _uint32(data, 10)
    palette = 14 + _uint32(data, 14)  # behind the file header and the information header
    entries = tf.strings.substr(data, palette, (pixels - palette) // 4 * 4)
    blue_green_red = tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 4])
    indices = tf.io.decode_bmp(data)[..., 0]
    return tf.gather(blue_green_red[:, 2::-1], tf.cast(indices, tf.int32))


def _is_webp(header: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(header, 8, 4) == "WEBP"


def _decode_webp(data: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    # TensorFlow 2.21 writes beyond its memory for animations, which ends the process.
    still = tf.debugging.assert_equal(_is_animated(header), False, "an animated WebP")
    with tf.control_dependencies([] if still is None else [still]):
        data = tf.identity(data)
    # With channels=3, TensorFlow refuses a file of 4.
    return tf.io.decode_image(data, expand_animations=False)[..., :3]


def _is_animated(header: tf.Tensor) -> tf.Tensor:
    """Returns whether a WebP file is of the extended form and says that it is an animation."""
    is_extended = tf.strings.substr(header, 12, 4) == "VP8X"
    byte = tf.io.decode_raw(tf.strings.substr(header, 20, 1), tf.uint8)[0]
    return is_extended & (tf.bitwise.bitwise_and(byte, tf.constant(2, tf.uint8)) > 0)


def _uint32(data: tf.Tensor, offset: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(data, offset, 4), tf.int32)[0]
