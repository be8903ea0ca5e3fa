"""Progress of a run on the terminal: a live bar, or plain lines where there is no terminal."""

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jaxml.io import memory

REFRESHES_PER_SECOND = 4
QUIET_SECONDS = 30.0  # longest time without a line within an epoch if there is no bar
HEADLINES = ("accuracy", "rmse")  # main metrics; each kind of metrics has one of them


def headline(means: Mapping[str, float]) -> str:
    """Returns the name of the main metric.

    >>> headline({"loss": 0.5, "accuracy": 0.75})
    'accuracy'
    """
    return next(name for name in HEADLINES if name in means)


def describe(means: Mapping[str, float]) -> str:
    """Formats the loss and the headline metric.

    >>> describe({"loss": 0.5, "accuracy": 0.75})
    'loss 0.5000 accuracy 75.00%'
    >>> describe({"loss": 9.0, "rmse": 3.0})
    'loss 9.0000 rmse 3.0000'
    """
    name = headline(means)
    value = f"{means[name]:.2%}" if name == "accuracy" else f"{means[name]:.4f}"
    return f"loss {means['loss']:.4f} {name} {value}"


def conclusion(split: str, result: Mapping[str, Any]) -> str:
    """Formats the last line that a run prints.

    >>> conclusion("test", {"test_accuracy": 0.5})
    'test accuracy 0.5000 (50.00%)'
    """
    prefix = f"{split}_"
    metrics = {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}
    name = headline(metrics)
    value = metrics[name]
    return f"{split} {name} {value:.4f}" + (f" ({value:.2%})" if name == "accuracy" else "")


class Display:
    """Prints lines, and shows the progress of a run within `live`.

    Example:
      >>> display = Display(10, 2, console=Console(force_terminal=False))
      >>> with display.live(step=5):
      ...     display.say("halfway")
      halfway
    """

    def __init__(
        self,
        num_steps: int,
        num_epochs: int,
        *,
        learning_rate: Callable[[int], float] | None = None,
        console: Console | None = None,
        quiet: bool = False,
    ) -> None:
        """Creates a display.

        Args:
          num_steps: steps of the whole run.
          num_epochs: epochs of the whole run.
          learning_rate: returns the learning rate of a step, counted from 0; called a few times a
            second at most. None shows none.
          console: console to print to; None means standard output.
          quiet: whether nothing is printed to standard output.
        """
        self._console = console or Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._num_steps, self._num_epochs = num_steps, num_epochs
        self._learning_rate = learning_rate
        self._last_update = -math.inf
        self._last_line = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %  eta"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            disable=not self._console.is_terminal or _is_bare_notebook(self._console),
        )

    @contextlib.contextmanager
    def live(self, step: int) -> Iterator[None]:
        """Shows a progress bar for a run that has taken some steps."""
        self._task = self._bar.add_task("", total=self._num_steps, completed=step, metrics="")
        with self._bar:
            yield

    def say(self, text: str) -> None:
        """Prints a permanent line."""
        self._console.print(text, markup=False)
        self._last_line = time.monotonic()

    def update(
        self, step: int, epoch: int, means: Mapping[str, float], *, images_per_second: float
    ) -> None:
        """Shows the progress after a step.

        Args:
          step: number of steps taken.
          epoch: current epoch, counted from 1.
          means: metrics over the epoch so far.
          images_per_second: throughput over the epoch so far.
        """
        now = time.monotonic()
        silent = self._bar.disable and now - self._last_line > QUIET_SECONDS
        due = not self._bar.disable and now - self._last_update > 1 / REFRESHES_PER_SECOND
        if not (silent or due or step == self._num_steps):
            return
        self._last_update = now
        where = f"epoch {epoch}/{self._num_epochs}  step {step}/{self._num_steps}"
        metrics = f"{images_per_second:,.0f} images/s  {describe(means)}"
        if self._learning_rate:
            metrics += f"  lr {self._learning_rate(step - 1):.3g}"
        if in_use := _device_memory():
            metrics += f"  {memory.in_words(in_use)}"
        if self._task is not None:
            self._bar.update(self._task, completed=step, description=where, metrics=metrics)
        if silent:
            self.say(f"{where}  {metrics}")


def _device_memory() -> int:
    """Returns the bytes in use on the first device, or 0 if it does not report them, as a CPU."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("bytes_in_use", 0)


def _is_bare_notebook(console: Console) -> bool:
    """Returns whether this is a notebook that cannot show a bar, for lack of ipywidgets."""
    return console.is_jupyter and importlib.util.find_spec("ipywidgets") is None
