"""Panels of figures: lines, bars, pictures and drawings of a study's own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxml.reporting import charts, page
from jaxml.studies._study import Panel


def lines(
    title: str,
    curves: Mapping[str, np.ndarray],
    *,
    at: Sequence[float] | np.ndarray | None = None,
    x: str = "step",
    y: str,
    log: str = "",
    markers: bool = False,
    legend: bool = True,
) -> Panel:
    """Draws the mean of each curve over the seeds, and a band from the minimum to the maximum.

    Args:
      title: title of the panel.
      curves: values `[seeds, points]` by label.
      at: positions of the points; 1, 2, 3, ... by default.
      x: label of the horizontal axis.
      y: label of the vertical axis.
      log: the logarithmic axes, "", "x", "y" or "xy".
      markers: whether to mark the points.
      legend: whether to name several curves.
    """
    points = {
        label: (np.arange(1, values.shape[1] + 1) if at is None else at, values)
        for label, values in curves.items()
    }
    options: Any = {"x": x, "y": y, "log": log, "markers": markers, "legend": legend}
    return Panel(title, lambda: charts.lines(points, **options))


def bars(title: str, values: Mapping[str, np.ndarray], *, x: str, log: bool = False) -> Panel:
    """Draws one horizontal bar for each label, the mean over the seeds, and a dot for each seed."""
    return Panel(title, lambda: charts.bars(values, x=x, log=log))


def pictures(
    title: str, images: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str], *, columns: int
) -> Panel:
    """Shows images `[n, height, width]` as a grid, each scaled to its own range."""

    def content() -> str:
        from matplotlib import colormaps

        scaled = [(image - image.min()) / max(np.ptp(image), 1e-9) for image in images]
        pixels = [colormaps["cividis"](image, bytes=True)[..., :3] for image in scaled]
        return page.pictures(pixels, captions, columns=columns)

    return Panel(title, content)


def drawing(title: str, draw: Callable[[Any], None], *, x: str = "", y: str = "") -> Panel:
    """Draws a panel by a function of matplotlib axes, with labels for them."""

    def content() -> str:
        with charts.chart(x, y, size=(4.6, 3.4)) as drawn:
            draw(drawn.axes)
        return drawn.svg

    return Panel(title, content)
