"""Types that the public signatures share."""

import os
from typing import TypeAlias

import numpy as np
import tensorflow as tf

Array: TypeAlias = tf.Tensor | np.ndarray
PathLike: TypeAlias = str | os.PathLike[str]
Range: TypeAlias = tuple[float | tf.Tensor, float | tf.Tensor]  # (lowest, highest)
