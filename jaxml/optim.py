"""Gradient descent: the schedule, the optax transformation, and which parameters decay."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxml.config import OptimConfig
from jaxml.types import PyTree


def decay_mask(params: PyTree) -> PyTree:
    """True for the kernels; biases and the scales and offsets of norms are spared.

    >>> decay_mask({"conv": {"kernel": 0.0, "bias": 0.0}})
    {'conv': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def step_schedule(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """The rate is multiplied by `step_factor` at each of `step_boundaries`."""
    boundaries: dict[int, float] = {}
    for fraction in config.step_boundaries:
        step = round(fraction * num_steps) - warmup_steps
        boundaries[step] = boundaries.get(step, 1.0) * config.step_factor
    return optax.piecewise_constant_schedule(config.learning_rate, boundaries)


def cosine_schedule(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    r"""The rate falls to 0 along half a cosine: `peak * (1 + cos(pi t / T)) / 2`."""
    return optax.cosine_decay_schedule(config.learning_rate, max(num_steps - warmup_steps, 1))


def constant_schedule(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """The rate stays."""
    del warmup_steps, num_steps
    return optax.constant_schedule(config.learning_rate)


SCHEDULES: dict[str, Callable[[OptimConfig, int, int], optax.Schedule]] = {
    "step": step_schedule,
    "cosine": cosine_schedule,
    "constant": constant_schedule,
}


def create_schedule(config: OptimConfig, *, steps_per_epoch: int, num_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      config: its schedule and peak.
      steps_per_epoch: the unit of `warmup_epochs`.
      num_steps: length of the run.

    Returns:
      A linear warm-up from 0, if there is one, then the schedule of that name.

    Example:
      >>> config = OptimConfig(learning_rate=1.0, schedule="step", warmup_epochs=1.0)
      >>> schedule = create_schedule(config, steps_per_epoch=10, num_steps=100)
      >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 49, 50, 75)]
      [0.0, 0.5, 1.0, 1.0, 0.1, 0.01]
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    schedule = SCHEDULES[config.schedule](config, warmup_steps, num_steps)
    if warmup_steps:
        warmup = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [warmup_steps])
    return lambda step: schedule(jnp.asarray(step, jnp.float32))  # optax would mix the types


def create_optimizer(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    r"""Stochastic gradient descent with momentum (heavy ball) and weight decay.

    .. math::
        g \leftarrow \nabla L + \lambda w, \qquad
        v \leftarrow \mu v + g, \qquad
        w \leftarrow w - \eta_t v

    The decay goes through the momentum, as in the paper and in `torch.optim.SGD`; it equals a
    penalty of lambda/2 |w|^2.

    Args:
      config: momentum, nesterov and weight_decay.
      schedule: the learning rate of each step.

    Returns:
      The optax transformation.
    """
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        optax.sgd(schedule, config.momentum, nesterov=config.nesterov),
    )
