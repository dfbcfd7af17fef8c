"""Rank and spread of features, by worked examples."""

import numpy as np
import pytest

from sassl_tf.representation.statistics import effective_rank, feature_std


def test_effective_rank_counts_equal_directions():
    """r equal singular values: exp of the entropy log r; one direction: 1."""
    for r in (1, 3, 8):
        features = np.tile(np.eye(8)[:r], (4, 1))
        assert effective_rank(features) == pytest.approx(r, rel=1e-4)
    # Singular values 3 and 1: p = 3/4 and 1/4.
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(entropy), rel=1e-4)


def test_feature_std_is_one_on_the_sphere_and_zero_in_a_point():
    rng = np.random.default_rng(0)
    assert feature_std(rng.normal(size=(5000, 64))) == pytest.approx(1, rel=0.01)
    assert feature_std(np.ones((10, 64)) * np.arange(1, 11)[:, None]) == pytest.approx(0, abs=1e-6)
