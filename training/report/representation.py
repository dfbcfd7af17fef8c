"""How good, and how varied, the features are while they are learned.

kNN accuracy is within the train split: no test image is touched, so it may steer a person's
decisions. The other two need no labels and tell of collapse.
"""

import numpy as np

from sassl_tf.representation.features import extract_features
from sassl_tf.representation.knn import default_k, knn_accuracy
from sassl_tf.representation.statistics import effective_rank, feature_std
from training.report.logs import say

MAX_IMAGES = 2500
QUERY_SHARE = 0.2
# Below this the features are all but the same for every image; a random network's are above.
COLLAPSED_STD = 0.02


class Representation:
    """Looks at an encoder's features of a sample of the train images.

    Args:
        encoder: the Keras model under training.
        dataset: the `ImageDataset` it trains on.
        config: a pretraining config: `image_size` and `seed`.
    """

    def __init__(self, encoder, dataset, config):
        self._encoder, self._image_size = encoder, config.image_size
        order = np.random.default_rng(config.seed).permutation(len(dataset))[:MAX_IMAGES]
        self._sample = dataset.subset(order)
        self._classes = len(dataset.class_names)

    def measure(self):
        """{"feature_std", "effective_rank"}, and "knn_accuracy" in % where there are labels."""
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
        if self._classes:
            measured["knn_accuracy"] = 100 * self._knn_accuracy(features)
        return measured

    def _knn_accuracy(self, features):
        """Of a fifth of the sample by the rest of it."""
        queries = max(1, round(QUERY_SHARE * len(features)))
        labels = self._sample.labels
        return knn_accuracy(
            features[queries:],
            labels[queries:],
            features[:queries],
            labels[:queries],
            self._classes,
            k=min(default_k(len(features)), len(features) - queries),
        )
