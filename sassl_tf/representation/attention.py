"""The attention of a vision transformer's class token, which DINO's shows objects in."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.typing import Array
from sassl_tf.vit import PATCH_LAYER, TOKEN_LAYER


def has_class_attention(encoder: keras.Model) -> bool:
    """Tells whether an encoder is a vision transformer with a class token."""
    return any(layer.name == TOKEN_LAYER for model in _models(encoder) for layer in model.layers)


def class_attention(encoder: keras.Model, images: Array) -> np.ndarray:
    """Computes how much the class token attends to each patch, in the last block.

    Source: arXiv 2104.14294, figure 1; facebookresearch/dino, visualize_attention.py.

    Args:
        encoder: a vision transformer with a class token, such as `sassl_tf.load_encoder` loads or
            `sassl_tf.vit.vision_transformer` returns.
        images: float32 [B, H, W, 3], scaled as the encoder takes them.

    Returns:
        float32 [B, heads, h, w], for h×w patches; the weights of an image and a head add up to 1
        less the token's attention to itself.

    Raises:
        ValueError: the encoder has no class token.
    """
    if not has_class_attention(encoder):
        raise UserError(
            f"{encoder.name} is no vision transformer with a class token, so there is no attention "
            'of one. Pretrain a "vit_..." encoder with pool "token".'
        )
    vit = next(m for m in _models(encoder) if any(x.name == TOKEN_LAYER for x in m.layers))
    x = keras.ops.convert_to_tensor(images, "float32")
    if vit is not encoder:  # a chain, with a rescaling before the transformer
        for layer in encoder.layers[: encoder.layers.index(vit)]:
            x = x if isinstance(layer, keras.layers.InputLayer) else layer(x)
    kinds = keras.layers.MultiHeadAttention
    attention = [layer for layer in vit.layers if isinstance(layer, kinds)][-1]
    normalized = vit.get_layer(attention.name.replace("attention", "norm1")).output
    y = keras.Model(vit.input, normalized)(x)
    _, weights = attention(y, y, return_attention_scores=True)  # B x heads x tokens x tokens
    patch = vit.get_layer(PATCH_LAYER).kernel_size[0]
    rows, columns = x.shape[1] // patch, x.shape[2] // patch
    of_token = keras.ops.cast(weights[:, :, 0, 1:], "float32")
    return np.asarray(of_token).reshape(*of_token.shape[:2], rows, columns)


def _models(encoder: keras.Model) -> Iterator[keras.Model]:
    """Yields an encoder and the models inside it."""
    yield encoder
    for layer in encoder.layers:
        if isinstance(layer, keras.Model):
            yield from _models(layer)
