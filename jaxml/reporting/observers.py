"""Receivers of the metrics of a run: event files and trackers. None of them can end the run."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from jaxml.errors import one_line


class Observer:
    """Receives what a run shows of itself; each method does nothing unless it is overridden."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Receives numbers by name."""

    def histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Receives arrays by name."""

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Receives images `[n, height, width, channels]`, uint8."""

    def text(self, step: int, name: str, text: str) -> None:
        """Receives a text in Markdown."""

    def flush(self) -> None:
        """Makes durable what was received."""

    def close(self) -> None:
        """Ends the observation."""


class Observers(Observer):
    """Several observers; one that fails is reported in one line and gets no more calls.

    Example:
      >>> def fail() -> Observer:
      ...     raise OSError("no network")
      >>> observers = Observers({"the tracker": fail}, say=print)
      warning: the tracker failed: no network; the run continues without it
      >>> observers.scalars(1, {"loss": 0.5})
    """

    def __init__(
        self, create: Mapping[str, Callable[[], Observer]], *, say: Callable[[str], None]
    ) -> None:
        """Creates observers.

        Args:
          create: a function for each observer, by its name in messages.
          say: receives a line about each failure.
        """
        self._say = say
        self._observers: dict[str, Observer] = {}
        for name, function in create.items():
            self._attempt(name, partial(self._create, name, function))

    def __bool__(self) -> bool:
        return bool(self._observers)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Passes numbers on."""
        self._each("scalars", step, values)

    def histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Passes arrays on."""
        self._each("histograms", step, arrays)

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Passes images on."""
        self._each("images", step, name, images)

    def text(self, step: int, name: str, text: str) -> None:
        """Passes a text on."""
        self._each("text", step, name, text)

    def flush(self) -> None:
        """Flushes all observers."""
        self._each("flush")

    def close(self) -> None:
        """Closes all observers."""
        self._each("close")

    def _create(self, name: str, function: Callable[[], Observer]) -> None:
        self._observers[name] = function()

    def _each(self, method: str, *arguments: Any) -> None:
        for name, observer in list(self._observers.items()):
            self._attempt(name, partial(getattr(observer, method), *arguments))

    def _attempt(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 (a tracker may raise anything)
            self._observers.pop(name, None)
            what = one_line(error, 300) or type(error).__name__
            self._say(f"warning: {name} failed: {what}; the run continues without it")
