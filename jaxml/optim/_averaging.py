"""Averages of the parameters and batch statistics over the steps of a run.

An `Averaging` is three pure functions. Their `variables` are a dict with the parameters under
"params" and the running statistics under "batch_stats".
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxml.types import Array, PyTree


class Average(struct.PyTreeNode):
    """The state of an averaging.

    Attributes:
      count: number of averaged values, int32.
      variables: the average of the variables.
    """

    count: Array
    variables: PyTree


class Averaging(NamedTuple):
    """The functions of an averaging.

    Attributes:
      init: `(variables) -> average` before the first step.
      update: `(average, step, variables) -> (average, variables)` after step 1, 2, ...; only
        lookahead changes the variables.
      value: `(average, variables) -> variables` to evaluate.
      reestimates: True if batch statistics of the value must be recomputed from the data.
    """

    init: Callable[[PyTree], Average]
    update: Callable[[Average, Array, PyTree], tuple[Average, PyTree]]
    value: Callable[[Average, PyTree], PyTree]
    reestimates: bool = False


def no_averaging() -> Averaging:
    """Returns an averaging that evaluates the variables themselves."""
    return Averaging(
        init=lambda _: Average(jnp.zeros((), jnp.int32), None),
        update=lambda average, _, variables: (average, variables),
        value=lambda _, variables: variables,
    )


def ema_averaging(decay: float) -> Averaging:
    r"""Averages exponentially, with the bias correction of Adam.

    .. math:: a_t = d\, a_{t-1} + (1 - d)\, w_t, \quad a_0 = 0, \qquad
        \hat w_t = a_t / (1 - d^t)

    This is `optax.ema` applied to variables instead of updates, with an accurate bias correction:
    the float32 difference :math:`1 - d^t` of `optax.ema` cancels for a decay near 1 and small t.

    Args:
      decay: the decay rate :math:`d`, in [0, 1).

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> averaging = ema_averaging(decay=0.9)
      >>> average = averaging.init(jnp.array(0.0))
      >>> average, _ = averaging.update(average, jnp.array(1), jnp.array(5.0))
      >>> round(float(averaging.value(average, jnp.array(5.0))), 5)
      5.0

    Reference: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"`decay` must be >= 0 and < 1, got {decay}")
    log_decay = math.log(decay) if decay else -math.inf

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        del step
        mixed = _interpolate(average.variables, variables, 1 - decay)
        return Average(average.count + 1, mixed), variables

    def value(average: Average, variables: PyTree) -> PyTree:
        # 1 - d^t cancels in float32 where d is close to 1 and t is small.
        correction = -jnp.expm1(average.count.astype(jnp.float32) * log_decay)
        return jax.tree.map(
            lambda mean, now: jnp.where(
                average.count > 0, mean / correction.astype(mean.dtype), now
            ),
            average.variables,
            variables,
        )

    return Averaging(_zeros, update, value)


def swa_averaging(start: int, period: int) -> Averaging:
    r"""Averages the variables with equal weights at regular steps (SWA).

    .. math:: \bar w = \frac1n \sum_{i=1}^{n} w_{t_i}

    The average of batch statistics is not the statistics of the averaged network, so they must be
    recomputed from the data.

    Args:
      start: the first step that may be averaged.
      period: the number of steps between averaged steps, at least 1.

    Raises:
      ValueError: `period` is less than 1.

    Reference: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    2018, algorithm 1; equal to `torch.optim.swa_utils.AveragedModel`.
    """
    _check_positive("period", period)

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        chosen = (step >= start) & (step % period == 0)
        count = average.count + chosen.astype(jnp.int32)
        weight = chosen.astype(jnp.float32) / jnp.maximum(count, 1).astype(jnp.float32)
        return Average(count, _interpolate(average.variables, variables, weight)), variables

    def value(average: Average, variables: PyTree) -> PyTree:
        return jax.tree.map(
            lambda mean, now: jnp.where(average.count > 0, mean, now), average.variables, variables
        )

    return Averaging(_zeros, update, value, reestimates=True)


def lookahead_averaging(sync_period: int, slow_step_size: float) -> Averaging:
    r"""Interpolates slow weights toward the fast weights every k steps and resets the fast ones.

    .. math:: s \leftarrow s + \alpha (w - s), \qquad w \leftarrow s
        \qquad \text{after every } k \text{ steps}

    The slow weights are evaluated, with the batch statistics of the fast ones. The arguments and
    steps are those of `optax.lookahead`, which requires parameters of the type
    `optax.LookaheadParams`; here the parameters are the fast weights, as without lookahead.

    Args:
      sync_period: the period :math:`k`, at least 1.
      slow_step_size: the step size :math:`\alpha` in (0, 1].

    Raises:
      ValueError: an argument is out of range.

    Reference: Zhang, Lucas, Hinton, Ba, "Lookahead Optimizer: k steps forward, 1 step back", 2019,
    algorithm 1.
    """
    _check_positive("sync_period", sync_period)
    if not 0 < slow_step_size <= 1:
        raise ValueError(f"`slow_step_size` must be > 0 and <= 1, got {slow_step_size}")

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        syncs = step % sync_period == 0
        weight = jnp.where(syncs, jnp.float32(slow_step_size), jnp.float32(0))
        slow = _interpolate(average.variables, variables["params"], weight)
        fast = jax.tree.map(lambda s, w: jnp.where(syncs, s, w), slow, variables["params"])
        count = average.count + syncs.astype(jnp.int32)
        return Average(count, slow), {**variables, "params": fast}

    return Averaging(
        init=lambda variables: Average(
            jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, variables["params"])
        ),
        update=update,
        value=lambda average, variables: {**variables, "params": average.variables},
    )


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"`{name}` must be >= 1, got {value}")


def _zeros(variables: PyTree) -> Average:
    return Average(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, variables))


def _interpolate(past: PyTree, now: PyTree, weight: Array | float) -> PyTree:
    """Interpolates linearly from the past to the present values, in the dtype of the past."""
    return jax.tree.map(lambda a, w: a + (w - a) * jnp.asarray(weight, a.dtype), past, now)
