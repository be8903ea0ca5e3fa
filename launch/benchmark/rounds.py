"""Alternating measurements, so that other load affects all competitors equally."""

from collections.abc import Callable, Iterable

from launch.benchmark.competitors import OURS
from launch.benchmark.worker import WorkerError

Say = Callable[[str], None]


def rounds(
    names: Iterable[str],
    seconds_of: Callable[[str], float],
    count: int,
    *,
    say: Say = print,
    base: str = OURS,
) -> dict[str, list[float]]:
    """Times competitors in rounds of alternating order; returns the seconds of each.

    Reports a competitor that fails and omits it.

    Args:
      names: names of the competitors.
      seconds_of: times a competitor once.
      count: number of rounds.
      say: prints a line.
      base: competitor whose failure ends the measurement.

    Raises:
      WorkerError: `base` failed.

    Example:
      >>> rounds(["jaxml", "flax"], {"jaxml": 1.0, "flax": 2.0}.get, 2)
      {'jaxml': [1.0, 1.0], 'flax': [2.0, 2.0]}
    """
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(count):
        for name in list(taken)[:: -1 if number % 2 else 1]:
            try:
                taken[name].append(seconds_of(name))
            except WorkerError as error:
                if name == base:
                    raise WorkerError(f"{name}: {error}") from None
                say(f"{name}: omitted, {error}")
                del taken[name]
    return taken
