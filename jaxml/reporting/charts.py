"""Charts as SVG that follows the colours of the page, drawn by matplotlib."""

import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxml.reporting.page import NUM_SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that matplotlib draws with, and the variables of the page that replace them.
_INK, _MUTED, _LINE, _CARD = "#010101", "#010102", "#010103", "#010104"
COLORS = [f"#0201{i:02x}" for i in range(1, NUM_SERIES + 1)]
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _LINE: "var(--line)",
    _CARD: "var(--card)",
    **{color: f"var(--series{i})" for i, color in enumerate(COLORS, start=1)},
}
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxml",  # equal charts are equal files
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": "",  # set below, as it needs matplotlib
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


class Chart:
    """One chart: `axes` to draw into, and `svg` when it is finished."""

    def __init__(self, axes: "Axes") -> None:
        """Wraps the axes of a new figure (see `chart`)."""
        self.axes = axes
        self.svg = ""


@contextmanager
def chart(
    x: str = "", y: str = "", *, log: bool = False, size: tuple[float, float] = (4.6, 3.0)
) -> Iterator[Chart]:
    """Draws a chart: yields it, and fills in its `svg` at the end.

    Args:
      x: label of the horizontal axis.
      y: label of the vertical axis.
      log: whether the vertical axis is logarithmic.
      size: width and height in inches.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=COLORS)}
    with mpl.rc_context(style):
        drawing = Figure(figsize=size, layout="constrained")
        result = Chart(drawing.add_subplot(xlabel=x, ylabel=y))
        if log:
            result.axes.set_yscale("log")
        if x == "epoch":
            result.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        yield result
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None})
    result.svg = _for_page(file.getvalue())


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: bool = False,
    percent: bool = False,
) -> str:
    """Draws named lines of points.

    Args:
      series: positions and values of each line; a line without points is left out.
      x: label of the horizontal axis.
      y: label of the vertical axis.
      log: whether the vertical axis is logarithmic.
      percent: whether the values are fractions, shown in percent.
    """
    series = {name: points for name, points in series.items() if len(points[0])}
    with chart(x, y, log=log) as drawn:
        for name, (at, values) in series.items():
            marker = "o" if len(at) < 2 else ""
            drawn.axes.plot(at, values, label=name, marker=marker)
        if percent:
            drawn.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        if len(series) > 1:
            drawn.axes.legend()
    return drawn.svg


def heatmap(values: np.ndarray, rows: Sequence[str], columns: Sequence[int], *, x: str) -> str:
    """Draws a matrix of positive values as colours on a logarithmic scale.

    Args:
      values: `[rows, columns]`; values that are not positive are left empty.
      rows: names, from the top.
      columns: numbers of the columns, ascending.
      x: label of the horizontal axis.
    """
    from matplotlib.colors import LogNorm

    positive = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    if np.isnan(positive).all():
        return ""
    with chart(x, size=(4.6, 3.6)) as drawn:
        axes = drawn.axes
        low, high = np.nanmin(positive), np.nanmax(positive)
        high = high if high > low else low * 1.01
        norm = LogNorm(low, high)
        image = axes.imshow(
            positive, aspect="auto", interpolation="nearest", cmap="viridis", norm=norm,
            extent=(columns[0] - 0.5, columns[-1] + 0.5, len(rows) - 0.5, -0.5),
        )  # fmt: skip
        shown = _spread(len(rows), 12)
        axes.set_yticks(shown, [short(rows[i]) for i in shown], fontsize=9)
        axes.grid(visible=False)
        bar = axes.figure.colorbar(image, ax=axes, ticks=np.geomspace(low, high, 5))
        bar.ax.set_yticklabels([f"{tick:.2g}" for tick in bar.get_ticks()])
        bar.minorticks_off()
    return drawn.svg


def confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """Draws a confusion matrix, rows true and columns predicted; counts up to 12 classes."""
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(names) <= 12
    with chart("predicted class", "true class", size=(4.6, 4.2)) as drawn:
        axes = drawn.axes
        image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        shown = range(len(names)) if few else _spread(len(names), 12)
        labels = [short(names[i], 10) for i in shown]
        long = max(map(len, labels)) > 3
        axes.set_xticks(shown, labels, fontsize=9, rotation=90 if long else 0)
        axes.set_yticks(shown, labels, fontsize=9)
        axes.grid(visible=False)
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("fraction of the true class")
        for (i, j), count in np.ndenumerate(counts if few else np.zeros((0, 0))):
            color = "#ffffff" if rates[i, j] > 0.5 else "#16150f"
            if count:
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color=color)
    return drawn.svg


def reliability(confidence: np.ndarray, accuracy: np.ndarray, counts: np.ndarray) -> str:
    """Draws observed accuracy against predicted confidence; areas grow with the counts."""
    full = counts > 0
    with chart("mean confidence of a bin", "accuracy") as drawn:
        axes = drawn.axes
        axes.plot([0, 1], [0, 1], color=_MUTED, linestyle="--", linewidth=1)
        axes.plot(confidence[full], accuracy[full], linewidth=1.2)
        sizes = 12 + 180 * counts[full] / counts.max()
        axes.scatter(confidence[full], accuracy[full], s=sizes, color=COLORS[0], alpha=0.7)
        axes.set(xlim=(0, 1.04), ylim=(0, 1.04))
        axes.text(0.03, 0.95, "dashed: perfect calibration", color=_MUTED, fontsize=9)
    return drawn.svg


def scatter(across: np.ndarray, up: np.ndarray, *, x: str, y: str, line: str) -> str:
    """Draws points, with a dashed line: "diagonal", or "zero" for a horizontal one."""
    chosen = np.random.default_rng(0).permutation(len(across))[:1500]  # keeps the file small
    with chart(x, y) as drawn:
        drawn.axes.scatter(across[chosen], up[chosen], s=10, alpha=0.6)
        slope = 1.0 if line == "diagonal" else 0.0
        point = float(across.mean()) if slope else 0.0
        drawn.axes.axline((point, point), slope=slope, color=_MUTED, linestyle="--", linewidth=1)
    return drawn.svg


def histogram(groups: Mapping[str, np.ndarray], *, x: str, line: float | None = None) -> str:
    """Draws histograms of groups of values, and a dashed vertical line at a value."""
    values = np.concatenate(list(groups.values()))
    edges = np.histogram_bin_edges(values, bins=30).tolist()
    with chart(x, "examples") as drawn:
        for name, group in groups.items():
            drawn.axes.hist(group, edges, alpha=0.65, label=name)
        if line is not None:
            drawn.axes.axvline(line, color=_MUTED, linestyle="--", linewidth=1)
        if len(groups) > 1:
            drawn.axes.legend()
    return drawn.svg


def bars(values: Mapping[str, float], *, x: str) -> str:
    """Draws horizontal bars with their values."""
    with chart(x, size=(4.6, 0.8 + 0.34 * len(values))) as drawn:
        axes, names = drawn.axes, list(values)
        drawn_bars = axes.barh(range(len(names)), list(values.values()), height=0.7)
        axes.bar_label(drawn_bars, [_digits(v) for v in values.values()], padding=4, color=_INK)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.18)
    return drawn.svg


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 or value == 0 else "< 0.01"


def _spread(count: int, most: int) -> list[int]:
    """Returns at most `most` indices below `count`, evenly spaced from 0."""
    step = math.ceil(count / most)
    return list(range(0, count, step))


def short(name: str, length: int = 20) -> str:
    """Keeps the end of a name that is too long.

    >>> short("stage1/block1/conv1", 8)
    '…1/conv1'
    """
    return name if len(name) <= length else f"…{name[1 - length :]}"


def _for_page(svg: str) -> str:
    """Returns the `<svg>` element with the colours of the page and names of its own."""
    svg = svg[svg.index("<svg") :]
    name = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\1c{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg)
    return re.sub("|".join(_VARIABLES), lambda match: _VARIABLES[match[0]], svg)
