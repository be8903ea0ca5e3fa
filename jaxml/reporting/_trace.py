"""Reads a trace of the profiler in a child process, as reading one may end the process.

Run as `python -m jaxml.reporting._trace FILE MODULE`, it prints the self times of the operations of
a compiled program, in nanoseconds by name, as JSON.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from jaxml.io import process

LIMIT_S = 120.0
_PROGRAM = ("-m", "jaxml.reporting._trace")


class Span(NamedTuple):
    """One execution of an operation; times are in nanoseconds."""

    start: int
    end: int
    name: str


def read_self_times(file: Path, module: str) -> Counter[str]:
    """Sums the self times of a program's operations over all devices and threads of a trace.

    Args:
      file: trace of the profiler.
      module: name of the program's HLO module.

    Raises:
      ChildError: the trace cannot be read.
    """
    output = process.run(
        [*_PROGRAM, str(file), module],
        limit_s=LIMIT_S,
        environment={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    try:
        return Counter(json.loads(output))
    except ValueError:
        raise process.ChildError("the child process did not finish") from None


def self_times(spans: Iterable[Span]) -> Counter[str]:
    """Computes the self time of each operation.

    Overlapping intervals are attributed to the innermost operation, so a loop does not include its
    body.

    >>> self_times([Span(0, 9, "while"), Span(1, 3, "add"), Span(4, 8, "conv"), Span(9, 10, "add")])
    Counter({'conv': 4, 'while': 3, 'add': 3})
    """
    times: Counter[str] = Counter()
    running: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        while running and running[-1].end <= span.start:
            running.pop()
        if running:
            times[running[-1].name] -= min(running[-1].end, span.end) - span.start
        times[span.name] += span.end - span.start
        running.append(span)
    return times


def _read(data: Any, module: str) -> Counter[str]:
    times: Counter[str] = Counter()
    for plane in data.planes:
        for line in plane.lines:
            spans = []
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats and stats.get("hlo_module") == module:
                    start, end = event.start_ns, event.start_ns + event.duration_ns
                    spans.append(Span(round(start), round(end), stats["hlo_op"]))
            times += self_times(spans)
    return times


def _main(file: str, module: str) -> None:
    from jax.profiler import ProfileData

    json.dump(_read(ProfileData.from_file(file), module), sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
