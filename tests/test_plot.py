"""Pictures: what is drawn is what was given."""

import numpy as np
import pytest

from sassl_tf import plot


def test_a_grid_has_an_image_for_each(tmp_path):
    images = np.random.default_rng(0).random((3, 8, 8, 3))
    grid = plot.image_grid({"a": images, "b": (images * 255).astype(np.uint8)}, "title")
    axes = grid.axes
    assert len(axes) == 6 and [axes[0].get_title(), axes[1].get_title()] == ["a", "b"]
    np.testing.assert_allclose(axes[2].get_images()[0].get_array(), images[1])
    plot.save(grid, tmp_path / "grid.png")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_curves_pass_over_rows_without_the_metric():
    page = plot.figure(3, 3)
    axis = page.subplots()
    plot.curves(
        axis, {"run": [{"step": 1, "loss": 3.0}, {"step": 2}, {"step": 3, "loss": 2.0}]}, "loss"
    )
    x, y = axis.get_lines()[0].get_data()
    assert (list(x), list(y)) == ([1, 3], [3.0, 2.0])


def test_bars_are_as_high_as_their_values():
    axis = plot.figure(3, 3).subplots()
    plot.bars(axis, {"probe": {"a": 10.0, "b": 20.0}, "kNN": {"a": 5.0, "b": 7.5}}, "%")
    assert [bar.get_height() for bar in axis.patches] == [10.0, 5.0, 20.0, 7.5]


@pytest.mark.parametrize("size", [(2, 1), (3.3, 2.1)])
def test_pixels(size):
    picture = plot.pixels(plot.figure(*size))
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert picture.shape[1] / picture.shape[0] == pytest.approx(size[0] / size[1], rel=0.02)
