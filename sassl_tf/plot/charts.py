"""Charts: curves, bars and maps of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from sassl_tf.plot.canvas import figure
from sassl_tf.typing import Array


def metric_curves(
    rows_by_run: Mapping[str, Sequence[Mapping[str, float]]],
    names: Sequence[str] = ("loss", "knn_accuracy"),
) -> Figure:
    """Draws metrics of several runs over the steps, a panel for each metric.

    Args:
        rows_by_run: {run: rows of its metrics.jsonl}.
        names: of the metrics.
    """
    chart = figure(4.0 * len(names), 3.0)
    for axis, name in zip(chart.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        curves(axis, rows_by_run, name, name.replace("_", " "))
    return chart


def style_map(planes: Mapping[str, Mapping[str, Array]]) -> Figure:
    """Draws style codes on planes, a panel for each plane.

    Args:
        planes: {plane, such as "t-SNE": {dataset: float [N, 2]}}.
    """
    chart = figure(5.5 * len(planes), 5)
    for axis, (name, groups) in zip(
        chart.subplots(1, len(planes), squeeze=False)[0], planes.items(), strict=True
    ):
        scatter(axis, groups)
        axis.set_title(name)
    return chart


def curves(
    axis: Axes,
    rows_by_run: Mapping[str, Sequence[Mapping[str, float]]],
    name: str,
    label: str | None = None,
) -> None:
    """Draws one metric of several runs over the steps.

    Args:
        axis: a Matplotlib axis.
        rows_by_run: {run: rows of its metrics.jsonl}.
        name: of the metric; rows without it are left out.
        label: of the vertical axis; None takes the name.
    """
    for run, rows in rows_by_run.items():
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points, strict=True), label=run)
    axis.set_xlabel("step")
    axis.set_ylabel(label or name)
    axis.grid(alpha=0.3)
    axis.legend()


def bars(axis: Axes, groups: Mapping[str, Mapping[str, float]], label: str) -> None:
    """Draws grouped bars with their values: {group: {bar: percent}}."""
    names = list(next(iter(groups.values())))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = np.arange(len(groups)) + (number - (len(names) - 1) / 2) * width
        drawn = axis.bar(places, [group[name] for group in groups.values()], width, label=name)
        axis.bar_label(drawn, fmt="%.1f", fontsize=8)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_ylabel(label)
    axis.legend(loc="lower right")


def bars_of_values(
    axis: Axes,
    values: Mapping[str, Mapping[str, Sequence[float]]],
    names: Sequence[str],
    label: str,
) -> None:
    """Draws grouped bars of means, with the standard deviation and a dot for each value.

    Args:
        axis: a Matplotlib axis.
        values: {group: {bar: list of numbers}}.
        names: of the bars, in their order; a group may lack some.
        label: of the vertical axis.
    """
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        shift = (number - (len(names) - 1) / 2) * width
        held = [(i, group[name]) for i, group in enumerate(values.values()) if name in group]
        places = np.array([i + shift for i, _ in held])
        means = [np.mean(v) for _, v in held]
        spread = [np.std(v, ddof=1) if len(v) > 1 else 0 for _, v in held]
        drawn = axis.bar(places, means, width, yerr=spread, capsize=3, label=name, alpha=0.75)
        axis.bar_label(drawn, fmt="%.1f", fontsize=8, label_type="center")
        for place, (_, dots) in zip(places, held, strict=True):
            axis.plot([place] * len(dots), dots, "k.", markersize=3)
    axis.set_xticks(range(len(values)), list(values))
    axis.set_ylabel(label)
    # Above the bars, beside the title, where it hides none of them.
    axis.legend(
        fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names), frameon=False
    )


def scatter(axis: Axes, groups: Mapping[str, Array]) -> None:
    """Draws points, {group: float [N, 2]}, in a colour for each group and without ticks.

    Points of smaller groups are larger and in front.
    """
    for name, points in groups.items():
        x, y = np.asarray(points).T
        size = np.clip(1000 / len(x), 6, 60)
        axis.scatter(x, y, s=size, alpha=0.7, linewidths=0, label=name, zorder=1 + 1 / len(x))
    axis.set_xticks([])
    axis.set_yticks([])
    for handle in axis.legend(fontsize=7).legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([20])


def differences(
    axis: Axes,
    intervals: Mapping[str, tuple[float, float | None, float | None]],
    label: str,
) -> None:
    """Draws differences with their confidence intervals, one below the other, and a line at 0.

    Args:
        axis: a Matplotlib axis.
        intervals: {name: (difference, low, high)}; low and high are None without an interval.
        label: of the horizontal axis.
    """
    axis.axvline(0, color="black", linewidth=0.8)
    for place, (mean, low, high) in enumerate(intervals.values()):
        color = "C7"  # not told from 0
        if low is not None and high is not None:
            color = "C2" if low > 0 else "C3" if high < 0 else color
            axis.plot([low, high], [place, place], color=color, linewidth=2)
        axis.plot([mean], [place], "o", color=color)
    axis.set_yticks(range(len(intervals)), list(intervals), fontsize=8)
    axis.set_ylim(max(len(intervals), 1) - 0.5, -0.5)
    axis.set_xlabel(label, fontsize=8)
    axis.grid(axis="x", alpha=0.3)
