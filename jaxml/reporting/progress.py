"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 30.0  # the longest silence within an epoch where there is no bar


HEADLINES = ("accuracy", "rmse")  # what a run is judged by, whichever its metrics have


def headline(means: Mapping[str, float]) -> str:
    """The name of the figure that a run is judged by.

    >>> headline({"loss": 0.5, "accuracy": 0.75})
    'accuracy'
    """
    return next(name for name in HEADLINES if name in means)


def describe(means: Mapping[str, float]) -> str:
    """The loss and the headline.

    >>> describe({"loss": 0.5, "accuracy": 0.75})
    'loss 0.5000 accuracy 75.00%'
    >>> describe({"loss": 9.0, "rmse": 3.0})
    'loss 9.0000 rmse 3.0000'
    """
    name = headline(means)
    value = f"{means[name]:.2%}" if name == "accuracy" else f"{means[name]:.4f}"
    return f"loss {means['loss']:.4f} {name} {value}"


class Display:
    """Shows how far a run is.

    Example:
      >>> with Display(10, 2, console=Console(force_terminal=False)) as display:
      ...     display.say("half of it")
      half of it
    """

    def __init__(self, num_steps: int, num_epochs: int, *, console: Console | None = None) -> None:
        """A display for a run of a number of steps and epochs.

        Args:
          num_steps: of the whole run.
          num_epochs: of the whole run.
          console: where to print; None means standard output.
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
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            refresh_per_second=4,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, markup=False)
        self._last_line = time.monotonic()

    def begin(self, step: int) -> None:
        """The run begins, or goes on, after a number of steps."""
        self._task = self._bar.add_task("", total=self._num_steps, completed=step, figures="")

    def update(
        self, step: int, epoch: int, means: Mapping[str, float], *, images_per_second: float
    ) -> None:
        """Some more steps were taken; the means are over the epoch so far."""
        where = f"epoch {epoch}/{self._num_epochs}"
        figures = f"{images_per_second:,.0f} images/s  {describe(means)}"
        if self._task is not None:
            self._bar.update(self._task, completed=step, description=where, figures=figures)
        if self._bar.disable and time.monotonic() - self._last_line > QUIET_SECONDS:
            self.say(f"{where}  step {step}/{self._num_steps}  {figures}")
