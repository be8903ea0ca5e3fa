"""Charts follow the colours of the page, and their legends hide nothing."""

import re

import numpy as np
import pytest

from jaxml.reporting import charts, page

CURVES = {f"curve {i}": (range(5), np.arange(10.0).reshape(2, 5) + i) for i in range(3)}


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b" * 30), tuple("abcdefgh")])
@pytest.mark.parametrize("title", [None, "digit"])
def test_a_legend_lies_below_the_axes_within_the_figure(names, title):
    with charts.chart("step", "loss") as drawn:
        for name in names:
            drawn.axes.plot([0, 1], [0, 1], label=name)
        charts.place_legend(drawn.axes, title)
    figure = drawn.axes.figure
    legend = figure.legends[0].get_window_extent()
    axes = drawn.axes.get_tightbbox()
    assert axes is not None
    assert legend.y1 <= axes.y0
    assert figure.bbox.x0 <= legend.x0 <= legend.x1 <= figure.bbox.x1


def test_lines_of_several_seeds_have_a_band_and_their_own_colour_and_style():
    drawn = charts.lines(CURVES, x="step", y="loss")
    assert drawn.count("fill-opacity: 0.2") == 3
    for i, name in enumerate(CURVES, start=1):
        assert f"var(--series{i})" in drawn
        assert name in drawn
    assert len(set(re.findall(r"stroke-dasharray: [^;]*", drawn))) == 2  # the first is solid
    assert "#0201" not in drawn
    assert "fill-opacity" not in charts.lines({"a": ([0, 1], [0, 1])}, x="x", y="y")


@pytest.mark.parametrize("epochs", [[5], [1, 2], range(1, 31)])
def test_epochs_have_whole_numbers(epochs):
    drawn = charts.lines({"a": (epochs, [0.5] * len(epochs))}, x="epoch", y="")
    across = drawn.partition("matplotlib.axis_2")[0]
    labels = re.findall(r"<text[^>]*>([\d.]+)</text>", across)
    assert labels
    assert all(label.isdecimal() for label in labels)


def test_a_logarithmic_axis_of_iterations_shows_powers_of_ten():
    with charts.chart("iteration", "loss", log="x") as drawn:
        drawn.axes.plot(np.geomspace(1, 2e4), np.ones(50))
    low, high = drawn.axes.get_xlim()
    shown = [tick for tick in drawn.axes.get_xticks() if low <= tick <= high]
    assert set(shown) <= {1, 10, 100, 1000, 10_000}
    assert len(shown) >= 2


def test_bars_have_a_dot_for_each_of_several_values():
    drawn = charts.bars({"a": [1.0, 2.0, 3.0], "b": 5.0}, x="value")
    assert drawn.count("<use") == charts.bars({"a": 2.0, "b": 5.0}, x="value").count("<use") + 3
    assert ">2</text>" in drawn
    assert "5.51 · 10⁷" in charts.bars({"a": 5.51e7}, x="value", log=True)


def test_a_stacked_table_names_the_column_of_each_cell():
    table = page.stacked(["a<sub>1</sub>"], [["<b>x</b>"]], ["a<1>"])
    assert '<td data-label="a&lt;1&gt;"><span><b>x</b></span></td>' in table
    assert "<th>a<sub>1</sub></th>" in table


def test_pages_without_sorted_tables_have_no_script():
    assert "<script" not in page.page("title", [page.stacked(["a"], [["x"]], ["a"])])
    assert "<script" in page.page("title", [page.table(["a"], [["x"]])])
