"""Progress of a run on the terminal: a live bar, or plain lines where there is no terminal."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

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


class Display:
    """Prints lines, and shows the progress of a run within `live`.

    Example:
      >>> display = Display(10, 2, console=Console(force_terminal=False))
      >>> with display.live(step=5):
      ...     display.say("halfway")
      halfway
    """

    def __init__(self, num_steps: int, num_epochs: int, *, console: Console | None = None) -> None:
        """Creates a display.

        Args:
          num_steps: steps of the whole run.
          num_epochs: epochs of the whole run.
          console: console to print to; None means standard output.
        """
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._num_steps, self._num_epochs = num_steps, num_epochs
        self._last_line = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %  eta"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
            console=self._console,
            refresh_per_second=4,
            disable=not self._console.is_terminal,
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
        where = f"epoch {epoch}/{self._num_epochs}"
        metrics = f"{images_per_second:,.0f} images/s  {describe(means)}"
        if self._task is not None:
            self._bar.update(self._task, completed=step, description=where, metrics=metrics)
        if self._bar.disable and time.monotonic() - self._last_line > QUIET_SECONDS:
            self.say(f"{where}  step {step}/{self._num_steps}  {metrics}")
