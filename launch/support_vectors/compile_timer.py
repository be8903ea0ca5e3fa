"""Measurement of JAX's compilation time."""

import contextlib
import time
from collections.abc import Callable, Iterator

import jax

_EVENTS = "/jax/core/compile/"


@contextlib.contextmanager
def compile_timer() -> Iterator[Callable[[], float]]:
    """Yields a function that returns JAX's seconds of tracing, lowering and compiling so far.

    Nested compilations count once.

    Example:
      >>> with compile_timer() as seconds:
      ...     _ = jax.jit(lambda x: x + 1)(1.0)
      >>> 0 < seconds() < 60
      True
    """
    spans: list[tuple[float, float]] = []

    def record(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if not event.startswith(_EVENTS):
            return
        end = time.perf_counter()
        start = end - duration_secs
        while spans and spans[-1][1] > start:  # nested in this one, or overlapping it
            start = min(start, spans.pop()[0])
        spans.append((start, end))

    jax.monitoring.register_event_duration_secs_listener(record)
    try:
        yield lambda: sum(end - start for start, end in spans)
    finally:
        jax.monitoring.unregister_event_duration_listener(record)
