"""Statistics of measured times: median, range and ratio to jaxml, and their tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from launch.benchmark.ceilings import COPY, PRODUCT
from launch.benchmark.worker import Work

Measurements = dict[str, Any]


def summarize(
    taken: Mapping[str, Sequence[float]], *, base: str, images: int
) -> dict[str, Measurements]:
    """Computes statistics of each competitor's times.

    Args:
      taken: seconds of each competitor, by round.
      base: competitor that the others are compared with.
      images: number of images processed in that time; 0 if none are.

    Returns:
      `median_seconds`, `min_seconds`, `max_seconds`, `images_per_second` (None without images),
      `ratio` (median over the rounds of the ratio to the base; above 1, the base is faster),
      `ratio_quartiles` and all `seconds`, for each competitor.

    Example:
      >>> summarize({"jaxml": [1.0], "flax": [2.0]}, base="jaxml", images=8)["flax"]["ratio"]
      2.0
    """
    return {name: _summarize_one(seconds, taken[base], images) for name, seconds in taken.items()}


def _summarize_one(seconds: Sequence[float], base: Sequence[float], images: int) -> Measurements:
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


def table(found: Mapping[str, Measurements], *, base: str) -> list[str]:
    """Formats a table with one competitor a line."""
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


def _speed(line: Measurements) -> str:
    speed = line["images_per_second"]
    return f"{speed:,.1f}" if speed else ""


def _ratio(line: Measurements) -> str:
    low, high = line["ratio_quartiles"]
    return f"{line['ratio']:.2f} ({low:.2f} to {high:.2f})"


def flops_table(
    found: Mapping[str, Mapping[str, Measurements]], work: Mapping[str, Work], limits: Measurements
) -> list[str]:
    """Formats a table of GFLOP/s, one operation a line and one competitor a column.

    Args:
      found: measurements of each competitor, by operation.
      work: work of each operation.
      limits: result of `ceilings`, for the last line.
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


def ceilings(seconds: Mapping[str, Sequence[float]], work: Mapping[str, Work]) -> Measurements:
    """Computes the peak throughput of the device.

    Args:
      seconds: times of the large matrix product and of the large copy.
      work: work of both.
    """
    return {
        "flops_per_second": work[PRODUCT].flops / min(seconds[PRODUCT]),
        "bytes_per_second": work[COPY].bytes_moved / min(seconds[COPY]),
    }


def achieved(work: Work, seconds: float, ceilings: Measurements) -> Measurements:
    """Computes the throughput of an operation and its fraction of the peak.

    >>> limits = {"flops_per_second": 4.0, "bytes_per_second": 8.0}
    >>> achieved(Work(6.0, 4.0), 2.0, limits)["flops_fraction"]
    0.75
    """
    flops, moved = work.flops / seconds, work.bytes_moved / seconds
    return {
        "flops_per_second": flops,
        "flops_fraction": flops / ceilings["flops_per_second"],
        "bytes_per_second": moved,
        "bytes_fraction": moved / ceilings["bytes_per_second"],
    }


def achieved_text(reached: Measurements, ceilings: Measurements, *, base: str) -> str:
    """Formats the achieved throughput in one line."""
    parts = []
    for kind, unit, limit in (
        ("flops", "GFLOP/s", "a large matrix product"),
        ("bytes", "GB/s", "a large copy"),
    ):
        rate, most = (each[f"{kind}_per_second"] / 1e9 for each in (reached, ceilings))
        if rate:
            percent = f"{reached[f'{kind}_fraction']:.0%}"
            parts.append(f"{rate:,.1f} {unit}, {percent} of {limit} ({most:,.1f})")
        else:
            parts.append(f"{limit} {most:,.1f} {unit}")
    return f"  {base}: {'; '.join(parts)}"
