"""Optimality conditions of dual problems, for NumPy and JAX arrays."""

from typing import Any, NamedTuple


class Variables(NamedTuple):
    """Variables of dual problems or of their working sets, `[..., variables]` each.

    Attributes:
      value: From 0 to the upper bound.
      score: Minus the sign times the gradient.
      sign: -1 or 1.
      upper: The upper bounds; 0 where there is no variable.
    """

    value: Any
    score: Any
    sign: Any
    upper: Any

    @property
    def xp(self) -> Any:
        """The array namespace, `numpy` or `jax.numpy`."""
        return self.value.__array_namespace__()

    def up(self) -> Any:
        """The scores of I_up, which can move along their sign; minus infinity for others."""
        room = self.xp.where(self.sign > 0, self.value < self.upper, self.value > 0)
        return self.xp.where(room, self.score, -self.xp.inf)

    def low(self) -> Any:
        """The scores of I_low, which can move against their sign; infinity for others."""
        room = self.xp.where(self.sign > 0, self.value > 0, self.value < self.upper)
        return self.xp.where(room, self.score, self.xp.inf)

    def constraints(self, two: bool) -> list[Any]:
        """The members of each equality constraint: all variables, or those of either sign."""
        return [self.sign > 0, self.sign < 0] if two else [self.sign != 0]


def extremes(variables: Variables, member: Any = True) -> tuple[Any, Any]:
    """Returns the largest score of I_up and the smallest of I_low within a constraint."""
    xp = variables.xp
    high = xp.where(member, variables.up(), -xp.inf).max(-1)
    return high, xp.where(member, variables.low(), xp.inf).min(-1)


def threshold(variables: Variables, member: Any = True) -> Any:
    """Returns the score that separates I_up from I_low at the optimum, within a constraint.

    It is the mean score of the variables strictly within their bounds. If there are none, it is the
    midpoint of the extreme scores, or the only extreme score if all variables are at one end.
    """
    xp, (value, score, _, upper) = variables.xp, variables
    high, low = extremes(variables, member)
    high, low = xp.where(xp.isinf(high), low, high), xp.where(xp.isinf(low), high, low)
    middle = (high + low) / 2
    free = (value > 0) & (value < upper) & member
    # All of these are close to the midpoint: the sum of the differences keeps its digits.
    excess = xp.where(free, score - middle[..., None], 0).sum(-1)
    return middle + excess / xp.maximum(free.sum(-1), 1).astype(excess.dtype)
