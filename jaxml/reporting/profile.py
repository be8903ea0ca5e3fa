"""Profiles some steps of a run: writes a trace and reports the slowest operations."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxml.errors import one_line
from jaxml.reporting import operations


class Profile:
    """Traces the calls that take the steps of a range.

    A call is profiled as a whole: calls of another length are another program, which may differ in
    the last bits.
    A profiler that fails is reported in one line, and the run continues.
    """

    def __init__(self, steps: range, folder: Path, say: Callable[[str], None]) -> None:
        """Creates a profile; nothing is traced yet.

        Args:
          steps: steps to trace, counted from 0; an empty range traces none.
          folder: folder for the traces, created with the first.
          say: receives the lines of the report.
        """
        self._steps, self._folder, self._say = steps, folder, say
        self._first: int | None = None  # first step of the trace in progress

    def close(self) -> None:
        """Ends a trace that an error or a signal cut short; it is kept but not reported."""
        if self._first is not None:
            self._first = None
            with self._reporting_errors():
                jax.profiler.stop_trace()

    def before_call(self, step: int, count: int, state: Any) -> None:
        """Starts a trace if the next call takes a step of the range.

        Args:
          step: number of steps taken so far.
          count: steps that the call takes.
          state: state before the call; waited for, so that the trace has no earlier steps.
        """
        due = max(step, self._steps.start) < min(step + count, self._steps.stop)
        if self._first is None and due:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # it slows down the run
            with self._reporting_errors():
                jax.profiler.start_trace(self._folder, profiler_options=options)
                self._first = step

    def after_call(self, step: int, state: Any, text: Callable[[], str]) -> None:
        """Ends the trace and reports it, if the call took the last step of the range.

        Args:
          step: number of steps taken so far.
          state: state after the call; waited for before the trace ends.
          text: returns the compiled call as HLO text.
        """
        if self._first is None or step < self._steps.stop:
            return
        jax.block_until_ready(state)
        steps, self._first = range(self._first, step), None
        with self._reporting_errors():
            jax.profiler.stop_trace()
            self._say(f"steps {steps.start} to {steps.stop - 1} are profiled in {self._folder}")
            for line in operations.report(self._folder, steps, text()):
                self._say(line)

    @contextlib.contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            self._say(f"the profiler failed: {one_line(error, 300)}")
