"""Pictures for people, the same in notebooks, TensorBoard, reports and the demo.

Grids of images (`grids`), charts (`charts`), and what they are drawn on (`canvas`). Functions that
are called with data return a figure, which notebooks show, `save` writes and `pixels` turns into an
array; those that take a Matplotlib axis draw on it.
"""

from sassl_tf.plot.canvas import figure, pixels, save
from sassl_tf.plot.charts import bars, bars_of_values, curves, metric_curves, scatter, style_map
from sassl_tf.plot.grids import alpha_beta_grid, image_grid, show_image, style_grid, view_grid

__all__ = [
    "alpha_beta_grid",
    "bars",
    "bars_of_values",
    "curves",
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
