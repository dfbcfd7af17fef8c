"""Pictures: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest

import sassl_tf
from sassl_tf import plot, samples
from sassl_tf.plot.grids import blended


def test_a_grid_has_an_image_for_each(tmp_path):
    images = np.random.default_rng(0).random((3, 8, 8, 3))
    grid = plot.image_grid({"a": images, "b": (images * 255).astype(np.uint8)}, "title")
    axes = grid.axes
    assert len(axes) == 6 and [axes[0].get_title(), axes[1].get_title()] == ["a", "b"]
    np.testing.assert_allclose(axes[2].get_images()[0].get_array(), images[1])
    plot.save(grid, tmp_path / "grid.png")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
    for name, start in {"b.JPG": b"\xff\xd8", "c.pdf": b"%PDF", "d": b"\x89PNG"}.items():
        plot.save(grid, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"ends in \.webp; expected one of \.png"):
        plot.save(grid, tmp_path / "e.webp")


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


def test_pixels_whatever_the_users_settings_are():
    """8 rows of a trainer's picture at 72 dpi have 1,090 rows of pixels at 100, or 1,089."""
    own = {"figure.dpi": 72, "savefig.bbox": "tight"}
    for some in ({"figure.dpi": 72}, own):
        with matplotlib.rc_context(some):
            page = plot.figure(4.1, 10.9)
            page.subplots().plot([0, 1])
            assert plot.pixels(page).ndim == 3
    assert plot.pixels(page).max() == 255


@pytest.fixture(scope="module")
def stylizer():
    return sassl_tf.load_stylizer("compact")


def test_alpha_and_beta_are_the_layers(stylizer):
    image = np.random.default_rng(0).random((32, 48, 3), np.float32)
    bank = sassl_tf.StyleBank.default("compact")
    views = blended(image, bank.codes[3], stylizer, alphas=(0.0, 0.25), betas=(0.0, 0.5, 1.0))
    assert views.shape == (2, 3, 32, 48, 3)
    for row in views:
        np.testing.assert_array_equal(row[0], image)  # β = 0 is the image itself
        np.testing.assert_allclose(row[1], (row[0] + row[2]) / 2, atol=1e-6)
    layer = sassl_tf.SASSLAugmentation(
        stylizer,
        styles=sassl_tf.StyleBank(bank.codes[3:4], bank.fingerprint),
        probability=1.0,
        blending_factor=(0.25, 0.25),
        interpolation_factor=(0.5, 0.5),
        value_range=(0, 1),
        precision="float32",
    )
    np.testing.assert_allclose(views[1, 1], layer(image, training=True), atol=1e-3)


def test_a_grid_of_views_is_of_the_layers_views(stylizer):
    images = samples.photographs(32)
    augment = sassl_tf.SASSLAugmentation(stylizer, probability=1.0)
    axes = plot.view_grid(images, augment, count=2, seed=5).axes
    assert len(axes) == 4 * 3
    shown = [np.asarray(axis.get_images()[0].get_array()) for axis in axes]
    np.testing.assert_array_equal(shown[0], images[0])
    again = augment(images, training=True, seed=(5, 2))
    np.testing.assert_array_equal(shown[2], again[0])
    assert (shown[1] != shown[2]).any()


def test_a_grid_of_styles_has_the_stylizers_pictures(stylizer):
    images, styles = samples.photographs(32)[:2], samples.styles(64)[:3]
    axes = plot.style_grid(images, styles, stylizer).axes
    pictures = [np.asarray(axis.get_images()[0].get_array()) for axis in axes if axis.get_images()]
    assert len(pictures) == 3 + 2 * 4
    codes = stylizer.encode_style(styles[2:] / np.float32(255))
    expected = stylizer.stylize(images[1:] / np.float32(255), codes)[0]
    np.testing.assert_allclose(pictures[-1], expected, atol=1e-4)


def test_charts_have_a_panel_for_each():
    rows = {"a": [{"step": 1, "loss": 3.0, "spread": 0.5}], "b": [{"step": 1, "loss": 2.0}]}
    loss, spread = plot.metric_curves(rows, ["loss", "spread"]).axes
    assert [len(axis.get_lines()) for axis in (loss, spread)] == [2, 1]
    points = np.random.default_rng(0).random((5, 2))
    tsne, pca = plot.style_map({"t-SNE": {"x": points}, "PCA": {"x": points, "y": -points}}).axes
    assert [len(axis.collections) for axis in (tsne, pca)] == [1, 2]
    np.testing.assert_array_equal(pca.collections[1].get_offsets(), -points)


def test_notebooks_show_a_figure():
    assert plot.figure(1, 1)._repr_png_().startswith(b"\x89PNG")


def test_samples_are_what_they_say():
    photographs, styles = samples.photographs(), samples.styles()
    assert photographs.shape == (4, 224, 224, 3) and photographs.dtype == np.uint8
    assert styles.shape == (6, 256, 256, 3)
    assert all(image.std() > 20 for image in [*photographs, *styles])
    credits = (samples.FOLDER / "CREDITS.md").read_text()
    for path in samples.FOLDER.glob("*/*.jpg"):
        assert path.name in credits or f"{path.stem.partition('_')[0]}_*" in credits
