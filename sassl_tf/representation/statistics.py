"""Two measures of the variety of features, without labels. Low values mean collapse."""

import numpy as np
from numpy.typing import ArrayLike

from sassl_tf.representation.retrieval import unit_rows


def feature_std(features: ArrayLike) -> float:
    """Returns the standard deviation of features [N, D] of unit length, over images, times √D.

    It is 1 where they are spread evenly over the sphere, and 0 where all are the same, which is
    collapse (Chen & He 2020, arXiv 2011.10566, figure 2).
    """
    unit = unit_rows(np.asarray(features, np.float32))
    return float(unit.std(axis=0).mean() * unit.shape[1] ** 0.5)


def effective_rank(features: ArrayLike) -> float:
    """Returns the effective rank of features [N, D], from 1 to min(N, D).

    It is exp of the entropy of the normalised singular values (Roy & Vetterli 2007). As a measure
    of representations it is called RankMe (Garrido et al. 2023, arXiv 2210.02885, equation 1).
    """
    singular_values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    p = singular_values / max(singular_values.sum(), 1e-300) + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))
