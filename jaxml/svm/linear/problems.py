r"""Linear support vector machines as functions of their products with the examples.

Each problem is, for examples $x_i$, targets $t_i$ and costs $c_i$,

.. math:: \tfrac12 \|w\|^2 + \tfrac{\rho}{2} b^2 + \sum_i \ell(t_i, w^\top x_i + b; c_i)

with one of the losses

    hinge                        c max(0, 1 - t f),  t = -1 or 1
    squared_hinge                c max(0, 1 - t f)^2
    epsilon_insensitive          c max(0, |t - f| - epsilon)
    squared_epsilon_insensitive  c max(0, |t - f| - epsilon)^2

With $\beta$ for the dual variables, so that $w = \sum_i \beta_i x_i$ at the optimum, the dual is

.. math:: \max_\beta \; \sum_i t_i \beta_i - \epsilon |\beta_i| - \tfrac12 \|w(\beta)\|^2
          - \tfrac{1}{2 \rho} (\textstyle\sum_i \beta_i)^2
          \; \left[ - \sum_i \beta_i^2 / (4 c_i) \text{ where squared} \right]

over $|\beta_i| \le c_i$, unbounded where squared, of the sign of $t_i$ for classes. Since
$t^2 = 1$ for classes, all four losses depend on the residual $t - f$ alone, and one piecewise
linear function of it, `Loss.respond`, gives what a solver needs: for squared losses minus the
loss's derivative, for the others that of the augmented Lagrangian.

Everything here is NumPy in float64: the vectors are short next to the examples, nothing has to be
compiled, and the gap keeps its digits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LOSSES = ("hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive")


class LinearProblems(NamedTuple):
    """Problems over the same examples.

    Attributes:
      target: `[problems, rows]`: -1 and 1, or real values.
      cost: `[problems, rows]`: C times the weight; 0 leaves an example out.
      epsilon: `[problems]`: half the width of the tube of regression; 0 for classes.
      intercept: `[problems]`: rho, the weight of half the square of the intercept; 0 leaves it
        free, infinity fixes it at 0.
    """

    target: np.ndarray
    cost: np.ndarray
    epsilon: np.ndarray
    intercept: np.ndarray

    def in_double(self) -> "LinearProblems":
        """The same in float64, on the host."""
        return LinearProblems(*(np.asarray(part, np.float64) for part in self))

    def losses(self, name: str) -> list["Loss"]:
        """The loss of each problem."""
        return [
            Loss(name, *parts)
            for parts in zip(self.target, self.cost, self.epsilon.tolist(), strict=True)
        ]


def is_squared(loss: str) -> bool:
    """Whether the loss is smooth."""
    return loss.startswith("squared")


def is_of_classes(loss: str) -> bool:
    """Whether the targets are -1 and 1."""
    return loss.endswith("hinge")


class Response(NamedTuple):
    """Dual variables of one problem as a function of its products.

    Attributes:
      dual: `[rows]`.
      slope: `[rows]`: minus the derivative by the product, the curvature of the problem.
    """

    dual: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True)
class Loss:
    """The loss of one problem.

    Attributes:
      name: one of `LOSSES`.
      target: `[rows]`.
      cost: `[rows]`.
      epsilon: half the width of the tube.
    """

    name: str
    target: np.ndarray
    cost: np.ndarray
    epsilon: float = 0.0

    def respond(self, products: np.ndarray, dual: np.ndarray, penalty: float) -> Response:
        r"""Computes the dual variables that products call for.

        .. math:: \beta_i = \mathrm{clip}(\mathrm{shrink}(\beta_i^0 + \sigma (t_i - f_i),
                  \sigma \epsilon))

        Args:
          products: `[rows]`: f, the intercept included.
          dual: `[rows]`: the multipliers of the augmented Lagrangian, unused by squared losses.
          penalty: its sigma; of squared losses it is 2 c.

        Returns:
          The dual variables, feasible up to the equality constraint of a free intercept.
        """
        slope = self._slope(penalty)
        value = slope * self._signed(self.target - products)
        if not is_squared(self.name):
            value += self._signed(dual)
        inside = self._clip(value, slope)
        return Response(self._signed(value), np.where(inside, slope, 0))

    def primal(self, products: np.ndarray) -> float:
        """Sums the losses."""
        excess = self._signed(self.target - products)
        if not is_of_classes(self.name):
            np.abs(excess, out=excess)
            excess -= self.epsilon
        np.maximum(excess, 0, out=excess)
        if is_squared(self.name):
            excess *= excess
        return float(self.cost @ excess)

    def dual(self, variables: np.ndarray) -> float:
        """Evaluates the dual up to the squared norm of the weights."""
        value = self.target @ variables
        if self.epsilon:
            value -= self.epsilon * np.abs(variables).sum()
        if is_squared(self.name):
            cost = 4 * np.where(self.cost > 0, self.cost, 1)
            value -= (variables / cost) @ variables
        return float(value)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest feasible dual variables `[rows]`."""
        high = np.where(self.cost > 0, np.inf, 0.0) if is_squared(self.name) else self.cost
        if not is_of_classes(self.name):
            return -high, high
        return np.where(self.target < 0, -high, 0), np.where(self.target > 0, high, 0)

    def search_line(
        self,
        products: np.ndarray,
        moved: np.ndarray,
        dual: np.ndarray,
        penalty: float,
        linear: float,
        square: float,
        *,
        most: int = 40,
    ) -> float:
        """Finds the step at which the problem is least along a line.

        The derivative is piecewise linear and rises. Newton's method finds its root; where it
        leaves the bracket, interpolation takes its place.

        Args:
          products: `[rows]` at the beginning of the line.
          moved: `[rows]`: products of the direction.
          dual: as of `respond`.
          penalty: as of `respond`.
          linear: derivative of the penalty of the weights at the beginning.
          square: its second derivative.
          most: points that are tried.

        Returns:
          The step; 0 where the objective does not fall along the line.
        """
        slope = self._slope(penalty)
        start = slope * self._signed(self.target - products)
        if not is_squared(self.name):
            start += self._signed(dual)
        along = self._signed(moved)
        change = -slope * along
        curvature = -change * along
        value, inside = np.empty_like(start), np.empty(0)

        def derivatives(step: float) -> tuple[float, float]:
            nonlocal inside
            np.multiply(change, step, out=value)
            np.add(value, start, out=value)
            inside = self._clip(value, slope)
            first = linear + step * square - float(value @ along)
            return first, square + float(curvature @ inside)

        at_zero, _ = derivatives(0.0)
        if not at_zero < 0:
            return 0.0
        step, low, below, high, above = 1.0, 0.0, at_zero, np.inf, np.inf
        first = at_zero
        for _ in range(most):
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

    def _slope(self, penalty: float) -> np.ndarray:
        return 2 * self.cost if is_squared(self.name) else np.full(self.cost.shape, penalty)

    def _signed(self, value: np.ndarray) -> np.ndarray:
        """Into or out of the coordinates in which variables of classes are not negative."""
        return value * self.target if is_of_classes(self.name) else value.copy()

    def _clip(self, value: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Clips variables in place, and returns where they are not at a bound."""
        if is_of_classes(self.name):
            np.maximum(value, 0, out=value)
        elif self.epsilon:
            tube = self.epsilon * slope
            value -= np.clip(value, -tube, tube)
        if is_squared(self.name):
            return value != 0
        inside = (value != 0) & (np.abs(value) < self.cost)
        np.clip(value, -self.cost, self.cost, out=value)
        return inside
