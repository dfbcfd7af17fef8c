"""An online linear probe: a classifier that learns beside the encoder and leaves it as it is."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers, ops

from training.engine.strategy import replicas

# A method calls it with the features [B, D] of this replica's images, and reports the scalars.
Observe = Callable[[tf.Tensor], dict[str, tf.Tensor]]
LEARNING_RATE = 1e-3  # of Adam: features change their scale while the encoder trains
_KEPT = 0.98  # of the running accuracy at each step: a mean over about the last 50


def unobserved(features: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns no scalars; the `observe` of a training without a probe."""
    return {}


class OnlineProbe(keras.layers.Layer):
    """Multinomial logistic regression on detached features, trained within the method's step.

    No gradient flows into the encoder, the weights start at zero (so that no random number is
    drawn), and the optimizer is its own. So the encoder is the same to the bit with and without a
    probe. The features are those that the method computes anyway: in training mode, of augmented
    images.

    Args:
        width: D, the width of the features.
        classes: the number of classes.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(dtype="float32", name="online_probe")
        self.classifier = layers.Dense(classes, kernel_initializer="zeros", dtype="float32")
        self.classifier.build((None, width))
        self.running = self.add_weight(
            (), "zeros", "float32", trainable=False, aggregation="mean", name="running_accuracy"
        )
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self.optimizer.build(self.classifier.trainable_variables)
        self.built = True

    def observer(self, labels: tf.Tensor) -> Observe:
        """Returns the `observe` of a batch: a function of its features that takes a step.

        Args:
            labels: int [B]; images of label -1 do not count, nor does a batch of them alone.

        Returns:
            A function from features [B, D] to {"probe_loss", "probe_accuracy"}; the accuracy is in
            %, before the step, and a running mean over about 50 steps.
        """
        return lambda features: self._step(features, labels)

    def _step(self, features, labels):
        labelled = ops.cast(labels >= 0, "float32")
        known = ops.maximum(labels, 0)
        count = ops.maximum(ops.sum(labelled), 1.0)
        features = ops.cast(ops.stop_gradient(features), "float32")
        with tf.GradientTape() as tape:
            logits = self.classifier(features)
            losses = keras.losses.sparse_categorical_crossentropy(known, logits, from_logits=True)
            loss = ops.sum(losses * labelled) / count
        _, several = replicas()
        weights = self.classifier.trainable_variables
        # The optimizer sums the replicas' gradients.
        gradients = tape.gradient(loss, weights, output_gradients=ops.ones(()) / several)
        right = ops.cast(ops.argmax(logits, axis=1), labels.dtype) == labels
        accuracy = ops.sum(ops.cast(right, "float32")) / count
        self.optimizer.apply(gradients, weights)
        steps = ops.maximum(ops.cast(self.optimizer.iterations, "float32"), 1.0)
        # The mean began at 0, which would weigh on it for the first steps.
        seen, before = (1 - ops.power(_KEPT, count) for count in (steps, steps - 1))
        grown = self.running * seen / ops.maximum(before, 1 - _KEPT)  # the same part of `seen`
        mean = _KEPT * self.running + (1 - _KEPT) * accuracy
        self.running.assign(ops.where(ops.any(labels >= 0), mean, grown))
        return {"probe_loss": loss, "probe_accuracy": 100 * self.running / seen}
