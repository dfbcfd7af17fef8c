"""How good, and how varied, the features are while they are learned.

kNN accuracy is within the train split: no test image is touched, so it may steer a person's
decisions. The other two need no labels and tell of collapse.
"""

import numpy as np

from evaluation.features import extract_features
from evaluation.knn import default_k, knn_accuracy
from training.logs import say
from training.methods.contrastive import normalize, spread

MAX_IMAGES = 2500
QUERY_SHARE = 0.2
# Below this the features are all but the same for every image; a random network's are above.
COLLAPSED_STD = 0.02


def feature_std(features):
    """`training.methods.contrastive.spread` of features [N, D], brought to unit length."""
    return float(spread(normalize(features)))


def effective_rank(features):
    """exp of the entropy of the normalised singular values of [N, D]: from 1 to min(N, D).

    Roy & Vetterli 2007; as a measure of representations RankMe (Garrido et al. 2023, arXiv
    2210.02885, equation 1).
    """
    singular_values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    p = singular_values / max(singular_values.sum(), 1e-300) + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


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
