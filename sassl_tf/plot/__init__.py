"""Figures of images and results, the same in notebooks, TensorBoard, reports and the demo.

Grids of images (`grids`), charts (`charts`), and figures to draw them on (`canvas`). Functions that
take data alone return a figure: notebooks show it, `save` writes it, and `pixels` turns it into an
array. Functions that take a Matplotlib axis draw on it.
"""

from sassl_tf.plot.canvas import figure, pixels, save
from sassl_tf.plot.charts import (
    bars,
    bars_of_values,
    curves,
    differences,
    metric_curves,
    scatter,
    style_map,
)
from sassl_tf.plot.grids import (
    alpha_beta_grid,
    attention_grid,
    image_grid,
    show_image,
    style_grid,
    view_grid,
)

__all__ = [
    "alpha_beta_grid",
    "attention_grid",
    "bars",
    "bars_of_values",
    "curves",
    "differences",
    "figure",
    "image_grid",
    "metric_curves",
    "pixels",
    "save",
    "scatter",
    "show_image",
    "style_grid",
    "style_map",
    "view_grid",
]
