"""`FourierStyle`: the amplitudes of another image's Fourier transform."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sassl_tf import arguments
from sassl_tf.in_batch import another_row, one_row
from sassl_tf.style_augmentations.in_batch_style import InBatchStyle
from sassl_tf.typing import Array

_STYLES = {"in_batch": another_row, "one_in_batch": one_row}
# Per pixel. The float32 transform of an image in [0, 1] is wrong by about a hundredth of it.
_SMALLEST_AMPLITUDE = 1e-7


@keras.saving.register_keras_serializable(package="sassl_tf")
class FourierStyle(InBatchStyle):
    """Mixes the Fourier amplitudes of an image with those of another image, and keeps its phases.

    For an image i_c that is chosen with probability p, and an image i_s of its batch, channel by
    channel:

        A_c e^{iφ} = FFT(i_c),  A_s = |FFT(i_s)|
        α    ~ U(α_min, α_max)
        i_cs = IFFT(((1 - α) A_c + α A_s) e^{iφ})

    and clipped. This is the amplitude mix of FACT (Xu et al. 2021, arXiv 2105.11120, eq. 5), whose
    λ is α. Mixing pixels would be the same, since the phases are: (1 - α) i_c + α IFFT(A_s e^{iφ}).
    So there is no β.

    With `styles="one_in_batch"` all images of a batch get the amplitudes of one of them, as Batch
    Styles Standardization does (Scalbert et al. 2024, arXiv 2303.06088), which replaces the low
    frequencies: `probability=1, blending_factor=1` and a small `frequency_share`. Every replica
    has a batch of its own.

    Args:
        styles: where i_s comes from: "in_batch" (another image of the same batch for each image) or
            "one_in_batch" (one image for the whole batch).
        probability: p, of augmenting an image.
        blending_factor: (α_min, α_max) in [0, 1]; one number fixes α. The default is FACT's.
        frequency_share: the share of the spectrum's area, around frequency 0, in which amplitudes
            are mixed, in (0, 1]. 1: everywhere, as FACT does.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        static_shapes: True computes every image and then selects, instead of only the selected
            ones, so that all shapes are static. XLA (`jit_compile=True`) needs this; under a TPU
            strategy it is always so.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [B, H, W, 3] with B from 2 on, uint8 or float (any other integer too), or
          a dict that has them under "images"; what else is in it is passed through.
        - training: False returns the input unchanged.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same result anywhere.

    Call returns:
        The same structure, shapes and dtypes.

    Raises:
        ValueError: arguments out of range, images of the wrong rank or channels, or less than two
            images.

    Example:

    ```python
    augment = sassl_tf.FourierStyle()
    dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    ```
    """

    def __init__(
        self,
        styles: str = "in_batch",
        probability: float = 0.8,
        blending_factor: float | tuple[float, float] = (0.0, 1.0),
        frequency_share: float = 1.0,
        value_range: tuple[float, float] = (0, 255),
        static_shapes: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, blending_factor, value_range, static_shapes, seed, **kwargs)
        self.styles = arguments.choice(styles, "styles", _STYLES)
        self.frequency_share = arguments.positive_fraction(frequency_share, "frequency_share")

    def _style_rows(self, draws: tf.Tensor) -> tf.Tensor:
        return _STYLES[self.styles](draws)

    def _styled(self, content: tf.Tensor, style: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
        return mix_amplitudes(content, style, alpha, self.frequency_share)

    def get_config(self) -> dict[str, Any]:
        own = {"styles": self.styles, "frequency_share": self.frequency_share}
        return {**super().get_config(), **own}


def mix_amplitudes(
    content: Array, style: Array, alpha: Array, frequency_share: float = 1.0
) -> tf.Tensor:
    """Mixes the Fourier amplitudes of images, channel by channel, and keeps the content's phases.

    Args:
        content: float32 [N, H, W, C] in [0, 1].
        style: of the same shape and range.
        alpha: float32 [N]; 0 keeps the content, 1 takes the style's amplitudes.
        frequency_share: share of the spectrum's area, around frequency 0, in which they are mixed.

    Returns:
        float32 [N, H, W, C]. Values may leave [0, 1].
    """
    planes, sides = tf.transpose(content, [0, 3, 1, 2]), tf.shape(content)[1:3]
    spectrum = tf.signal.rfft2d(planes)
    amplitude = tf.abs(spectrum)
    wanted = tf.abs(tf.signal.rfft2d(tf.transpose(style, [0, 3, 1, 2])))
    # A frequency that the content lacks has no phase, so nothing of it can be added.
    pixels = tf.cast(tf.reduce_prod(sides), tf.float32)
    present = amplitude > _SMALLEST_AMPLITUDE * pixels
    ratio = tf.where(present, wanted, 1.0) / tf.where(present, amplitude, 1.0)
    weight = alpha[:, None, None, None] * _low_frequencies(sides, frequency_share)
    gain = 1 + weight * (ratio - 1)
    mixed = tf.signal.irfft2d(spectrum * tf.cast(gain, tf.complex64), fft_length=sides)
    return tf.transpose(mixed, [0, 2, 3, 1])


def _low_frequencies(sides: tf.Tensor, share: float) -> tf.Tensor:
    """Returns float32 [H, W // 2 + 1], 1 for the frequencies of the share around 0, and else 0."""
    height, width = sides[0], sides[1]
    rows, columns = tf.range(height), tf.range(width // 2 + 1)
    rows = tf.minimum(rows, height - rows)  # frequencies from the middle on are negative

    def low(frequencies: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
        # The highest frequency is half of the side.
        bound = 0.5 * share**0.5 * tf.cast(side, tf.float32)
        return tf.cast(tf.cast(frequencies, tf.float32) <= bound, tf.float32)

    return low(rows, height)[:, None] * low(columns, width)
