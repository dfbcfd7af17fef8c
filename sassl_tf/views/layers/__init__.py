"""Keras layers of the operations: each image has a draw of its own, fixed by a seed."""

from sassl_tf.views.layers.blur import RandomGaussianBlur
from sassl_tf.views.layers.colour import RandomColorJitter, RandomGrayscale, RandomSolarization
from sassl_tf.views.layers.crop import RandomResizedCrop
from sassl_tf.views.layers.flip import RandomFlip

__all__ = [
    "RandomColorJitter",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomResizedCrop",
    "RandomSolarization",
]
