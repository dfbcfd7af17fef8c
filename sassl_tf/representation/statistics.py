"""How varied features are: two measures that need no labels and tell of collapse."""

import numpy as np


def feature_std(features):
    """Returns the standard deviation of features [N, D] of unit length, over images, times √D.

    1 where they are spread evenly over the sphere, 0 where all are the same: collapse (Chen & He
    2020, arXiv 2011.10566, figure 2).
    """
    features = np.asarray(features, np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return float(unit.std(axis=0).mean() * features.shape[1] ** 0.5)


def effective_rank(features):
    """exp of the entropy of the normalised singular values of [N, D]: from 1 to min(N, D).

    Roy & Vetterli 2007; as a measure of representations RankMe (Garrido et al. 2023, arXiv
    2210.02885, equation 1).
    """
    singular_values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    p = singular_values / max(singular_values.sum(), 1e-300) + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))
