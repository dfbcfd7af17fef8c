"""Vision transformers (Dosovitskiy et al. 2020, arXiv 2010.11929) for images of any size.

KerasHub has them for one size of image, and without stochastic depth. These are functional models
of Keras's own layers and of four small ones below, which `import sassl_tf` makes known to Keras.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from sassl_tf import arguments
from sassl_tf.drop_path import DropPath
from sassl_tf.errors import UserError

# Width, number of blocks, number of heads (Touvron et al. 2020, arXiv 2012.12877, table 1).
# "micro" is for tests.
SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "micro": (64, 2, 2),
}
POSITIONS = ("learned", "sincos")
POOLS = ("token", "mean")
PATCH_LAYER = "patch_projection"
TOKEN_LAYER = "class_token"
STDDEV = 0.02  # of DINO's initial weights
_EPSILON = 1e-6  # of layer normalisation


def vision_transformer(
    size: str,
    patch: int,
    image_size: int = 224,
    positions: str = "learned",
    pool: str = "token",
    heads: int | None = None,
    drop_path: float = 0.0,
) -> keras.Model:
    """Builds a vision transformer: images [B, H, W, 3] to features [B, D].

    H and W are at least one patch; rows and columns that fill no patch are left out. The images
    should be scaled to about [-1, 1]. Sources: facebookresearch/dino, vision_transformer.py;
    facebookresearch/moco-v3, vits.py; both after timm.

    Args:
        size: one of `SIZES`: "tiny", "small", "base".
        patch: side of a patch, in pixels.
        image_size: side of the images for whose patches the positions are made, in pixels. For
            images of another size the positions are interpolated.
        positions: "learned", which begin, as the weights do, as a normal of 0.02 (DINO's source,
            which truncates it at -2 and 2, a hundred deviations); or "sincos", fixed 2-D
            sine-cosine ones, with Glorot's uniform weights (MoCo v3's).
        pool: the features: "token" for the class token, "mean" for the mean of the patches, without
            a class token.
        heads: the number of attention heads; None: that of the size. MoCo v3 has 12 in "small".
        drop_path: the probability that the last block's branches are left out for an image in
            training (stochastic depth, arXiv 1603.09382); it grows linearly from 0 over the blocks.

    Raises:
        ValueError: an argument is unknown or out of range.
    """
    width, depth, default_heads = SIZES[arguments.choice(size, "size", SIZES)]
    arguments.choice(positions, "positions", POSITIONS)
    arguments.choice(pool, "pool", POOLS)
    patch = arguments.pixels(patch, "patch")
    heads = default_heads if heads is None else heads
    if heads < 1 or width % heads:
        raise UserError(f"heads is {heads}; expected a divisor of the width, {width}.")
    if image_size < patch:
        raise UserError(f"image_size is {image_size}; expected at least a patch of {patch} px.")
    drop_path = arguments.fraction(drop_path, "drop_path")
    initializers = _Initializers(width, patch, glorot=positions == "sincos")

    images = keras.Input((None, None, 3), name="images")
    x = layers.Conv2D(
        width,
        patch,
        strides=patch,
        kernel_initializer=initializers.patches(),
        bias_initializer=initializers.patches_bias(),
        data_format="channels_last",
        name=PATCH_LAYER,
    )(images)
    grid = (image_size // patch, image_size // patch)
    x = PositionEmbedding(grid, positions, name="positions")(x)
    x = layers.Reshape((-1, width), name="tokens")(x)
    if pool == "token":
        x = ClassToken(1e-6 if positions == "sincos" else math.sqrt(2) * STDDEV, name=TOKEN_LAYER)(
            x
        )
    for number, rate in enumerate(np.linspace(0, drop_path, depth)):
        x = _block(x, width, heads, float(rate), initializers, f"block{number}")
    x = layers.LayerNormalization(epsilon=_EPSILON, name="norm")(x)
    pooling = (
        FirstToken(name="pool")
        if pool == "token"
        else layers.GlobalAveragePooling1D("channels_last", name="pool")
    )
    return keras.Model(images, pooling(x), name=f"vit_{size}{patch}")


def _block(
    x: Any, width: int, heads: int, drop_path: float, initializers: _Initializers, name: str
) -> Any:
    """Adds x ← x + attention(LN(x)), x ← x + MLP(LN(x))."""

    def add(branch: Any, which: str) -> Any:
        if drop_path:
            branch = DropPath(drop_path, name=f"{name}_{which}_drop_path")(branch)
        return layers.Add(name=f"{name}_{which}_add")([x, branch])

    def dense(units: int, which: str) -> Any:
        return layers.Dense(units, kernel_initializer=initializers.dense(), name=f"{name}_{which}")

    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm1")(x)
    y = layers.MultiHeadAttention(
        heads,
        width // heads,
        kernel_initializer=initializers.attention(),
        name=f"{name}_attention",
    )(y, y)
    x = add(y, "attention")
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm2")(x)
    y = Gelu(name=f"{name}_gelu")(dense(4 * width, "mlp1")(y))
    y = dense(width, "mlp2")(y)
    return add(y, "mlp")


class _Initializers:
    """The initial weights of DINO's source, or, with `glorot`, those of MoCo v3's."""

    def __init__(self, width: int, patch: int, glorot: bool) -> None:
        self._width, self._inputs, self._glorot = width, 3 * patch**2, glorot

    def patches(self) -> keras.initializers.Initializer:
        if self._glorot:  # of the projection as a matrix, which Keras's is not for a convolution
            return _uniform(math.sqrt(6 / (self._inputs + self._width)))
        return _uniform(1 / math.sqrt(self._inputs))  # PyTorch's default

    def patches_bias(self) -> keras.initializers.Initializer:
        return keras.initializers.Zeros() if self._glorot else self.patches()

    def attention(self) -> keras.initializers.Initializer:
        if self._glorot:  # of each of Q, K and V as a square matrix
            return _uniform(math.sqrt(6 / (2 * self._width)))
        return keras.initializers.RandomNormal(stddev=STDDEV)

    def dense(self) -> keras.initializers.Initializer:
        if self._glorot:
            return keras.initializers.GlorotUniform()
        return keras.initializers.RandomNormal(stddev=STDDEV)


def _uniform(limit: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-limit, limit)


@keras.saving.register_keras_serializable(package="sassl_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a vector to each place of a map of patches, float [B, h, w, D]; returns the same shape.

    Args:
        grid: rows and columns of the patches that have a vector each. For other numbers of rows and
            columns the vectors are interpolated as by `interpolated`.
        positions: "learned", or "sincos" for fixed ones (`sincos_positions`).
    """

    def __init__(self, grid: tuple[int, int], positions: str = "learned", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rows, columns = grid
        self.grid = (int(rows), int(columns))
        self.positions = arguments.choice(positions, "positions", POSITIONS)

    def build(self, shape: tuple[Any, ...]) -> None:
        width = shape[-1]
        if self.positions == "learned":
            self.table = self.add_weight(
                (*self.grid, width),
                keras.initializers.RandomNormal(stddev=STDDEV),
                name="table",
                autocast=False,
            )
        else:
            self.table = sincos_positions(*self.grid, width)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        _, rows, columns, _ = ops.shape(x)
        return x + ops.cast(interpolated(self.table, rows, columns), x.dtype)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": self.grid, "positions": self.positions}


@keras.saving.register_keras_serializable(package="sassl_tf")
class ClassToken(keras.layers.Layer):
    """Puts a learned vector before the tokens: float [B, N, D] to [B, 1 + N, D].

    It stands for the sources' class token and the position of it, which they add.

    Args:
        stddev: standard deviation of the normal that it begins as.
    """

    def __init__(self, stddev: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = stddev

    def build(self, shape: tuple[int | None, ...]) -> None:
        initial = keras.initializers.RandomNormal(stddev=self.stddev)
        self.token = self.add_weight((1, 1, shape[-1]), initial, name="token")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        count, _, width = ops.shape(x)
        token = ops.broadcast_to(ops.cast(self.token, x.dtype), (count, 1, width))
        return ops.concatenate([token, x], axis=1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        count, tokens, width = shape
        return count, None if tokens is None else tokens + 1, width

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable(package="sassl_tf")
class FirstToken(keras.layers.Layer):
    """Takes the first token: float [B, N, D] to [B, D]."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x[:, 0]

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape[0], shape[2]


@keras.saving.register_keras_serializable(package="sassl_tf")
class Gelu(keras.layers.Layer):
    """Computes x·Φ(x) exactly. Keras's uses an operation of TensorFlow that ONNX does not have."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


def sincos_positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Computes the fixed 2-D sine-cosine positions of MoCo v3 (vits.py), float32.

    A quarter of the vector each is the sine and the cosine of row·ω and of column·ω, with ω from 1
    down to almost 1/10000.

    Args:
        rows, columns: of the grid.
        width: D, a multiple of 4.

    Returns:
        [rows, columns, width].

    Raises:
        ValueError: the width is no multiple of 4.
    """
    if width % 4:
        raise UserError(f"The width is {width}; expected a multiple of 4.")
    omega = 10000.0 ** (-np.arange(width // 4) / (width // 4))
    row, column = (
        np.broadcast_to(angle, (rows, columns, width // 4))
        for angle in (
            np.arange(rows)[:, None, None] * omega,
            np.arange(columns)[None, :, None] * omega,
        )
    )
    parts = [np.sin(row), np.cos(row), np.sin(column), np.cos(column)]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def interpolated(table: Any, rows: Any, columns: Any) -> Any:
    """Interpolates the vectors of a grid to another grid.

    It is bicubic and not antialiased, the same as `tf.image.resize`'s, which XLA does not compile.

    Args:
        table: float32 [h, w, D].
        rows, columns: of the result, as numbers or, in a graph, scalar tensors.

    Returns:
        float32 [rows, columns, D].
    """
    height, width = table.shape[:2]
    if isinstance(rows, int) and isinstance(columns, int) and (rows, columns) == (height, width):
        return ops.convert_to_tensor(table)
    down, across = _cubic_weights(rows, height), _cubic_weights(columns, width)
    return ops.einsum("rh,cw,hwd->rcd", down, across, ops.convert_to_tensor(table))


def _cubic_weights(count: Any, source: int) -> Any:
    """The weights of `source` values for each of `count` places between them, [count, source].

    The kernel is Keys's with a = -0.5; the weights of places outside go to those within.
    """
    scale = source / ops.cast(count, "float32")
    places = (ops.arange(count, dtype="float32") + 0.5) * scale - 0.5
    d = ops.abs(places[:, None] - ops.arange(source, dtype="float32")[None])
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    weights = ops.where(d <= 1, near, ops.where(d < 2, far, 0.0))
    return weights / ops.sum(weights, axis=1, keepdims=True)
