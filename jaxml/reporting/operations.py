"""Time of the operations of a compiled program, read from a trace of the profiler."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from jaxml.io import process
from jaxml.reporting import _trace

TOP = 10  # operations in a report


class Operation(NamedTuple):
    """Description of an operation in a program.

    Attributes:
      shape: shape of the result.
      path: layer of the network that it belongs to; empty if unknown.
    """

    shape: str
    path: str


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
    if not files:
        yield "the profiler wrote no trace"
        return
    try:
        times = _trace.read_self_times(files[-1], _module_name(text))
    except process.ChildError as error:
        yield f"the trace cannot be read: {error}; {view}"
        return
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
