"""The images among what a layer is called on, and checks of their form."""

from typing import Any

import tensorflow as tf

from sassl_tf.errors import UserError


def images_of(inputs: Any) -> Any:
    """Returns the images of a layer's inputs.

    Args:
        inputs: images [H, W, 3] or [B, H, W, 3] of any integer or floating type, as an array, a
            tensor or a `KerasTensor`; or a dict that has them under "images".

    Raises:
        ValueError: no images, or images of another form, dtype or shape.
    """
    if isinstance(inputs, dict) and "images" not in inputs:
        raise UserError(f'The dict has {sorted(inputs)}; expected the images under "images".')
    images = inputs["images"] if isinstance(inputs, dict) else inputs
    if isinstance(images, (tf.RaggedTensor, tf.SparseTensor)) or not hasattr(images, "dtype"):
        raise UserError(
            f"The images are a {type(images).__name__}; expected one array or tensor, [H, W, 3] or "
            "[B, H, W, 3]. Resize images of several sizes to one and stack them (np.stack, "
            "Dataset.batch), or call the layer on each."
        )
    if not _is_number(images.dtype):
        raise UserError(
            f"The images have dtype {_dtype_name(images.dtype)}; expected uint8 or float, in the "
            "layer's value_range."
        )
    if getattr(images.shape, "rank", 0) is None:
        raise UserError(
            "The images have a shape of unknown rank; expected [H, W, 3] or [B, H, W, 3]. Say "
            "which before the call: images = tf.ensure_shape(images, [None, None, 3])."
        )
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or shape[-1] != 3:
        raise UserError(
            f"The images have shape {shape}; expected [H, W, 3] or [B, H, W, 3]. Convert grayscale "
            "images with tf.image.grayscale_to_rgb and drop an alpha channel; where the shape is "
            "lost, as after tf.io.decode_image, use expand_animations=False and channels=3."
        )
    return images


def batch_size(images: tf.Tensor) -> int | tf.Tensor:
    """Returns the number of images of a batch: an int where it is known, else a tensor."""
    return images.shape[0] if images.shape[0] is not None else tf.shape(images)[0]


def check_sides(images: tf.Tensor, smallest: int) -> None:
    """Checks that no side of images [B, H, W, 3] is below `smallest` pixels.

    Sides that are not known in a graph are checked when it runs.

    Raises:
        ValueError: a side is smaller; `tf.errors.InvalidArgumentError` where a graph finds it.
    """
    message = (
        f"The images have a side of less than {smallest} pixels, which is too small for a "
        "style. Resize them, or leave them out of the call."
    )
    sides = images.shape[1:3]
    if any(side is not None and side < smallest for side in sides):
        raise UserError(f"{message} Their shape is {tuple(images.shape)}.")
    if None in sides:
        shorter = tf.reduce_min(tf.shape(images)[1:3])
        tf.debugging.assert_greater_equal(shorter, smallest, message)


def _is_number(dtype: Any) -> bool:
    """Returns whether a dtype of NumPy, TensorFlow or Keras (a name) is an integer or a float."""
    try:
        dtype = tf.as_dtype(dtype)
    except TypeError:  # no tensor has this type
        return False
    return bool(dtype.is_integer or dtype.is_floating)


def _dtype_name(dtype: Any) -> str:
    return getattr(dtype, "name", str(dtype))
