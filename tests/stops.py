"""Counts of the campaigns that stop runs and resume them, printed after the tests."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

NAME = "stops"  # of the property of a test
_WIDTH = 34


def record(
    record_property: Callable[[str, object], None],
    kind: str,
    *,
    stops: int = 0,
    runs: int = 0,
    equal: int = 0,
    seconds: float = 0.0,
) -> None:
    """Adds to the counts of a kind of stop.

    Args:
      record_property: the fixture of pytest, which also works in worker processes.
      kind: describes the stops.
      stops: number of stops.
      runs: number of runs that were stopped and resumed until they finished.
      equal: number of these whose parameters and metrics were those of an unbroken run.
      seconds: time from a stop to the end of all processes; 0 where it was not measured.
    """
    record_property(NAME, [kind, stops, runs, equal, seconds])


def table(reports: Iterable[Any]) -> list[str]:
    """Returns the lines of a table of the counts, and of their sums."""
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0])
    for report in reports:
        if getattr(report, "when", "") != "call":
            continue
        for name, value in report.user_properties:
            if name == NAME:
                kind, *counts, seconds = value
                row = rows[kind]
                row[:] = [*(a + b for a, b in zip(row, counts, strict=False)),
                          max(row[3], seconds)]  # fmt: skip
    if not rows:
        return []
    columns = list(zip(*rows.values(), strict=True))
    total = [*map(sum, columns[:3]), max(columns[3])]
    lines = [f"{'kind':{_WIDTH}} {'stops':>6} {'runs':>6} {'equal':>6} {'longest end':>12}"]
    for kind, (stops, runs, equal, seconds) in [*sorted(rows.items()), ("sum", total)]:
        end = f"{seconds:.1f} s" if seconds else "-"
        lines.append(f"{kind:{_WIDTH}} {stops:6} {runs:6} {equal:6} {end:>12}")
    return lines
