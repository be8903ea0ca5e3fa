r"""Linear support vector machines as functions of their decision values.

For examples $x_i$, targets $t_i$ and costs $c_i$, each problem is

.. math:: \min_{w, b} \tfrac12 \|w\|^2 + \tfrac{\rho}{2} b^2
          + \sum_i \ell(t_i, w^\top x_i + b; c_i)

with one of the losses

    hinge                        c max(0, 1 - t f),  t = -1 or 1
    squared_hinge                c max(0, 1 - t f)^2
    epsilon_insensitive          c max(0, |t - f| - epsilon)
    squared_epsilon_insensitive  c max(0, |t - f| - epsilon)^2

With dual variables $\beta$ such that $w = \sum_i \beta_i x_i$ at the optimum, the dual is

.. math:: \max_\beta \; \sum_i t_i \beta_i - \epsilon |\beta_i| - \tfrac12 \|w(\beta)\|^2
          - \tfrac{1}{2 \rho} (\textstyle\sum_i \beta_i)^2
          \; \left[ - \sum_i \beta_i^2 / (4 c_i) \text{ if squared} \right]

over $|\beta_i| \le c_i$ (unbounded if squared); in classification $\beta_i$ has the sign of $t_i$.
Since $t^2 = 1$ in classification, all four losses depend on the residual $t - f$ alone, through one
piecewise linear function, `Loss.update_dual`.

Arrays are NumPy's in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

LOSSES = ("hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive")


class LinearProblems(NamedTuple):
    """Problems over the same examples.

    The intercept's penalty is rho, the weight of half the squared intercept. With 0 the intercept
    is free, with infinity it is fixed at 0.
    """

    target: np.ndarray  # `[problems, examples]`: -1 and 1 in classification, else real values
    cost: np.ndarray  # `[problems, examples]`: C times the sample weight; 0 excludes an example
    epsilon: np.ndarray  # `[problems]`: half the width of the insensitive tube, or 0
    intercept_penalty: np.ndarray  # `[problems]`

    def to_float64(self) -> "LinearProblems":
        """Converts all arrays to NumPy float64."""
        return LinearProblems(*(np.asarray(array, np.float64) for array in self))

    def losses(self, name: str) -> list["Loss"]:
        """Returns the loss of each problem."""
        rows = zip(self.target, self.cost, self.epsilon.tolist(), strict=True)
        return [Loss(name, *row) for row in rows]


def is_squared(loss: str) -> bool:
    """Returns whether a loss is differentiable."""
    return loss.startswith("squared")


def is_classification(loss: str) -> bool:
    """Returns whether the targets of a loss are -1 and 1."""
    return loss.endswith("hinge")


@dataclass(frozen=True)
class Loss:
    """The loss of one problem: the fields of `LinearProblems`, `[examples]` each."""

    name: str
    target: np.ndarray
    cost: np.ndarray
    epsilon: float = 0.0

    def update_dual(
        self, decision: np.ndarray, dual: np.ndarray, penalty: float
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Computes minus the derivative of the loss, or of its augmented Lagrangian.

        .. math:: \beta_i = \mathrm{clip}(\mathrm{shrink}(\beta_i^0 + \sigma (t_i - f_i),
                  \sigma \epsilon))

        Here f is `decision`, with multipliers `dual` and sigma `penalty`; squared losses have no
        multipliers, and 2 c in place of sigma.

        Returns:
          The dual variables, and minus their derivatives, the curvature of the problem.
        """
        value, slope = self._unclipped(decision, dual, penalty)
        inside = self._clip(value, slope)
        return self._signed(value), np.where(inside, slope, 0)

    def primal(self, decision: np.ndarray) -> float:
        """Returns the sum of the losses."""
        excess = self._signed(self.target - decision)
        if not is_classification(self.name):
            np.abs(excess, out=excess)
            excess -= self.epsilon
        np.maximum(excess, 0, out=excess)
        if is_squared(self.name):
            excess *= excess
        return float(self.cost @ excess)

    def dual(self, variables: np.ndarray) -> float:
        """Returns the terms of the dual objective that do not depend on the examples."""
        value = self.target @ variables
        if self.epsilon:
            value -= self.epsilon * np.abs(variables).sum()
        if is_squared(self.name):
            value -= (variables / self._divisor) @ variables
        return float(value)

    @cached_property
    def _divisor(self) -> np.ndarray:
        """`4 c` of the dual objective; 4 where c = 0, since these dual variables are 0."""
        return 4 * np.where(self.cost > 0, self.cost, 1)

    def feasible(self, variables: np.ndarray, *, is_balanced: bool) -> np.ndarray:
        """Projects dual variables onto their bounds and, if `is_balanced`, onto those of sum 0."""
        high = np.where(self.cost > 0, np.inf, 0.0) if is_squared(self.name) else self.cost
        low = -high
        if is_classification(self.name):
            low, high = np.where(self.target < 0, -high, 0), np.where(self.target > 0, high, 0)
        return _balance(variables, low, high) if is_balanced else np.clip(variables, low, high)

    def line_search(
        self,
        decision: np.ndarray,
        change: np.ndarray,
        dual: np.ndarray,
        penalty: float,
        linear: float,
        quadratic: float,
    ) -> float:
        """Minimizes the problem along a line.

        A unit step changes the decision values by `change`; `linear` and `quadratic` are the
        derivatives of the regularizer. The other arguments are those of `update_dual`.

        Returns:
          The step; 0 if the objective does not decrease along the line.
        """
        start, slope = self._unclipped(decision, dual, penalty)
        along = self._signed(change)
        shift = -slope * along
        curvature = -shift * along
        value = np.empty_like(start)

        def derivatives(step: float) -> tuple[float, float]:
            np.multiply(shift, step, out=value)
            np.add(value, start, out=value)
            inside = self._clip(value, slope)
            first = linear + step * quadratic - float(value @ along)
            return first, quadratic + float(curvature @ inside)

        at_zero, _ = derivatives(0.0)
        return _root(derivatives, at_zero) if at_zero < 0 else 0.0

    def _unclipped(
        self, decision: np.ndarray, dual: np.ndarray, penalty: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Signed dual variables before they are clipped, and minus their derivatives."""
        slope = 2 * self.cost if is_squared(self.name) else np.full(self.cost.shape, penalty)
        value = slope * self._signed(self.target - decision)
        if not is_squared(self.name):
            value += self._signed(dual)
        return value, slope

    def _signed(self, value: np.ndarray) -> np.ndarray:
        """Multiplies by the targets in classification, where dual variables become non-negative."""
        return value * self.target if is_classification(self.name) else value.copy()

    def _clip(self, value: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Clips signed dual variables in place and returns which are strictly within bounds."""
        if is_classification(self.name):
            np.maximum(value, 0, out=value)
        elif self.epsilon:
            tube = self.epsilon * slope
            value -= np.clip(value, -tube, tube)
        if is_squared(self.name):
            return value != 0
        inside = (value != 0) & (np.abs(value) < self.cost)
        np.clip(value, -self.cost, self.cost, out=value)
        return inside


def _balance(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Projects a point onto a box that contains 0 and the hyperplane of sum 0, by bisection."""
    if not (low.any() and high.any()):
        return np.zeros_like(point)
    size = np.abs(point).max(initial=0.0)
    below, above = -2 * size - 1, 2 * size + 1
    shift = 0.0
    for _ in range(100):
        shift = (below + above) / 2
        if np.clip(point - shift, low, high).sum() > 0:
            below = shift
        else:
            above = shift
    found = np.clip(point - shift, low, high)
    free = (low < found) & (found < high)
    if free.any():  # the variables within their bounds share the remainder of the bisection
        found = np.where(free, found - found.sum() / free.sum(), found)
    return np.clip(found, low, high)


def _root(derivatives: Callable[[float], tuple[float, float]], at_zero: float) -> float:
    """Finds the root of an increasing piecewise linear function that is negative at 0.

    Newton's method, with interpolation where it leaves the bracket.
    """
    step, low, below, high, above = 1.0, 0.0, at_zero, np.inf, np.inf
    first = at_zero
    for _ in range(40):
        first, second = derivatives(step)
        if abs(first) <= 1e-3 * -at_zero or not np.isfinite(first):
            break
        if first < 0:
            low, below = step, first
        else:
            high, above = step, first
        newton = step - first / second if second > 0 else np.inf
        if low < newton < high < np.inf or low < newton <= 16 * step < high:
            step = newton
        elif high == np.inf:
            step *= 4
        else:
            step = low + np.clip(below / (below - above), 0.01, 0.99) * (high - low)
    return step if np.isfinite(first) else 0.0
