"""Measures of the encoder's features during training: kNN accuracy, rank and spread.

The kNN accuracy is within the train split. As it uses no test image, decisions may depend on it.
The other two need no labels, and show a collapse.
"""

import keras
import numpy as np
from ml_collections import ConfigDict

from sassl_tf.datasets import ImageDataset
from sassl_tf.representation.features import extract_features
from sassl_tf.representation.knn import default_k, knn_accuracy
from sassl_tf.representation.statistics import effective_rank, feature_std
from training.report.logs import say

MAX_IMAGES = 2500
QUERY_SHARE = 0.2
FEWEST_LABELLED = 10  # images of the sample; with fewer there is no kNN accuracy
# Below this, all images have nearly the same features; those of a random network are above it.
COLLAPSED_STD = 0.02


class Representation:
    """Measures an encoder's features of a sample of the train images.

    Args:
        encoder: the Keras model under training.
        dataset: the `ImageDataset` it trains on.
        config: a pretraining config: `image_size` and `seed`.
    """

    def __init__(self, encoder: keras.Model, dataset: ImageDataset, config: ConfigDict) -> None:
        self._encoder, self._image_size = encoder, config.image_size
        order = np.random.default_rng(config.seed).permutation(len(dataset))[:MAX_IMAGES]
        self._sample = dataset.subset(order)
        self._classes = len(dataset.class_names)

    def measure(self) -> dict[str, float]:
        """Returns {"feature_std", "effective_rank"}, and with labels "knn_accuracy" in %."""
        features = extract_features(self._encoder, self._sample, self._image_size, progress=False)
        measured = {
            "feature_std": feature_std(features),
            "effective_rank": effective_rank(features),
        }
        if measured["feature_std"] < COLLAPSED_STD:
            say(
                f"The representation has collapsed (feature_std {measured['feature_std']:.1g}): "
                "all images have nearly the same features. Look at the learning rate first."
            )
        labelled = self._sample.labels >= 0
        if self._classes and labelled.sum() >= FEWEST_LABELLED:
            accuracy = self._knn_accuracy(features[labelled], self._sample.labels[labelled])
            measured["knn_accuracy"] = 100 * accuracy
        return measured

    def _knn_accuracy(self, features, labels):
        """Returns the accuracy for a fifth of the images, with the rest as neighbours."""
        queries = max(1, round(QUERY_SHARE * len(features)))
        return knn_accuracy(
            features[queries:],
            labels[queries:],
            features[:queries],
            labels[:queries],
            self._classes,
            k=min(default_k(len(features)), len(features) - queries),
        )
