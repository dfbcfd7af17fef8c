"""Other style augmentations than the paper's, as layers with the interface of `SASSLAugmentation`.

Under one seed and with the same arguments they augment the same images as `SASSLAugmentation` does,
with the same α and, where styles are those of the batch, in the same styles.
"""

from sassl_tf.style_augmentations.color_statistics import ColorStatistics
from sassl_tf.style_augmentations.fourier_style import FourierStyle
from sassl_tf.style_augmentations.random_style import RandomStyle

__all__ = ["ColorStatistics", "FourierStyle", "RandomStyle"]
