"""Pictures for people: grids of views, curves, bars. Every function returns a Matplotlib figure."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sassl_tf.files import replacing


def figure(width, height):
    """A figure of so many inches that needs no display and no global state."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def image_grid(columns, title=None):
    """Images side by side, a titled column each.

    Args:
        columns: {title: images}, images float [N, H, W, 3] in [0, 1] or uint8; a row for each of
            the N.
        title: above it all.
    """
    rows = len(next(iter(columns.values())))
    made = figure(1.3 * len(columns) + 0.2, 1.3 * rows + 0.5)
    axes = made.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=9)
        for row in range(rows):
            show_image(axes[row, column], images[row])
    if title:
        made.suptitle(title)
    return made


def show_image(axis, image):
    """An image without ticks; values outside the range are clipped."""
    image = np.asarray(image)
    axis.imshow(image if image.dtype == np.uint8 else np.clip(image, 0, 1))
    axis.set_axis_off()


def curves(axis, rows_by_run, name, label=None):
    """One metric of several runs against the step.

    Args:
        axis: a Matplotlib axis.
        rows_by_run: {run: rows of its metrics.jsonl}.
        name: of the metric; rows without it are passed over.
        label: of the vertical axis; the name, if None.
    """
    for run, rows in rows_by_run.items():
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points, strict=True), label=run)
    axis.set_xlabel("step")
    axis.set_ylabel(label or name)
    axis.grid(alpha=0.3)
    axis.legend()


def bars(axis, groups, label):
    """Grouped bars with their values: {group: {bar: percent}}."""
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = np.arange(len(groups)) + (number - (len(names) - 1) / 2) * width
        drawn = axis.bar(places, [group[name] for group in groups.values()], width, label=name)
        axis.bar_label(drawn, fmt="%.1f", fontsize=8)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_ylabel(label)
    axis.legend(loc="lower right")


def bars_of_values(axis, values, names, label):
    """Grouped bars of means, with the standard deviation and a dot for each value.

    Args:
        axis: a Matplotlib axis.
        values: {group: {bar: list of numbers}}.
        names: of the bars, in their order; a group may lack some.
        label: of the vertical axis.
    """
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        shift = (number - (len(names) - 1) / 2) * width
        found = [(i, group[name]) for i, group in enumerate(values.values()) if name in group]
        places = np.array([i + shift for i, _ in found])
        means = [np.mean(v) for _, v in found]
        spread = [np.std(v, ddof=1) if len(v) > 1 else 0 for _, v in found]
        drawn = axis.bar(places, means, width, yerr=spread, capsize=3, label=name, alpha=0.75)
        axis.bar_label(drawn, fmt="%.1f", fontsize=8, label_type="center")
        for place, (_, dots) in zip(places, found, strict=True):
            axis.plot([place] * len(dots), dots, "k.", markersize=3)
    axis.set_xticks(range(len(values)), list(values))
    axis.set_ylabel(label)
    # Above the bars, beside the title, where it hides none of them.
    axis.legend(
        fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names), frameon=False
    )


def scatter(axis, groups):
    """Points by group, {group: float [N, 2]}, in colours of their own; without ticks."""
    for name, points in groups.items():
        axis.scatter(*points.T, s=6, alpha=0.6, linewidths=0, label=name)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(fontsize=7, markerscale=2)


def pixels(made):
    """A figure as a uint8 picture [H, W, 3]."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="rgba", dpi=100)
    width, height = (int(side) for side in made.canvas.get_width_height())
    scale = 100 / made.dpi
    shape = (round(height * scale), round(width * scale), 4)
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(shape)[..., :3]


def save(made, path):
    """Writes a figure as PNG, beside the old file and then in its place."""
    with replacing(path) as beside:
        made.savefig(beside, format="png", dpi=120)
