"""Figures that need no display and no global state."""

from __future__ import annotations

import io
import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sassl_tf.files import replacing


class Picture(Figure):
    """A Matplotlib figure that notebooks show without being told to."""

    def _repr_png_(self) -> bytes:
        return _encoded(self, "png", dpi=100)


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    made = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, beside the old file and then in its place."""
    with replacing(path) as beside:
        made.savefig(beside, format="png", dpi=120)


def pixels(made: Figure) -> np.ndarray:
    """A figure as a uint8 picture [H, W, 3]."""
    raw = _encoded(made, "rgba", dpi=100)
    width, height = (int(side) for side in made.canvas.get_width_height())
    scale = 100 / made.dpi
    shape = (round(height * scale), round(width * scale), 4)
    return np.frombuffer(raw, np.uint8).reshape(shape)[..., :3]


def _encoded(made, form, dpi):
    buffer = io.BytesIO()
    made.savefig(buffer, format=form, dpi=dpi)
    return buffer.getvalue()
