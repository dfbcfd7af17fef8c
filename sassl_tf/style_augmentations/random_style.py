"""`RandomStyle`: style codes from a Gaussian instead of style images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sassl_tf.augmentation import SASSLAugmentation
from sassl_tf.errors import UserError
from sassl_tf.seeding import normal
from sassl_tf.style_bank import StyleBank
from sassl_tf.stylizers import Stylizer
from sassl_tf.typing import PathLike


@keras.saving.register_keras_serializable(package="sassl_tf")
class RandomStyle(SASSLAugmentation):
    """Stylizes images with codes from a Gaussian that is fitted to a style bank.

    For an image i_c that is chosen with probability p, and the mean μ and the covariance Σ of the
    codes of a bank:

        z_c  = F(i_c),  z_s ~ N(μ, Σ)
        α    ~ U(α_min, α_max)
        i_cs = T(i_c, (1 - α) z_c + α z_s)

    Style augmentation of Jackson et al. 2019 (arXiv 1809.05375, section 3.2), whose α is 0.5; they
    left a part of the images as they are. It is Algorithm 1 of SASSL with other codes and β = 1.

    Args:
        stylizer: F and T: a name for `load_stylizer`, or a `Stylizer`.
        styles: the bank whose codes the Gaussian is fitted to: a `StyleBank` of at least two
            codes, or the path of a saved one; "default" is the one inside the package, which only
            "compact" has.
        probability: p, of stylizing an image.
        blending_factor: (α_min, α_max) in [0, 1]; one number fixes α.
        value_range: the lowest and the highest value of the images' pixels, in and out.
        stylize_size: the shorter side, in pixels, at which F and T run, as for `SASSLAugmentation`.
        static_shapes: True computes every image and then selects, instead of only the selected
            ones, so that all shapes are static. XLA (`jit_compile=True`) needs this; under a TPU
            strategy it is always so.
        encode_size: the shorter side, in pixels, to which an image is reduced for F alone.
        precision: "float32" or "bfloat16", of the convolutions of F and T. None: bfloat16
            on a processor that has it, else float32.
        seed: int; fixes the draws of calls in a fixed order. None takes one from Python's
            `random`, which `keras.utils.set_random_seed` seeds.

    Call arguments:
        - inputs: images [H, W, 3] or [B, H, W, 3], uint8 or float (any other integer too), or a
          dict that has them under "images"; what else is in it is passed through.
        - training: False returns the input unchanged.
        - seed: int32 [2]; makes the call stateless: the same seed gives the same draws anywhere,
          and the same result where `precision` is the same.

    Call returns:
        The same structure, shapes and dtypes.

    Raises:
        ValueError: arguments out of range, an unknown stylizer, no bank, a bank of another
            stylizer or of one code, or images of the wrong rank or channels.

    Example:

    ```python
    augment = sassl_tf.RandomStyle()
    dataset = dataset.batch(256).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    ```
    """

    def __init__(
        self,
        stylizer: str | Stylizer = "compact",
        styles: StyleBank | PathLike = "default",
        probability: float = 0.8,
        blending_factor: float | tuple[float, float] = 0.5,
        value_range: tuple[float, float] = (0, 255),
        stylize_size: int | None = None,
        static_shapes: bool = False,
        encode_size: int | None = None,
        precision: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            stylizer,
            styles,
            probability,
            blending_factor,
            interpolation_factor=1.0,
            value_range=value_range,
            stylize_size=stylize_size,
            static_shapes=static_shapes,
            encode_size=encode_size,
            precision=precision,
            seed=seed,
            **kwargs,
        )
        if self.style_bank is None or len(self.style_bank) < 2:
            raise UserError(
                f"styles is {styles!r}; a RandomStyle fits a Gaussian to a style bank of at least "
                "two codes. Make one with StyleBank.from_images or `python -m "
                'training.build_style_bank`; styles="default" is one for "compact" alone.'
            )
        self._mean, self._root = fit_gaussian(self.style_bank.codes)

    def _draw_style(self, shape: tuple[int | tf.Tensor, ...], seed: tf.Tensor) -> tf.Tensor:
        return normal((*shape, len(self._mean)), seed)

    def _drawn_styles(self, bank: StyleBank, draws: tf.Tensor) -> tf.Tensor:
        return self._mean + tf.matmul(draws, tf.constant(self._root))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["interpolation_factor"]
        return config


def fit_gaussian(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits a Gaussian to codes.

    Args:
        codes: float [N, D], N from 2.

    Returns:
        The mean, float32 [D], and the symmetric root of the covariance, float32 [D, D]: the mean
        plus standard normal rows times the root are draws. There is only one symmetric root, so
        that draws do not depend on the machine.
    """
    mean = codes.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(codes, rowvar=False, dtype=np.float64))
    root = (axes * np.sqrt(np.maximum(variances, 0))) @ axes.T
    return mean.astype(np.float32), root.astype(np.float32)
