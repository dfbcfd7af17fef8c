"""Figures that need no display and no global state."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike

FORMATS = ("png", "jpg", "jpeg", "pdf", "svg")


class Picture(Figure):
    """A Matplotlib figure that notebooks show by themselves."""

    def _repr_png_(self) -> bytes:
        return _encoded(self, "png", dpi=100)


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure; width and height are in inches."""
    empty = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(empty)
    return empty


def save(drawn: Figure, path: PathLike) -> None:
    """Writes a figure, beside the old file and then in its place.

    Args:
        drawn: the figure.
        path: the file. The end of its name is the format, one of `FORMATS`; without one, it is PNG.

    Raises:
        ValueError: the name ends otherwise.
    """
    form = as_path(path).suffix[1:].lower() or "png"
    if form not in FORMATS:
        raise UserError(
            f"The picture's name {path} ends in .{form}; expected one of "
            f"{', '.join(f'.{known}' for known in FORMATS)}."
        )
    with replacing(path) as beside:
        drawn.savefig(beside, format=form, dpi=120)


def pixels(drawn: Figure) -> np.ndarray:
    """Returns a figure as a picture, uint8 [H, W, 3]."""
    # A PNG has its size in it, which the user's settings of Matplotlib may change.
    picture = matplotlib.image.imread(io.BytesIO(_encoded(drawn, "png", dpi=100)))
    return np.rint(255 * picture[..., :3]).astype(np.uint8)


def _encoded(drawn: Figure, form: str, dpi: float) -> bytes:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=form, dpi=dpi)
    return buffer.getvalue()
