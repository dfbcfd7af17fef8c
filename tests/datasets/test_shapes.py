import numpy as np
import pytest

from sassl_tf.datasets import shapes as module
from sassl_tf.datasets.shapes import shapes


def pixels(dataset):
    return np.stack([dataset.image(i) for i in range(len(dataset))])


@pytest.fixture(scope="module")
def small():
    return shapes(count=24)


def test_shape_and_balance(small):
    assert pixels(small).shape == (24, 48, 48, 3)
    assert len(small.class_names) == 12 and np.bincount(small.labels).tolist() == [2] * 12
    assert shapes(count=3, size=20).image(0).shape == (20, 20, 3)


def test_a_function_of_seed_and_split(small):
    np.testing.assert_array_equal(pixels(small), pixels(shapes(count=24)))
    assert small.fingerprint == shapes(count=24).fingerprint
    others = [shapes("test", count=24), shapes(count=24, seed=1)]
    assert len({small.fingerprint, *(other.fingerprint for other in others)}) == 3
    for other in others:
        assert not (pixels(other) == pixels(small)).all(axis=(1, 2, 3)).any()


def test_outlines_have_the_right_area():
    side = np.linspace(-1, 1, 400)
    u, v = np.meshgrid(side, side)
    area = {name: 4 * inside(u, v).mean() for name, inside in module.SILHOUETTES.items()}
    assert area["square"] == pytest.approx(2, rel=0.02)
    assert area["triangle"] == pytest.approx(3 * np.sqrt(3) / 4, rel=0.1)
    assert area["disk"] == pytest.approx(0.72 * np.pi, rel=0.02)
    assert area["ring"] == pytest.approx((0.9**2 - 0.5**2) * np.pi, rel=0.02)
    assert area["cross"] == pytest.approx(5 * 9 * 4 / (9**2 + 3**2), rel=0.02)
    assert min(area.values()) > 0.5  # nothing too thin to see


def test_figure_and_ground_differ_in_lightness():
    rng = np.random.default_rng(0)
    luminance = [0.299, 0.587, 0.114]
    light = module.textured(rng, np.ones(40, bool), 16) @ luminance
    dark = module.textured(rng, np.zeros(40, bool), 16) @ luminance
    assert light.min() > dark.max()


def test_all_textures_stay_in_range():
    for texture in module.TEXTURES:
        values = texture(np.random.default_rng(0), 20, 32)
        assert values.shape == (20, 32, 32) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 1
        assert (values.std(axis=(1, 2)) > 0.05).all()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 8}, {"seed": -1}, {"split": "val"}])
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=r"give an integer|splits are train, test, validation"):
        shapes(**wrong)
