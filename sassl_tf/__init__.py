"""SASSL: style augmentations for self-supervised learning (arXiv 2312.01187), for Keras.

```python
augment = sassl_tf.SASSLAugmentation()
dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
```
"""

import importlib

__version__ = "0.1.0"

# Loaded when first used, so that the import costs nothing.
_HOMES = {
    "SASSLAugmentation": "sassl_tf.augmentation",
    "StyleBank": "sassl_tf.style_bank",
    "Stylizer": "sassl_tf.stylizers",
    "load_dataset": "sassl_tf.datasets",
    "load_stylizer": "sassl_tf.stylizers",
    "map_with_seeds": "sassl_tf.seeding",
    "stylizer_from_variables": "sassl_tf.stylizers",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
