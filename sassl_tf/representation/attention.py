"""The attention of a vision transformer's class token, which DINO's shows objects in."""

from __future__ import annotations

import keras
import numpy as np

from sassl_tf.errors import UserError
from sassl_tf.typing import Array
from sassl_tf.vit import PATCH_LAYER, TOKEN_LAYER


def has_class_attention(encoder: keras.Model) -> bool:
    """Tells whether an encoder is a vision transformer with a class token."""
    return _transformer(encoder) is not None


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
    vit = _transformer(encoder)
    if vit is None:
        raise UserError(
            f"{encoder.name} is no vision transformer with a class token, so there is no attention "
            'of one. Pretrain a "vit_..." encoder with pool "token".'
        )
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


def _transformer(encoder: keras.Model) -> keras.Model | None:
    """Returns the transformer with a class token that an encoder is, or has as a layer."""
    models = [encoder, *(layer for layer in encoder.layers if isinstance(layer, keras.Model))]
    with_token = (m for m in models if any(layer.name == TOKEN_LAYER for layer in m.layers))
    return next(with_token, None)
