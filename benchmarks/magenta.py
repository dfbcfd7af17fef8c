"""Our `magenta` stylizer against the SavedModel that its weights come from.

The SavedModel is called as TF Hub's tutorial does: a content image and a style image of 256 px, of
which it encodes the style and stylizes the content. Ours does all of Algorithm 1 through the layer:
F of the content, blending with a style of a bank, T, interpolation.
"""

import numpy as np
import tensorflow as tf

from benchmarks.timing import seconds_in_turn
from sassl_tf import SASSLAugmentation, StyleBank

SIDE, STYLE_SIDE = 224, 256  # px
BATCHES = (1, 8)
WAYS = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, encode_size 192": {"precision": "bfloat16", "encode_size": 192},
    "bfloat16, encode_size 128": {"precision": "bfloat16", "encode_size": 128},
    "float32, encode_size 192": {"precision": "float32", "encode_size": 192},
    "float32, encode_size 128": {"precision": "float32", "encode_size": 128},
}


def layers(stylizer, styles):
    """{way: layer} of one stylizer, all with the same styles."""
    bank = StyleBank.from_images(styles, stylizer)
    return {
        way: SASSLAugmentation(stylizer, bank, probability=1.0, value_range=(0, 1), **arguments)
        for way, arguments in WAYS.items()
    }


def speed(module, ways, repeats):
    """Rows of {batch, who, milliseconds_a_view, times_as_fast}, against the SavedModel's call."""
    rows = []
    for batch in BATCHES:
        content = tf.random.stateless_uniform((batch, SIDE, SIDE, 3), (0, 0))
        style = tf.random.stateless_uniform((batch, STYLE_SIDE, STYLE_SIDE, 3), (0, 1))
        calls = {"SavedModel": lambda c=content, s=style: module(c, s)}
        for way, layer in ways.items():
            calls[f"ours, {way}"] = lambda x=content, layer=layer: layer(x, seed=(0, 0))
        times = seconds_in_turn(calls, repeats)
        for who, seconds in times.items():
            milliseconds = round(1000 * seconds / batch, 1)
            row = {"batch": batch, "who": who, "milliseconds_a_view": milliseconds}
            ratio = times["SavedModel"] / seconds
            rows.append({**row, "times_as_fast": round(ratio, 2)})
    return rows


def errors(ways, contents, batch=16):
    """Rows of {way, mean_decibels, mean_error, worst_error} of views, against float32.

    Args:
        ways: {way: layer}, with "float32" among them.
        contents: float32 [N, H, W, 3] in [0, 1].
    """
    views = {way: [] for way in ways}
    for start in range(0, len(contents), batch):
        images = tf.constant(contents[start : start + batch])
        draws = ways["float32"].get_random_transformation((len(images),), (0, start))
        for way, layer in ways.items():
            views[way].append(layer.transform_images(images, draws).numpy())
    views = {way: np.concatenate(parts) for way, parts in views.items()}
    exact = views.pop("float32")
    rows = []
    for way, view in {"the plain image": contents, **views}.items():
        squares = np.mean((view - exact) ** 2, axis=(1, 2, 3))
        distance = np.abs(view - exact)
        rows.append(
            {
                "way": way,
                "mean_decibels": round(float(np.mean(-10 * np.log10(squares))), 2),
                "mean_error": round(float(distance.mean()), 5),
                "worst_error": round(float(distance.max()), 4),
            }
        )
    return rows
