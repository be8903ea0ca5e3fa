"""Learning rates as functions of the step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxml.config import LARGEST_INT, OptimConfig
from jaxml.errors import InputError

Factory = Callable[[OptimConfig, int, int], optax.Schedule]


def constant(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """The rate stays."""
    del warmup_steps, num_steps
    return optax.constant_schedule(config.learning_rate)


def step(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """The rate is multiplied by `step_factor` at each of `step_boundaries`."""
    boundaries: dict[int, float] = {}
    for fraction in config.step_boundaries:
        boundary = round(fraction * num_steps) - warmup_steps
        boundaries[boundary] = boundaries.get(boundary, 1.0) * config.step_factor
    return optax.piecewise_constant_schedule(config.learning_rate, boundaries)


def exponential(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls to a part f of its peak at an even pace: `peak * f^(t / T)`.

    Raises:
      InputError: `end_factor` is 0, which takes for ever.
    """
    if not config.end_factor:
        raise InputError(
            "config.optim.end_factor must be > 0 with the exponential schedule, got 0.0"
        )
    length = max(num_steps - warmup_steps, 1)
    return optax.exponential_decay(config.learning_rate, length, config.end_factor)


def polynomial(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls as a power of the time left: `peak * (f + (1 - f) (1 - t / T)^p)`."""
    end = config.learning_rate * config.end_factor
    length = max(num_steps - warmup_steps, 1)
    return optax.polynomial_schedule(config.learning_rate, end, config.power, length)


def cosine(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls along half a cosine: `peak * (f + (1 - f) (1 + cos(pi t / T)) / 2)`."""
    length = max(num_steps - warmup_steps, 1)
    return optax.cosine_decay_schedule(config.learning_rate, length, config.end_factor)


def inverse_sqrt(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls with the root of the step: `peak * sqrt(w / (w + t))`, w the warm-up.

    Source: Vaswani et al., "Attention Is All You Need", 2017, section 5.3.
    """
    del num_steps
    start = max(warmup_steps, 1)
    return lambda step: config.learning_rate * jnp.sqrt(start / (start + step))


def inverse_time(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls with the inverse of the step: `peak * w / (w + t)`, w the warm-up.

    Without a warm-up w is 1: the first steps have the peak and a half, a third, a quarter of it.

    Source: Robbins and Monro, "A stochastic approximation method", 1951; Pegasos (Shalev-Shwartz,
    Singer, Srebro, 2007) at a peak of one over its penalty's lambda.
    """
    del num_steps
    start = max(warmup_steps, 1)
    return lambda step: config.learning_rate * (start / (start + step))


def one_cycle(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """Half a cosine up from 1/25 of the peak, and half a cosine down to 1/250,000 of it.

    The rise takes the warm-up, or 30 % of the run where there is none, one step at least.

    Raises:
      InputError: a warm-up that leaves no step to fall.

    Source: Smith, Topin, "Super-Convergence", 2018; the figures of `torch`'s OneCycleLR.
    """
    if warmup_steps >= num_steps:
        raise InputError(
            f"config.optim.warmup_epochs must leave steps for the one_cycle schedule to fall, got "
            f"{config.warmup_epochs}: {warmup_steps} of {num_steps} steps"
        )
    rise = warmup_steps or max(round(0.3 * num_steps), 1)
    # As a boundary, optax takes the floor of the product with what is given here.
    share = (rise + 0.5) / num_steps
    return optax.cosine_onecycle_schedule(num_steps, config.learning_rate, pct_start=share)


SCHEDULES: dict[str, Factory] = {
    "step": step,
    "cosine": cosine,
    "constant": constant,
    "exponential": exponential,
    "polynomial": polynomial,
    "inverse_sqrt": inverse_sqrt,
    "inverse_time": inverse_time,
    "one_cycle": one_cycle,
}
RISES_BY_ITSELF = {"one_cycle"}


def create_schedule(config: OptimConfig, *, steps_per_epoch: int, num_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      config: its schedule and peak; what is counted in `accumulate_steps` moves once for so many.
      steps_per_epoch: the unit of `warmup_epochs`.
      num_steps: length of the run.

    Returns:
      A linear warm-up from 0, if there is one, then the schedule of that name.

    Raises:
      InputError: a setting that does not go with the schedule.

    Example:
      >>> config = OptimConfig(learning_rate=1.0, schedule="step", warmup_epochs=1.0)
      >>> schedule = create_schedule(config, steps_per_epoch=10, num_steps=100)
      >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 49, 50, 75)]
      [0.0, 0.5, 1.0, 1.0, 0.1, 0.01]
    """
    if config.warmup_epochs * steps_per_epoch > LARGEST_INT:
        raise InputError(
            f"config.optim.warmup_epochs must be at most {LARGEST_INT} steps, "
            f"got {config.warmup_epochs} epochs of {steps_per_epoch}"
        )
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    schedule = SCHEDULES[config.schedule](config, warmup_steps, num_steps)
    if warmup_steps and config.schedule not in RISES_BY_ITSELF:
        warmup = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [warmup_steps])

    def rate(step: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            return schedule(jnp.asarray(step, jnp.float32))

    return rate
