"""Distances between the styles of two datasets, by the codes of a stylizer."""

import numpy as np
import scipy.linalg
from sklearn.neighbors import NearestNeighbors

from sassl_tf.errors import UserError


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Computes the squared Fréchet distance of the normal distributions of two sets of codes.

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) (Dowson & Landau 1982). With features of another network
    it is the FID (Heusel et al. 2017).

    Args:
        first: float [N, D], with N of 2 or more.
        second: float [M, D], with M of 2 or more.

    Returns:
        A float, 0 or more, in the units of squared codes, which differ between stylizers.

    Raises:
        ValueError: a set has fewer than two codes.
    """
    for codes in (first, second):
        if len(codes) < 2:
            raise UserError(f"A distance of styles needs two images or more, not {len(codes)}.")
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    c1, c2 = (np.atleast_2d(np.cov(codes, rowvar=False)) for codes in (first, second))
    # tr (C1 C2)^½ by the symmetric C1^½ C2 C1^½, whose eigenvalues are the same and real.
    root = _square_root(c1)
    eigenvalues = scipy.linalg.eigvalsh(root @ c2 @ root)
    trace = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return float(max(means + np.trace(c1) + np.trace(c2) - 2 * trace, 0.0))


def neighbour_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Computes how often the nearest neighbour of a code belongs to the other set.

    It is twice the leave-one-out error of a nearest-neighbour classifier that tells the two sets
    apart (the 1-NN two-sample test, Lopez-Paz & Oquab 2017), and at most 1. As many codes are drawn
    from the larger set, with a fixed seed, as the smaller one has.

    Args:
        first: float [N, D].
        second: float [M, D].

    Returns:
        A float: 1 for sets that cannot be told apart, 0 for sets that lie apart.
    """
    count = min(len(first), len(second))
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(codes)[:count] for codes in (first, second)]
    codes, labels = np.concatenate(drawn), np.repeat([0, 1], count)
    nearest = NearestNeighbors(n_neighbors=2).fit(codes).kneighbors(codes, return_distance=False)
    # The first is the code itself, or one equal to it.
    other = np.where(nearest[:, 0] == np.arange(len(codes)), nearest[:, 1], nearest[:, 0])
    return float(min(1.0, 2 * np.mean(labels[other] != labels)))


def _square_root(symmetric):
    values, vectors = scipy.linalg.eigh(symmetric)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
