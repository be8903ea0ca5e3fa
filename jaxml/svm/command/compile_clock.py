"""How long JAX compiles."""

import time
from types import TracebackType
from typing import Self

import jax

_EVENTS = "/jax/core/compile/"


class CompileClock:
    """Measures the time that is spent on tracing, lowering and compiling while it is entered.

    What is compiled inside of something else that is compiled counts once.

    Example:
      >>> with CompileClock() as clock:
      ...     _ = jax.jit(lambda x: x + 1)(1.0)
      >>> 0 < clock.seconds < 60
      True
    """

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        jax.monitoring.unregister_event_duration_listener(self._note)

    @property
    def seconds(self) -> float:
        """So far."""
        return sum(end - start for start, end in self._spans)

    def _note(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if not event.startswith(_EVENTS):
            return
        end = time.perf_counter()
        start = end - duration_secs
        while self._spans and self._spans[-1][1] > start:  # within this one, or begun before it
            start = min(start, self._spans.pop()[0])
        self._spans.append((start, end))
