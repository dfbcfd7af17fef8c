"""Distances of styles, against closed forms and SciPy."""

import numpy as np
import pytest
import scipy.linalg

from evaluation.style_distance import frechet_distance, neighbour_overlap


def normal(count, mean=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, (count, 5))


def test_the_frechet_distance_in_one_dimension():
    """(m1 - m2)² + (s1 - s2)²."""
    first, second = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])
    s1, s2 = np.sqrt(2), np.sqrt(8)
    assert frechet_distance(first, second) == pytest.approx(36 + (s1 - s2) ** 2)


def test_the_frechet_distance_is_scipys():
    first = normal(60) @ np.random.default_rng(3).normal(size=(5, 5))
    second = normal(50, mean=0.4, seed=1)
    c1, c2 = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(second, first) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-8)
    few = normal(3, seed=4)  # fewer codes than dimensions
    assert 0 < frechet_distance(few, normal(3, mean=1, seed=5)) < np.inf
    with pytest.raises(ValueError, match="two images or more, not 1"):
        frechet_distance(first[:1], second)


def test_the_overlap_of_neighbours():
    assert neighbour_overlap(normal(200), normal(300, mean=50, seed=1)) == 0
    assert neighbour_overlap(normal(400), normal(400, seed=1)) == pytest.approx(1, abs=0.15)
    between = neighbour_overlap(normal(400), normal(400, mean=0.8, seed=1))
    assert 0.1 < between < 0.85
    same = normal(50)
    assert neighbour_overlap(same, same) == 1  # the twin of each is in the other set
