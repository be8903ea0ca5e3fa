"""Averages of the parameters over the steps, together with the statistics of batch norm.

Each is an `Averaging`: what is remembered beside the parameters, how a step changes it, and what is
evaluated in the place of the parameters.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxml.config import AverageConfig
from jaxml.errors import InputError
from jaxml.types import Array, PyTree


class Average(struct.PyTreeNode):
    """What an averaging remembers.

    Attributes:
      count: how many values went in, int32.
      variables: the average of the parameters and the statistics, a tree like theirs.
    """

    count: Array
    variables: PyTree


class Averaging(NamedTuple):
    """Three functions; `variables` are the parameters and the statistics of the network.

    Attributes:
      init: `(variables) -> average` before the first step.
      update: `(average, step, variables) -> (average, variables)` after a step; `step` counts from
        1. Only lookahead changes the variables.
      value: `(average, variables) -> variables` that are evaluated.
      reestimates: whether the statistics of the value have to be taken anew from the data.
    """

    init: Callable[[PyTree], Average]
    update: Callable[[Average, Array, PyTree], tuple[Average, PyTree]]
    value: Callable[[Average, PyTree], PyTree]
    reestimates: bool = False


def none() -> Averaging:
    """The parameters themselves."""
    return Averaging(
        init=lambda _: Average(jnp.zeros((), jnp.int32), None),
        update=lambda average, _, variables: (average, variables),
        value=lambda _, variables: variables,
    )


def ema(*, decay: float) -> Averaging:
    r"""Exponential moving average, without the bias of its start.

    .. math:: a_t = d\, a_{t-1} + (1 - d)\, w_t, \quad a_0 = 0, \qquad
        \hat w_t = a_t / (1 - d^t)

    Args:
      decay: d in [0, 1), the weight of the past.

    Raises:
      ValueError: another decay.

    Example:
      >>> averaging = ema(decay=0.9)
      >>> average = averaging.init(jnp.array(0.0))
      >>> average, _ = averaging.update(average, jnp.array(1), jnp.array(5.0))
      >>> round(float(averaging.value(average, jnp.array(5.0))), 5)
      5.0

    Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the
    correction is that of Kingma, Ba, "Adam", 2015, section 3.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay: at least 0 and below 1, not {decay}")
    log_decay = math.log(decay) if decay else -math.inf

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        del step
        mixed = _mix(average.variables, variables, 1 - decay)
        return Average(average.count + 1, mixed), variables

    def value(average: Average, variables: PyTree) -> PyTree:
        # 1 - d^t has no digits left in float32 where d is close to 1 and t small.
        correction = -jnp.expm1(average.count.astype(jnp.float32) * log_decay)
        return jax.tree.map(
            lambda mean, now: jnp.where(
                average.count > 0, mean / correction.astype(mean.dtype), now
            ),
            average.variables,
            variables,
        )

    return Averaging(_zeros, update, value)


def swa(*, start: int, every: int) -> Averaging:
    r"""Stochastic weight averaging: the plain mean of the parameters at regular moments.

    .. math:: \bar w = \frac1n \sum_{i=1}^{n} w_{t_i}

    The mean of the statistics of batch norm is not that of the mean network, so they have to be
    taken anew from the data.

    Args:
      start: no step before this one counts.
      every: steps between the values that are averaged, at least 1.

    Raises:
      ValueError: another `every`.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    2018, algorithm 1; `torch.optim.swa_utils`.
    """
    _check_every(every)

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        chosen = (step >= start) & (step % every == 0)
        count = average.count + chosen.astype(jnp.int32)
        weight = chosen.astype(jnp.float32) / jnp.maximum(count, 1).astype(jnp.float32)
        return Average(count, _mix(average.variables, variables, weight)), variables

    def value(average: Average, variables: PyTree) -> PyTree:
        return jax.tree.map(
            lambda mean, now: jnp.where(average.count > 0, mean, now), average.variables, variables
        )

    return Averaging(_zeros, update, value, reestimates=True)


def lookahead(*, every: int, rate: float) -> Averaging:
    r"""Slow parameters that move towards the fast ones now and then, and take them back.

    .. math:: s \leftarrow s + \alpha (w - s), \qquad w \leftarrow s
        \qquad \text{after every } k \text{ steps}

    The slow parameters are evaluated; the statistics of batch norm stay those of the fast ones.

    Args:
      every: k, at least 1.
      rate: alpha in (0, 1].

    Raises:
      ValueError: another `every` or rate.

    Source: Zhang, Lucas, Hinton, Ba, "Lookahead Optimizer: k steps forward, 1 step back", 2019,
    algorithm 1.
    """
    _check_every(every)
    if not 0 < rate <= 1:
        raise ValueError(f"rate: above 0 and at most 1, not {rate}")

    def update(average: Average, step: Array, variables: PyTree) -> tuple[Average, PyTree]:
        meets = step % every == 0
        weight = jnp.where(meets, jnp.float32(rate), jnp.float32(0))
        slow = _mix(average.variables, variables["params"], weight)
        fast = jax.tree.map(lambda s, w: jnp.where(meets, s, w), slow, variables["params"])
        count = average.count + meets.astype(jnp.int32)
        return Average(count, slow), {**variables, "params": fast}

    return Averaging(
        init=lambda variables: Average(
            jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, variables["params"])
        ),
        update=update,
        value=lambda average, variables: {**variables, "params": average.variables},
    )


def create_averaging(
    config: AverageConfig, *, steps_per_epoch: int, num_steps: int, steps_per_update: int = 1
) -> Averaging:
    """The averaging of that name.

    Args:
      config: its name and settings.
      steps_per_epoch: SWA averages at the end of epochs.
      num_steps: length of the run.
      steps_per_update: how many steps accumulate gradients for one change of the parameters;
        lookahead counts these changes.

    Raises:
      InputError: lookahead would not meet within the run.
    """
    if config.name == "ema":
        return ema(decay=config.decay)
    if config.name == "swa":
        return swa(start=round(config.start * num_steps), every=steps_per_epoch)
    if config.name == "lookahead":
        every = config.sync_period * steps_per_update
        if every > num_steps:
            updates = num_steps // steps_per_update
            raise InputError(
                f"config.average.sync_period must be at most the {updates} updates of the run, "
                f"got {config.sync_period}"
            )
        return lookahead(every=every, rate=config.slow_step_size)
    return none()


def _check_every(every: int) -> None:
    if every < 1:
        raise ValueError(f"every: at least 1, not {every}")


def _zeros(variables: PyTree) -> Average:
    return Average(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, variables))


def _mix(past: PyTree, now: PyTree, weight: Array | float) -> PyTree:
    return jax.tree.map(lambda a, w: a + (w - a) * jnp.asarray(weight, a.dtype), past, now)
