"""Claims, their measurements and their checks."""

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# Measurements by name, with one entry for each seed on the first axis.
Measured = Mapping[str, np.ndarray]
VERDICTS = ("holds only when", "holds", "does not hold")
SECTIONS = ("Claim", "Formula", "Measured", "Verdict", "Next")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Size of a study.

    Attributes:
      seeds: seeds of the initial values, the data order and the resampling.
      effort: factor of the number of training steps.
      cifar_dir: folder of CIFAR-10 for the studies of convolutional networks; empty for the digits
        of scikit-learn.

    Example:
      >>> Settings(effort=0.5).steps(300)
      150
    """

    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    effort: float = 1.0
    cifar_dir: str = ""

    def steps(self, number: int) -> int:
        """Returns a number of steps, scaled by the effort."""
        return max(1, round(number * self.effort))

    def constant(self, value: Any) -> np.ndarray:
        """Repeats a measurement that does not depend on the seed for every seed."""
        return np.stack([np.asarray(value)] * len(self.seeds))


def part(found: Measured, kind: str) -> dict[str, np.ndarray]:
    """Returns the measurements of a kind, which are named "kind, label", by label.

    >>> part({"loss, plain": 1, "loss, residual": 2, "time, plain": 3}, "loss")
    {'plain': 1, 'residual': 2}
    """
    start = f"{kind}, "
    return {name.removeprefix(start): x for name, x in found.items() if name.startswith(start)}


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def confidence_interval(values: np.ndarray) -> Interval:
    """Computes the 95 % confidence interval of a mean by Student's t distribution.

    >>> [round(x, 2) for x in confidence_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.48, 4.48]
    """
    from jaxml.reporting.comparison import estimate  # imports SciPy

    found = estimate(np.asarray(values, np.float64).tolist())
    if math.isnan(found.low):  # a single value
        return Interval(found.mean, -math.inf, math.inf)
    return Interval(found.mean, found.low, found.high)


@dataclasses.dataclass(frozen=True)
class Check:
    """A criterion: the confidence interval of an effect over the seeds must lie within bounds.

    Attributes:
      effect: the measured effect, in words.
      values: its value for each seed.
      at_least: lower bound of the interval.
      at_most: upper bound of the interval.

    Example:
      >>> Check("accuracy gained", np.array([0.2, 0.3]), at_least=0.1).holds  # t of one degree
      False
    """

    effect: str
    values: np.ndarray
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def interval(self) -> Interval:
        """The mean of the effect and its confidence interval."""
        return confidence_interval(self.values)

    @property
    def holds(self) -> bool:
        """True if the whole interval lies within the bounds."""
        interval = self.interval
        return bool(self.at_least <= interval.low and interval.high <= self.at_most)


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers of a study; cells are texts, numbers or one value for each seed."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, first: str, columns: Mapping[str, Mapping[str, Any]]) -> "Table":
        """Builds a table from columns that are values by row label.

        Args:
          first: header of the row labels.
          columns: values by row label, by header. The first column names the rows; "-" stands where
            another column has no value.

        Example:
          >>> Table.of("loss", {"time": {"hinge": 3, "squared": 4}, "steps": {"hinge": 5}}).rows
          [('hinge', 3, 5), ('squared', 4, '-')]
        """
        rows = next(iter(columns.values()))
        cells = [(row, *(column.get(row, "-") for column in columns.values())) for row in rows]
        return cls((first, *columns), cells)


@dataclasses.dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
      title: its title.
      draw: returns it as SVG or HTML.
    """

    title: str
    draw: Callable[[], str]


@dataclasses.dataclass(frozen=True)
class Study:
    """An experiment on a claim, whose text is the docstring of its module.

    Attributes:
      measure: `(settings, **conditions) -> measurements`; the conditions default to those of the
        claim, and break it where they are changed.
      checks: criteria, computed from the measurements.
      table: numbers, computed from the measurements.
      panels: figure, computed from the measurements.
      code: functions whose source the page shows.
    """

    measure: Callable[..., Measured]
    checks: Callable[[Measured], Sequence[Check]]
    table: Callable[[Measured], Table]
    panels: Callable[[Measured], Sequence[Panel]]
    code: Sequence[Callable[..., Any]]

    @property
    def text(self) -> dict[str, str]:
        """Title and sections of the docstring of the study's module."""
        return parse(sys.modules[self.measure.__module__].__doc__ or "")

    def run(self, settings: Settings, **conditions: Any) -> "Finding":
        """Measures and checks; `conditions` are passed to `measure`."""
        measured = self.measure(settings, **conditions)
        return Finding(self, measured, tuple(self.checks(measured)))


@dataclasses.dataclass(frozen=True)
class Finding:
    """Result of a study.

    Attributes:
      study: the study.
      measured: its measurements.
      checks: its criteria.
    """

    study: Study
    measured: Measured
    checks: Sequence[Check]

    @property
    def confirmed(self) -> bool:
        """True if all criteria of the verdict are met."""
        return all(check.holds for check in self.checks)

    @property
    def verdict(self) -> str:
        """The verdict on the claim, or that this run does not support it."""
        text = self.study.text["Verdict"]
        return text if self.confirmed else f"not confirmed by this run; expected: {text}"


def parse(docstring: str) -> dict[str, str]:
    r"""Splits a docstring into its title and its sections.

    >>> parse("Title.\n\nClaim: a is b.\n\nNext: try c.")
    {'Title': 'Title', 'Claim': 'a is b.', 'Next': 'try c.'}
    """
    title, _, rest = docstring.strip().partition("\n")
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\s", rest, flags=re.MULTILINE)
    sections = zip(parts[1::2], parts[2::2], strict=True)
    return {"Title": title.rstrip("."), **{name: body.strip() for name, body in sections}}
