"""Profiles some steps of a run: a trace for tools, the operations that take the time for people."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax

TOP = 10  # how many operations are shown


class Profile:
    """Traces the calls that take the steps of a range, and says what took their time.

    A call is never cut, for the same steps in calls of another length are another program, which
    may differ in the last bits. So where a call takes many steps, all of its steps are profiled.
    """

    def __init__(self, steps: range, folder: Path, say: Callable[[str], None]) -> None:
        """Profiles nothing yet.

        Args:
          steps: from the first, counted from 0, up to and not with the last; empty profiles none.
          folder: of the traces, created with the first.
          say: told of the operations.
        """
        self._steps, self._folder, self._say = steps, folder, say
        self._first: int | None = None  # of the steps that are being traced

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends a trace that an error or a signal cut short; it is kept, and nothing is said."""
        if self._first is not None:
            jax.profiler.stop_trace()

    def begin(self, step: int, count: int, state: Any) -> None:
        """A call is about to take the steps from `step` to `step + count`.

        Args:
          step: how many have been taken.
          count: how many the call takes.
          state: what it starts from; waited for, so that earlier steps are not in the trace.
        """
        due = max(step, self._steps.start) < min(step + count, self._steps.stop)
        if self._first is None and due:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # it would slow down what is measured
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._first = step

    def end(self, step: int, state: Any, program: Callable[[], str]) -> None:
        """The call has taken the steps up to `step`.

        Args:
          step: how many have been taken.
          state: what it ended with; waited for where the trace ends.
          program: gives the compiled call as HLO text.
        """
        if self._first is None or step < self._steps.stop:
            return
        jax.block_until_ready(state)
        jax.profiler.stop_trace()
        steps, self._first = range(self._first, step), None
        self._say(f"steps {steps.start} to {steps.stop - 1} are profiled in {self._folder}")
        for line in _report(self._folder, steps, program()):
            self._say(line)


class Span(NamedTuple):
    """From when to when an operation ran, in nanoseconds."""

    start: int
    end: int
    name: str


class Place(NamedTuple):
    """What a program says of an operation.

    Attributes:
      shape: of the result.
      path: where in the network it comes from; empty where the program does not know.
    """

    shape: str
    path: str


def self_times(spans: Iterable[Span]) -> Counter[str]:
    """The time of each operation; a moment in which several ran is of the one that began last.

    So a loop does not count what is within it.

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


def places(program: str) -> dict[str, Place]:
    """What a program in HLO text says of its operations, by name.

    >>> places('%add.1 = f32[2]{0} add(%a, %b), metadata={op_name="jit(f)/jvp(ResNet)/stem/add"}')
    {'add.1': Place(shape='f32[2]', path='forward stem/add')}
    """
    found = {}
    for line in program.splitlines():
        if match := re.match(r"\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) \w", line):
            path = re.search(r'op_name="([^"]*)"', line)
            shape = re.sub(r"{.*?}|/\*.*?\*/", "", match[2])
            found[match[1]] = Place(_cut(shape), _path(path[1]) if path else "")
            # A trace of a CPU adds to the name of a call what is called.
            if target := re.search(r'custom_call_target="([^"]*)"', line):
                found[match[1] + target[1]] = found[match[1]]
    return found


def _cut(shape: str) -> str:
    return shape if len(shape) <= 32 else f"{shape[:29]}..."


def _path(name: str) -> str:
    """The place in the network, of the place in the program that JAX gives."""
    name = name.split(";")[0]  # the others were merged with it
    way = "backward " if "transpose(" in name else "forward " if "jvp(" in name else ""
    # Without the functions that were transformed, and the methods that Flax went through.
    return way + "/".join(part for part in name.split("/") if not re.search(r"[(.]", part))


def _report(folder: Path, steps: range, program: str) -> Iterator[str]:
    """What took the time, one operation a line."""
    view = "it can be looked at in XProf or Perfetto"
    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files or not hasattr(jax.profiler, "ProfileData"):
        yield f"the trace is not read by this version of jax; {view}"
        return
    times = _read(jax.profiler.ProfileData.from_file(str(files[-1])), _module(program))
    whole = times.total()
    if not whole:
        yield f"the trace names no operations of this device; {view}"
        return
    nanoseconds = 1e6 * len(steps) * len(jax.devices())  # in a millisecond of each step
    top = times.most_common(TOP)
    rest = whole - sum(time for _, time in top)
    where = places(program)
    shown = [(time, name, where.get(name, Place("", ""))) for name, time in top]
    width = max(len(name) for _, name, _ in shown)
    shape_width = max(len(place.shape) for *_, place in shown)
    yield f"{whole / nanoseconds:10.3f} ms a step in operations, over all threads:"
    for time, name, place in shown:
        row = f"{name:{width}}  {place.shape:{shape_width}}  {place.path}".rstrip()
        yield f"{time / nanoseconds:10.3f} ms {time / whole:6.1%}  {row}"
    yield f"{rest / nanoseconds:10.3f} ms {rest / whole:6.1%}  {len(times) - len(top)} others"


def _read(data: Any, module: str) -> Counter[str]:
    """The times of a program's operations over all devices and threads of a trace."""
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


def _module(program: str) -> str:
    """The name of a program in HLO text."""
    match = re.match(r"HloModule ([^\s,]+)", program)
    return match[1] if match else ""
