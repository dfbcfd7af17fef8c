"""Other style augmentations than the paper's, as layers with the interface of `SASSLAugmentation`.

Under one seed all of them augment the same images, in the same styles of the batch and with the
same α, as `SASSLAugmentation` does.
"""

from sassl_tf.style_augmentations.color_statistics import ColorStatistics
from sassl_tf.style_augmentations.fourier_style import FourierStyle
from sassl_tf.style_augmentations.random_style import RandomStyle

__all__ = ["ColorStatistics", "FourierStyle", "RandomStyle"]
