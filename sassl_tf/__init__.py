"""SASSL: style augmentations for self-supervised learning (arXiv 2312.01187), for Keras.

```python
augment = sassl_tf.SASSLAugmentation()
dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
```
"""

import importlib
from typing import TYPE_CHECKING

import wrapt

if TYPE_CHECKING:
    from sassl_tf import datasets as datasets
    from sassl_tf import plot as plot
    from sassl_tf import samples as samples
    from sassl_tf import stylizers as stylizers
    from sassl_tf import views as views
    from sassl_tf import vit as vit
    from sassl_tf.augmentation import SASSLAugmentation
    from sassl_tf.backbones import PyramidBackbone, load_backbone
    from sassl_tf.datasets import load_dataset
    from sassl_tf.presets import load_encoder, save_to_preset, upload_preset
    from sassl_tf.seeding import map_with_seeds
    from sassl_tf.style_augmentations import ColorStatistics, FourierStyle, RandomStyle
    from sassl_tf.style_bank import StyleBank
    from sassl_tf.stylizers import Stylizer, load_stylizer, stylizer_from_variables
    from sassl_tf.views import TwoViews

__version__ = "0.1.0"

# Loaded when first used, so that the import costs nothing.
_HOMES = {
    "ColorStatistics": "sassl_tf.style_augmentations",
    "FourierStyle": "sassl_tf.style_augmentations",
    "PyramidBackbone": "sassl_tf.backbones",
    "RandomStyle": "sassl_tf.style_augmentations",
    "SASSLAugmentation": "sassl_tf.augmentation",
    "StyleBank": "sassl_tf.style_bank",
    "Stylizer": "sassl_tf.stylizers",
    "TwoViews": "sassl_tf.views",
    "load_backbone": "sassl_tf.backbones",
    "load_dataset": "sassl_tf.datasets",
    "load_encoder": "sassl_tf.presets",
    "load_stylizer": "sassl_tf.stylizers",
    "map_with_seeds": "sassl_tf.seeding",
    "save_to_preset": "sassl_tf.presets",
    "stylizer_from_variables": "sassl_tf.stylizers",
    "upload_preset": "sassl_tf.presets",
}
_MODULES = ("datasets", "plot", "samples", "stylizers", "views", "vit")

__all__ = [
    "ColorStatistics",
    "FourierStyle",
    "PyramidBackbone",
    "RandomStyle",
    "SASSLAugmentation",
    "StyleBank",
    "Stylizer",
    "TwoViews",
    "__version__",
    "load_backbone",
    "load_dataset",
    "load_encoder",
    "load_stylizer",
    "map_with_seeds",
    "save_to_preset",
    "stylizer_from_variables",
    "upload_preset",
]

# When Keras is imported, or at once if it is already: a saved model finds its layers.
wrapt.register_post_import_hook("sassl_tf.registration:register", "keras")


if not TYPE_CHECKING:  # a type checker would take it that every name exists

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f"sassl_tf.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
