"""Time of the operations of a compiled program, read from a trace of the profiler."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

TOP = 10  # operations in a report


class Span(NamedTuple):
    """One execution of an operation; times are in nanoseconds."""

    start: int
    end: int
    name: str


class Operation(NamedTuple):
    """Description of an operation in a program.

    Attributes:
      shape: shape of the result.
      path: layer of the network that it belongs to; empty if unknown.
    """

    shape: str
    path: str


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


def parse_operations(text: str) -> dict[str, Operation]:
    """Parses the operations of a program in HLO text, by name.

    >>> text = '%add.1 = f32[2]{0} add(%a, %b), metadata={op_name="jit(f)/jvp(ResNet)/stem/add"}'
    >>> parse_operations(text)
    {'add.1': Operation(shape='f32[2]', path='forward stem/add')}
    """
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) \w", line):
            path = re.search(r'op_name="([^"]*)"', line)
            shape = re.sub(r"{.*?}|/\*.*?\*/", "", match[2])
            found[match[1]] = Operation(_shorten(shape), _layer(path[1]) if path else "")
            # On a CPU, a trace appends the target of a custom call to its name.
            if target := re.search(r'custom_call_target="([^"]*)"', line):
                found[match[1] + target[1]] = found[match[1]]
    return found


def report(folder: Path, steps: range, text: str) -> Iterator[str]:
    """Formats the slowest operations of the newest trace, one per line.

    Args:
      folder: folder with the trace.
      steps: steps that the trace covers.
      text: program of these steps, as HLO text.
    """
    view = "XProf and Perfetto can show it"
    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files or not hasattr(jax.profiler, "ProfileData"):
        yield f"this version of jax cannot read the trace; {view}"
        return
    times = _read(jax.profiler.ProfileData.from_file(str(files[-1])), _module_name(text))
    if not times.total():
        yield f"the trace has no operations of this device; {view}"
        return
    milliseconds = 1e6 * len(steps) * len(jax.devices())  # per step and device
    yield from _table(times, parse_operations(text), milliseconds)


def _table(
    times: Counter[str], operations: dict[str, Operation], milliseconds: float
) -> Iterator[str]:
    whole, top = times.total(), times.most_common(TOP)
    rest = whole - sum(time for _, time in top)
    shown = [(time, name, operations.get(name, Operation("", ""))) for name, time in top]
    width = max(len(name) for _, name, _ in shown)
    shape_width = max(len(operation.shape) for *_, operation in shown)
    yield f"{whole / milliseconds:10.3f} ms a step in operations, over all threads:"
    for time, name, operation in shown:
        row = f"{name:{width}}  {operation.shape:{shape_width}}  {operation.path}".rstrip()
        yield f"{time / milliseconds:10.3f} ms {time / whole:6.1%}  {row}"
    yield f"{rest / milliseconds:10.3f} ms {rest / whole:6.1%}  {len(times) - len(top)} others"


def _read(data: Any, module: str) -> Counter[str]:
    """Sums the self times of a program's operations over all devices and threads of a trace."""
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


def _module_name(text: str) -> str:
    match = re.match(r"HloModule ([^\s,]+)", text)
    return match[1] if match else ""


def _shorten(shape: str) -> str:
    return shape if len(shape) <= 32 else f"{shape[:29]}..."


def _layer(op_name: str) -> str:
    """Converts the `op_name` of an operation to its pass and its layer."""
    name = op_name.split(";")[0]  # the first of several merged operations
    direction = "backward " if "transpose(" in name else "forward " if "jvp(" in name else ""
    # Parts with a "(" are transformed functions, those with a "." are Flax methods.
    return direction + "/".join(part for part in name.split("/") if not re.search(r"[(.]", part))
