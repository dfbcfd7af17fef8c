"""Makes the package's layers known to Keras before their modules are imported.

Keras finds a saved layer's class in its registry alone. The registry gets light stand-ins as soon
as Keras is imported, so `import sassl_tf` is enough to load a saved model and still costs nothing.
"""

import importlib
from types import ModuleType
from typing import Any

LAYERS = {
    "sassl_tf.augmentation": ("SASSLAugmentation",),
    "sassl_tf.backbones": ("PyramidBackbone",),
    "sassl_tf.drop_path": ("DropPath",),
    "sassl_tf.style_augmentations.color_statistics": ("ColorStatistics",),
    "sassl_tf.style_augmentations.fourier_style": ("FourierStyle",),
    "sassl_tf.style_augmentations.random_style": ("RandomStyle",),
    "sassl_tf.stylizers.layers": (
        "ConvToPatches",
        "DepthToSpace",
        "PatchConv2D",
        "PatchPadding",
        "ReflectPadding",
        "SpaceToDepth",
        "StyleMatrix",
        "StyleNorm",
        "UpsampledConv2D",
    ),
    "sassl_tf.views.layers": (
        "RandomColorJitter",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomResizedCrop",
        "RandomSolarization",
    ),
    "sassl_tf.views.two_views": ("TwoViews",),
    "sassl_tf.vit": ("ClassToken", "FirstToken", "Gelu", "PositionEmbedding"),
}


def register(keras: ModuleType) -> None:
    """Registers a stand-in for every layer; the layer itself replaces it once it is imported.

    Args:
        keras: the module.
    """
    registry = keras.saving.get_custom_objects()
    for module, names in LAYERS.items():
        for name in names:
            registry.setdefault(f"sassl_tf>{name}", _stand_in(module, name))


def _stand_in(module: str, name: str) -> type:
    """Returns a class whose `from_config`, all that Keras uses of it, makes the real layer."""

    def from_config(config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module(module), name).from_config(config)

    return type(name, (), {"from_config": staticmethod(from_config)})
