"""How good the features are while they are learned: kNN accuracy within the train split.

No test image is touched, so this figure may steer a person's decisions.
"""

import numpy as np

from evaluation.features import extract_features
from evaluation.knn import default_k, knn_accuracy

MAX_IMAGES = 2500
QUERY_SHARE = 0.2


class OnlineKNN:
    """Classifies a fifth of a sample of the train images by the rest of it.

    Args:
        encoder: the Keras model under training.
        dataset: the `ImageDataset` it trains on; without labels `evaluate` returns nothing.
        config: a pretraining config: `image_size` and `seed`.
    """

    def __init__(self, encoder, dataset, config):
        self._encoder, self._image_size = encoder, config.image_size
        order = np.random.default_rng(config.seed).permutation(len(dataset))[:MAX_IMAGES]
        self._sample = dataset.subset(order)
        self._classes = len(dataset.class_names)

    def evaluate(self):
        """`{"knn_accuracy": percent}`, or `{}` where there are no labels."""
        if not self._classes:
            return {}
        features = extract_features(self._encoder, self._sample, self._image_size, progress=False)
        queries = max(1, round(QUERY_SHARE * len(features)))
        labels = self._sample.labels
        accuracy = knn_accuracy(
            features[queries:],
            labels[queries:],
            features[:queries],
            labels[:queries],
            self._classes,
            k=min(default_k(len(features)), len(features) - queries),
        )
        return {"knn_accuracy": 100 * accuracy}
