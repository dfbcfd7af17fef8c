"""VICReg (Bardes et al. 2021, arXiv 2105.04906)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from training.engine.strategy import global_batch
from training.methods.contrastive import alignment, normalize, spread
from training.methods.descent import descend
from training.methods.heads import mlp
from training.methods.online_probe import Observe, unobserved
from training.methods.parts import WHOLE, Part

_EPSILON = 1e-4  # under the root of the standard deviation


def invariance(z_left: tf.Tensor, z_right: tf.Tensor) -> tf.Tensor:
    """Computes s, the mean squared difference of the two views, over images and dimensions.

    The paper's equation 5 sums over dimensions; its code takes the mean, for which its weights are.

    Args:
        z_left, z_right: projections, float32 [n, D].
    """
    return ops.mean(ops.square(z_left - z_right))


def variance(z: tf.Tensor) -> tf.Tensor:
    """Computes v, the mean of max(0, 1 - S) over dimensions (equations 1 and 2, γ = 1).

    S is the standard deviation over images, √(Var + 1e-4) with N - 1 in the denominator.

    Args:
        z: projections of the global batch, float32 [N, D].
    """
    count = ops.cast(ops.shape(z)[0], "float32")
    deviation = ops.sqrt(ops.var(z, axis=0) * count / (count - 1) + _EPSILON)
    return ops.mean(ops.relu(1 - deviation))


def covariance(z: tf.Tensor) -> tf.Tensor:
    """Computes c, the sum of squared covariances of different dimensions over D (equations 3, 4).

    Args:
        z: projections of the global batch, float32 [N, D].
    """
    count, width = ops.cast(ops.shape(z)[0], "float32"), z.shape[1]
    z = z - ops.mean(z, axis=0)
    matrix = ops.matmul(ops.transpose(z), z) / (count - 1)
    return ops.sum(ops.square(matrix * (1 - ops.eye(width)))) / width


class VICReg(keras.Model):
    """VICReg: views agree, each dimension keeps its variance, and dimensions are uncorrelated.

    Args:
        encoder: f, images to features [B, D].
        hidden_dim, projection_dim: widths of the expander, `hidden → BN → ReLU → hidden → BN → ReLU
            → projection`.
        invariance_weight, variance_weight, covariance_weight: λ, μ and ν of equation 6.

    Variance and covariance are over the global batch. Source: facebookresearch/vicreg,
    main_vicreg.py, in which the variance is the mean of both views', and the covariance their sum.
    """

    def __init__(
        self,
        encoder: keras.Model,
        hidden_dim: int = 8192,
        projection_dim: int = 8192,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        widths = (hidden_dim, hidden_dim, projection_dim)
        self.projector = mlp("projector", encoder.output_shape[-1], widths, hidden_bias=True)
        self.weights_of_terms = (invariance_weight, variance_weight, covariance_weight)
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the representation f(x), which evaluations use."""
        return self.encoder(images, training=training)

    def train_step(
        self,
        views: dict[str, tf.Tensor],
        observe: Observe = unobserved,
        part: Part = WHOLE,
    ) -> dict[str, tf.Tensor]:
        """Trains on a batch {"left", "right"}; returns {name: scalar}."""
        with tf.GradientTape() as tape:
            # One view at a time, as in the source: batch norm is over images of one view.
            h_left, h_right = (self.encoder(views[s], training=True) for s in ("left", "right"))
            left, right = (
                ops.cast(self.projector(h, training=True), "float32") for h in (h_left, h_right)
            )
            all_left, all_right = global_batch(left), global_batch(right)
            terms = {
                "invariance": invariance(left, right),
                "variance": (variance(all_left) + variance(all_right)) / 2,
                "covariance": covariance(all_left) + covariance(all_right),
            }
            loss = sum(
                weight * term
                for weight, term in zip(self.weights_of_terms, terms.values(), strict=True)
            )
        descend(self, tape, loss, part)
        z_left, z_right = normalize(left), normalize(right)
        return {
            "loss": loss,
            **terms,
            "alignment": alignment(z_left, z_right),
            "spread": spread(z_left),
            **observe(h_right),
        }
