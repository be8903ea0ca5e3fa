"""Panels of figures: lines, bars and pictures with one style."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxml.studies._study import Panel

# Legible on white and on black; line styles and markers tell them apart without color.
COLORS = ("#3b82d6", "#d9731a", "#2e9e6b", "#c2508f", "#8b74d9", "#9a8f1f")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = "osD^vX"


def lines(
    title: str,
    x: Sequence[float] | np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    x_label: str,
    y_label: str,
    log: str = "",
    markers: bool = False,
    legend: bool = True,
) -> Panel:
    """Draws the mean of each curve over the seeds, and a band from the minimum to the maximum.

    Args:
      title: title of the panel.
      x: positions `[points]`.
      curves: values `[seeds, points]` by label.
      x_label: label of the horizontal axis.
      y_label: label of the vertical axis.
      log: the logarithmic axes, "", "x", "y" or "xy".
      markers: whether to mark the points.
      legend: whether to name several curves.
    """

    def draw(axes: Any) -> None:
        for i, (label, values) in enumerate(curves.items()):
            values = np.asarray(values, np.float64)
            style = {"color": COLORS[i % 6], "linestyle": _STYLES[i % 6], "label": label}
            mark = {"marker": _MARKERS[i % 6], "markersize": 4} if markers else {}
            axes.plot(x, values.mean(0), **style, **mark)
            axes.fill_between(x, values.min(0), values.max(0), color=COLORS[i % 6], alpha=0.2, lw=0)
        if legend and len(curves) > 1:
            place_legend(axes)
        _label(axes, x_label, y_label, log)

    return Panel(title, draw)


def bars(title: str, values: Mapping[str, np.ndarray], *, label: str, log: bool = False) -> Panel:
    """Draws one horizontal bar for each label, the mean over the seeds, and a dot for each seed."""

    def draw(axes: Any) -> None:
        for i, row in enumerate(values.values()):
            row = np.atleast_1d(np.asarray(row, np.float64))
            axes.barh(i, row.mean(), color=COLORS[i % 6], height=0.6)
            axes.plot(row, np.full(len(row), i), ".", color="#808080", markersize=4)
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        _label(axes, label, "", "x" if log else "")

    return Panel(title, draw)


def pictures(
    title: str,
    images: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    *,
    columns: int,
    wide: bool = False,
) -> Panel:
    """Draws images `[n, height, width]` as a grid, each scaled to its own range."""

    def draw(axes: Any) -> None:
        axes.set_axis_off()
        rows = -(-len(images) // columns)
        for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
            left, top = i % columns / columns, 1 - (i // columns + 1) / rows
            inner = axes.inset_axes([left + 0.01, top, 0.95 / columns, 0.84 / rows])
            inner.imshow(image, cmap="cividis", interpolation="nearest")
            inner.set_xticks([])
            inner.set_yticks([])
            inner.set_title(caption, fontsize=8, pad=2)

    return Panel(title, draw, wide)


def place_legend(axes: Any, **options: Any) -> None:
    """Places a legend under the axes, where it hides no curve."""
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "frameon": False}
    axes.legend(**below, ncols=2, handlelength=2.5, **options)


def _label(axes: Any, x_label: str, y_label: str, log: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
