"""A stylizer: the style extractor F and the stylization network T of SASSL (Algorithm 1)."""

import contextlib
import hashlib

import keras
import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def float32_policy():
    """Networks built inside compute in float32 whatever the global precision policy is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


class Stylizer:
    """F and T behind one interface; `sassl_tf.load_stylizer` makes one.

    The networks' weights enter every graph as constants. So a `tf.data` pipeline carries them to
    wherever it runs, no `tf.distribute` strategy mirrors them, and a model that holds a
    `SASSLAugmentation` layer has no more weights than without it.

    Args:
        name: what `load_stylizer` knows it by.
        style_network: F as a Keras model, images [B, style_size, style_size, 3] to codes.
        transfer_network: T as a Keras model, [content, code] to the stylized image.
        style_size: side, in pixels, at which F sees an image.
        source: what to pass to `load_stylizer(weights=)` to get this one again.

    Attributes:
        name, code_size, style_size, source: as above.
        fingerprint: 16 hexadecimal digits over the architecture and the weights.
    """

    def __init__(self, name, style_network, transfer_network, style_size, source=None):
        self.name = name
        self.source = source
        self.style_size = style_size
        self.code_size = style_network.output_shape[-1]
        self.style_network = style_network
        self.transfer_network = transfer_network
        self._encode = _Frozen(style_network)
        self._transfer = _Frozen(transfer_network)
        self.fingerprint = _fingerprint(style_size, style_network, transfer_network)

    def encode_style(self, images):
        """z = F(i): the style codes of images.

        Args:
            images: float [B, H, W, 3] in [0, 1]; resized to `style_size` (bilinear) for F.

        Returns:
            float32 [B, code_size].

        Raises:
            ValueError: not four axes, or not three channels.
        """
        images = _as_images(images, "images")
        if tuple(images.shape[1:3]) != (self.style_size, self.style_size):
            images = tf.image.resize(images, (self.style_size, self.style_size))
        return self._encode(images)

    def stylize(self, images, codes):
        """î = T(i, z): the images in the style of the codes.

        Args:
            images: float [B, H, W, 3] in [0, 1].
            codes: float [B or 1, code_size].

        Returns:
            float32 [B, H, W, 3] in [0, 1].

        Raises:
            ValueError: `images` has not four axes and three channels, or `codes` not two axes
                and `code_size` columns.
        """
        images = _as_images(images, "images")
        codes = tf.convert_to_tensor(codes, tf.float32)
        if codes.shape.rank != 2 or codes.shape[-1] not in (None, self.code_size):
            raise ValueError(
                f"codes has shape {codes.shape}; the {self.name} stylizer expects "
                f"[B or 1, {self.code_size}], as encode_style returns them."
            )
        rows, count = codes.shape[0], images.shape[0]
        if None not in (rows, count) and rows not in (1, count):
            raise ValueError(f"There are {rows} codes for {count} images; expected 1 or {count}.")
        stylized = self._transfer([images, codes])
        height, width = _sides(images)
        return stylized[:, :height, :width]

    def get_config(self):
        """What `stylizer_from_config` needs; the weights themselves stay where they are."""
        return {"name": self.name, "weights": self.source, "fingerprint": self.fingerprint}

    def __repr__(self):
        return f"<Stylizer {self.name} {self.fingerprint}>"


class _Frozen:
    """A Keras model called with constants in place of its variables."""

    def __init__(self, model):
        self.model = model
        self._arrays = [variable.numpy() for variable in model.variables]
        with tf.init_scope():
            self._tensors = [tf.constant(array) for array in self._arrays]

    def __call__(self, inputs):
        # In a graph the arrays become its own constants, which the graph optimizer can fold.
        values = self._tensors if tf.executing_eagerly() else self._arrays
        by_variable = dict(zip(map(id, self.model.variables), values, strict=True))
        outputs, _ = self.model.stateless_call(
            [by_variable[id(v)] for v in self.model.trainable_variables],
            [by_variable[id(v)] for v in self.model.non_trainable_variables],
            inputs,
            training=False,
        )
        return outputs


def named_weights(model):
    """`{"layer/weight": array}` of a Keras model, in a fixed order."""
    return {
        f"{layer.name}/{weight.name}": weight.numpy()
        for layer in model.layers
        for weight in layer.weights
    }


def set_named_weights(model, arrays):
    """The inverse of `named_weights`.

    Raises:
        ValueError: names what is missing, unexpected or of another shape.
    """
    expected = named_weights(model)
    problems = [f"missing: {name}" for name in expected.keys() - arrays.keys()]
    problems += [f"unexpected: {name}" for name in arrays.keys() - expected.keys()]
    problems += [
        f"{name} has shape {arrays[name].shape}, expected {expected[name].shape}"
        for name in expected.keys() & arrays.keys()
        if arrays[name].shape != expected[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:8])
        raise ValueError(f"{len(problems)} weights do not fit {model.name}: {shown}.")
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(arrays[f"{layer.name}/{weight.name}"])


def _fingerprint(style_size, *models):
    digest = hashlib.sha256(str(style_size).encode())
    for model in models:
        for name, array in named_weights(model).items():
            digest.update(f"{model.name}/{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()[:16]


def _as_images(images, argument):
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise ValueError(
            f"{argument} has dtype {images.dtype.name}; a stylizer expects float images in "
            "[0, 1]. Divide 8-bit images by 255."
        )
    if images.shape.rank != 4 or images.shape[-1] != 3:
        raise ValueError(f"{argument} has shape {images.shape}; expected [B, H, W, 3].")
    return tf.cast(images, tf.float32)


def _sides(images):
    """Height and width: numbers where they are known, else tensors."""
    dynamic = tf.shape(images)
    static = images.shape
    return [dynamic[i] if static[i] is None else static[i] for i in (1, 2)]
