"""What is told of the times: median and range, and the ratio to ours pair by pair."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from launch.benchmark.ceilings import COPY, PRODUCT
from launch.benchmark.worker import Work

Figures = dict[str, Any]


def figures(taken: Mapping[str, Sequence[float]], *, base: str, images: int) -> dict[str, Figures]:
    """What each competitor's times come to.

    Args:
      taken: the seconds of each, round by round.
      base: whose times the others are divided by.
      images: that pass in that time; 0 where it is not about images.

    Returns:
      For each `median_seconds`, `min_seconds`, `max_seconds`, `images_per_second` (None without
      images), `ratio` (the median of the ratios of each round; above 1, the base is faster),
      `ratio_quartiles` and all `seconds`.

    Example:
      >>> figures({"jaxml": [1.0], "flax": [2.0]}, base="jaxml", images=8)["flax"]["ratio"]
      2.0
    """
    return {name: _of(seconds, taken[base], images) for name, seconds in taken.items()}


def _of(seconds: Sequence[float], base: Sequence[float], images: int) -> Figures:
    median = statistics.median(seconds)
    low, ratio, high = np.quantile(np.divide(seconds, base), [0.25, 0.5, 0.75]).tolist()
    return {
        "median_seconds": median,
        "min_seconds": min(seconds),
        "max_seconds": max(seconds),
        "images_per_second": images / median if images else None,
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "seconds": list(seconds),
    }


def table(found: Mapping[str, Figures], *, base: str) -> list[str]:
    """One line a competitor, and one above them."""
    width = max(map(len, found))
    speeds = {name: _speed(line) for name, line in found.items()}
    column = 11 if any(speeds.values()) else 0
    lines = [
        f"  {'':{width}}{'images/s' if column else '':>{column}}"
        f"{'median':>12}{'fastest':>12}{'slowest':>12}   times as long as {base} (quartiles)"
    ]
    for name, line in found.items():
        times = [line[key] for key in ("median_seconds", "min_seconds", "max_seconds")]
        lines.append(
            f"  {name:{width}}{speeds[name]:>{column}}"
            + "".join(f"{seconds:10.4f} s" for seconds in times)
            + ("" if name == base else f"   {_ratio(line)}")
        )
    return lines


def _speed(line: Figures) -> str:
    speed = line["images_per_second"]
    return f"{speed:,.1f}" if speed else ""


def _ratio(line: Figures) -> str:
    low, high = line["ratio_quartiles"]
    return f"{line['ratio']:.2f} ({low:.2f} to {high:.2f})"


def flops_table(
    found: Mapping[str, Mapping[str, Figures]], work: Mapping[str, Work], limits: Figures
) -> list[str]:
    """GFLOP/s: one line an operation, one column a competitor; below them, what can be.

    Args:
      found: figures of each competitor, by operation.
      work: of each operation.
      limits: what `ceilings` returns.
    """
    names = list(dict.fromkeys(name for line in found.values() for name in line))
    limit = "a large matrix product"
    width = max(map(len, [*found, limit]))
    lines = [f"  {'GFLOP/s':{width}}" + "".join(f" {name:>10}" for name in names)]
    for operation, line in found.items():
        cells = [
            f" {work[operation].flops / line[name]['median_seconds'] / 1e9:10.1f}"
            if name in line
            else f" {'':10}"
            for name in names
        ]
        lines.append(f"  {operation:{width}}" + "".join(cells))
    return [*lines, f"  {limit:{width}} {limits['flops_per_second'] / 1e9:10.1f}"]


def ceilings(seconds: Mapping[str, Sequence[float]], work: Mapping[str, Work]) -> Figures:
    """What the machine reached at best.

    Args:
      seconds: of the large matrix product and of the large copy.
      work: of both.
    """
    return {
        "flops_per_second": work[PRODUCT].flops / min(seconds[PRODUCT]),
        "bytes_per_second": work[COPY].bytes_moved / min(seconds[COPY]),
    }


def achieved(work: Work, seconds: float, ceilings: Figures) -> Figures:
    """What an operation reaches, and its share of what the machine does at best.

    >>> limits = {"flops_per_second": 4.0, "bytes_per_second": 8.0}
    >>> achieved(Work(6.0, 0.0), 2.0, limits)
    {'flops_per_second': 3.0, 'flops_share': 0.75, 'bytes_per_second': 0.0, 'bytes_share': 0.0}
    """
    flops, moved = work.flops / seconds, work.bytes_moved / seconds
    return {
        "flops_per_second": flops,
        "flops_share": flops / ceilings["flops_per_second"],
        "bytes_per_second": moved,
        "bytes_share": moved / ceilings["bytes_per_second"],
    }


def share(reached: Figures, ceilings: Figures, *, base: str) -> str:
    """The same in one line."""
    parts = []
    for kind, unit, limit in (
        ("flops", "GFLOP/s", "a large matrix product"),
        ("bytes", "GB/s", "a large copy"),
    ):
        rate, most = (each[f"{kind}_per_second"] / 1e9 for each in (reached, ceilings))
        if rate:
            percent = f"{reached[f'{kind}_share']:.0%}"
            parts.append(f"{rate:,.1f} {unit}, {percent} of the {most:,.1f} of {limit}")
        else:
            parts.append(f"{limit} {most:,.1f} {unit}")
    return f"  {base}: {'; '.join(parts)}"
