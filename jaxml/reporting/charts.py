"""Charts as SVG that follows the colours of the page, drawn by matplotlib."""

import hashlib
import io
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxml.reporting.page import NUM_SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that matplotlib draws with, and the variables of the page that replace them.
INK, MUTED, _LINE, CARD = "#010101", "#010102", "#010103", "#010104"
COLORS = [f"#0201{i:02x}" for i in range(1, NUM_SERIES + 1)]
# Line styles and markers tell series apart without colour.
LINE_STYLES: list[Any] = [
    "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)), (0, (3, 1, 1, 1))
]  # fmt: skip
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MARKERS = "osD^vXP*"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    _LINE: "var(--line)",
    CARD: "var(--card)",
    **{color: f"var(--series{i})" for i, color in enumerate(COLORS, start=1)},
}
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxml",  # equal charts are equal files
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": "",  # set below, as it needs matplotlib
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
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
    x: str = "", y: str = "", *, log: str = "", size: tuple[float, float] = (4.6, 3.0)
) -> Iterator[Chart]:
    """Draws a chart: yields it, and fills in its `svg` at the end.

    Args:
      x: label of the horizontal axis.
      y: label of the vertical axis.
      log: the logarithmic axes: "", "x", "y" or "xy".
      size: width and height in inches, without a legend.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    cycle = cycler(color=COLORS, linestyle=LINE_STYLES)
    style: Any = {**_STYLE, "axes.prop_cycle": cycle}
    with mpl.rc_context(style):
        drawing = Figure(figsize=size, layout="constrained")
        result = Chart(drawing.add_subplot(xlabel=x, ylabel=y))
        for axis in log:
            result.axes.set(**{f"{axis}scale": "log"})
        if x in ("epoch", "iteration", "report") and "x" not in log:
            result.axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
        yield result
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None})
    result.svg = _for_page(file.getvalue())


def place_legend(axes: "Axes", title: str | None = None) -> None:
    """Places a legend below the axes, where it hides no curve, and enlarges the figure for it."""
    handles, names = axes.get_legend_handles_labels()
    rows = math.ceil(len(names) / max(1, 56 // (max(map(len, names)) + 7)))
    drawing: Any = axes.figure
    drawing.set_figheight(drawing.get_figheight() + 0.22 * (rows + (title is not None)))
    drawing.legend(
        handles, names, title=title, loc="outside lower center", ncols=math.ceil(len(names) / rows),
        fontsize=10, handlelength=2.6, columnspacing=1.4, markerscale=1.5,
    )  # fmt: skip


def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str,
    y: str,
    log: str = "",
    percent: bool = False,
    markers: bool = False,
    legend: bool = True,
) -> str:
    """Draws named lines of points.

    Args:
      series: positions and values of each line. Values `[seeds, points]` are drawn as their mean,
        in a band from their minimum to their maximum. A line without points is left out.
      x: label of the horizontal axis.
      y: label of the vertical axis.
      log: the logarithmic axes: "", "x", "y" or "xy".
      percent: whether the values are fractions, shown in percent.
      markers: whether to mark the points; a single one is always marked.
      legend: whether to name several lines.
    """
    points = {name: [np.asarray(a, np.float64) for a in both] for name, both in series.items()}
    with chart(x, y, log=log) as drawn:
        for marker, (name, (at, values)) in zip(itertools.cycle(_MARKERS), points.items()):
            if not len(at):
                continue
            shown = marker if markers or len(at) == 1 else ""
            mean = values if values.ndim == 1 else values.mean(0)
            (line,) = drawn.axes.plot(at, mean, label=name, marker=shown, markersize=5)
            if values.ndim == 2:
                band = {"color": line.get_color(), "alpha": 0.2, "linewidth": 0}
                drawn.axes.fill_between(at, values.min(0), values.max(0), **band)
        if percent:
            drawn.axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        if legend and len(drawn.axes.lines) > 1:
            place_legend(drawn.axes)
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
    """Draws observed accuracy against predicted confidence; areas grow with the counts.

    The dashed diagonal is perfect calibration.
    """
    full = counts > 0
    with chart("mean confidence of a bin", "accuracy") as drawn:
        axes = drawn.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        axes.plot(confidence[full], accuracy[full], linewidth=1.2)
        sizes = 12 + 180 * counts[full] / counts.max()
        axes.scatter(confidence[full], accuracy[full], s=sizes, color=COLORS[0], alpha=0.7)
        axes.set(xlim=(0, 1.04), ylim=(0, 1.04))
    return drawn.svg


def scatter(across: np.ndarray, up: np.ndarray, *, x: str, y: str, line: str) -> str:
    """Draws points, with a dashed line: "diagonal", or "zero" for a horizontal one."""
    chosen = np.random.default_rng(0).permutation(len(across))[:1500]  # keeps the file small
    with chart(x, y) as drawn:
        drawn.axes.scatter(across[chosen], up[chosen], s=10, alpha=0.6)
        slope = 1.0 if line == "diagonal" else 0.0
        point = float(across.mean()) if slope else 0.0
        drawn.axes.axline((point, point), slope=slope, color=MUTED, linestyle="--", linewidth=1)
    return drawn.svg


def histogram(groups: Mapping[str, np.ndarray], *, x: str, line: float | None = None) -> str:
    """Draws histograms of groups of values, and a dashed vertical line at a value."""
    values = np.concatenate(list(groups.values()))
    edges = np.histogram_bin_edges(values, bins=30).tolist()
    with chart(x, "examples") as drawn:
        for name, group in groups.items():
            drawn.axes.hist(group, edges, alpha=0.65, label=name)
        if line is not None:
            drawn.axes.axvline(line, color=MUTED, linestyle="--", linewidth=1)
        if len(groups) > 1:
            place_legend(drawn.axes)
    return drawn.svg


def bars(values: Mapping[str, ArrayLike], *, x: str, log: bool = False) -> str:
    """Draws horizontal bars with their values.

    Args:
      values: lengths of the bars by name. Several values are drawn as dots on the bar of their
        mean.
      x: label of the horizontal axis.
      log: whether the horizontal axis is logarithmic.
    """
    with chart(x, log="x" * log, size=(4.6, 0.8 + 0.34 * len(values))) as drawn:
        axes = drawn.axes
        for i, row in enumerate(values.values()):
            row = np.atleast_1d(np.asarray(row, np.float64))
            axes.barh(i, row.mean(), height=0.7, color=COLORS[0])
            if np.ptp(row):
                dots = {"color": INK, "markeredgecolor": CARD, "markeredgewidth": 0.5}
                axes.plot(row, np.full(len(row), i), ".", markersize=6, **dots)
            end, place = (max(row.max(), 0.0), i), {"xytext": (5, 0), "va": "center"}
            axes.annotate(_digits(row.mean()), end, textcoords="offset points", **place)
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.2)
        if not log:
            axes.xaxis.set_major_formatter(
                lambda value, _: f"{value / 1000:g}k" if value >= 1e4 else f"{value:g}"
            )
    return drawn.svg


def _digits(value: float) -> str:
    if abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e+")
    return f"{mantissa} · 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


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
