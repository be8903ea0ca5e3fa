"""Builds optimizers, schedules and averagings from their configs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import keystr

from jaxml.config import LARGEST_INT, AverageConfig, OptimConfig
from jaxml.errors import InputError
from jaxml.optim._averaging import (
    Averaging,
    ema_averaging,
    lookahead_averaging,
    no_averaging,
    swa_averaging,
)
from jaxml.optim._clipping import adaptive_grad_clip, clip_by_global_norm
from jaxml.optim._freezing import is_frozen
from jaxml.optim._optimizers import averaged_momentum, decay_mask, lamb, lars, normalize
from jaxml.optim._schedules import inverse_sqrt_schedule, inverse_time_schedule
from jaxml.regularizers import is_kernel
from jaxml.types import Array, PyTree

Transformation = optax.GradientTransformation


def _muon(config: OptimConfig, rate: optax.Schedule) -> Transformation:
    """Builds Muon for kernels, as matrices from receptive field to outputs, and AdamW for the rest.

    Gradients of magnitude 1e19 and more must be clipped: their squares overflow, and the update is
    0.
    """

    def dimensions(params: PyTree) -> PyTree:
        def of_kernel(path: Any, leaf: Array) -> optax.contrib.MuonDimensionNumbers | None:
            if not is_kernel(path, leaf) or leaf.ndim < 2:
                return None
            return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

        return jax.tree_util.tree_map_with_path(of_kernel, params)

    return optax.contrib.muon(
        rate,
        beta=config.momentum,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        weight_decay_mask=decay_mask,
        nesterov=config.nesterov,
        adam_b1=config.beta1,
        adam_b2=config.beta2,
        muon_weight_dimension_numbers=dimensions,
    )


# As in Keras and PyTorch, the epsilon of rmsprop is outside the square root; as in PyTorch, the sum
# of adagrad starts at 0.
OPTIMIZERS: dict[str, Callable[[OptimConfig, optax.Schedule], Transformation]] = {
    "sgd": lambda c, rate: optax.sgd(rate, c.momentum, nesterov=c.nesterov),
    "averaged_momentum": lambda c, rate: averaged_momentum(rate, decay=c.momentum),
    "rmsprop": lambda c, rate: optax.rmsprop(rate, c.beta2, c.epsilon, eps_in_sqrt=False),
    "adam": lambda c, rate: optax.adam(rate, c.beta1, c.beta2, c.epsilon, nesterov=c.nesterov),
    "adamw": lambda c, rate: optax.adamw(
        rate, c.beta1, c.beta2, c.epsilon, weight_decay=c.weight_decay, mask=decay_mask,
        nesterov=c.nesterov,
    ),
    "adagrad": lambda c, rate: optax.adagrad(rate, initial_accumulator_value=0.0, eps=c.epsilon),
    "lars": lambda c, rate: lars(
        rate, weight_decay=c.weight_decay, weight_decay_mask=decay_mask,
        trust_ratio_mask=decay_mask, momentum=c.momentum, nesterov=c.nesterov,
    ),
    "lamb": lambda c, rate: lamb(
        rate, c.beta1, c.beta2, c.epsilon, weight_decay=c.weight_decay, mask=decay_mask
    ),
    "muon": _muon,
}  # fmt: skip
_WITH_NESTEROV = {"sgd", "adam", "adamw", "lars", "muon"}
_WITH_DECAY = {"adamw", "lars", "lamb", "muon"}


def create_optimizer(
    config: OptimConfig, schedule: optax.Schedule, *, frozen: str | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Builds an optimizer from its config.

    Gradients are clipped, and :math:`\lambda w` is added to them if the optimizer has no weight
    decay of its own. The updates of frozen parameters are 0. With a `sharpness_radius`, `update`
    requires the gradient function as `grad_fn`; see `optax.contrib.sam` in opaque mode.

    Args:
      config: the config.
      schedule: the learning rate at each step of the run.
      frozen: the pattern of `is_frozen` for the paths of frozen parameters.

    Raises:
      InputError: `nesterov` is set for an optimizer without it.
    """
    if config.nesterov and config.name not in _WITH_NESTEROV:
        raise InputError(
            f"config.optim.nesterov must be false unless config.optim.name is one of "
            f"{', '.join(sorted(_WITH_NESTEROV))}, got true with {config.name}"
        )
    clips = [
        (config.clip_value, optax.clip),
        (config.clip_norm, clip_by_global_norm),
        (config.clip_adaptive, adaptive_grad_clip),
    ]
    parts = [clip(limit) for limit, clip in clips if limit is not None]
    if config.name not in _WITH_DECAY:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=decay_mask))
    every = config.accumulate_steps
    # The optimizer counts updates, the schedule counts steps.
    parts.append(OPTIMIZERS[config.name](config, lambda count: schedule(count * every)))
    optimizer: Transformation = optax.chain(*parts)
    if every > 1:
        optimizer = optax.MultiSteps(optimizer, every).gradient_transformation()
    if frozen:
        optimizer = _partition(optimizer, frozen)
    if config.sharpness_radius is not None:
        ascent = optax.chain(normalize(), optax.sgd(config.sharpness_radius))
        optimizer = optax.contrib.sam(optimizer, ascent, opaque_mode=True)
    whole = optax.with_extra_args_support(optimizer)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            return whole.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(whole.init, update)


def _partition(optimizer: Transformation, frozen: str) -> Transformation:
    def label(path: Any, _: Any) -> str:
        return (
            "frozen" if is_frozen(frozen, keystr(path, simple=True, separator="/")) else "trained"
        )

    def labels(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(label, params)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def _step(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    scales: dict[int, float] = {}  # boundaries may fall on the same step
    for fraction in config.step_boundaries:
        boundary = round(fraction * num_steps) - warmup_steps
        scales[boundary] = scales.get(boundary, 1.0) * config.step_factor
    return optax.piecewise_constant_schedule(config.learning_rate, scales)


def _exponential(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    if not config.end_factor:
        raise InputError(
            "config.optim.end_factor must be > 0 with the exponential schedule, got 0.0"
        )
    length = max(num_steps - warmup_steps, 1)
    return optax.exponential_decay(config.learning_rate, length, config.end_factor)


def _one_cycle(config: OptimConfig, warmup_steps: int, num_steps: int) -> optax.Schedule:
    """Rises during the warm-up, or for 30 % of the run if there is none, and then falls."""
    if warmup_steps >= num_steps:
        raise InputError(
            f"config.optim.warmup_epochs must end before the run with the one_cycle schedule, got "
            f"{config.warmup_epochs}, which is {warmup_steps} of {num_steps} steps"
        )
    rise = warmup_steps or max(round(0.3 * num_steps), 1)
    # optax rounds the boundary down to a step.
    fraction = (rise + 0.5) / num_steps
    return optax.cosine_onecycle_schedule(num_steps, config.learning_rate, pct_start=fraction)


# Functions `(config, warm-up steps, steps of the run) -> schedule after the warm-up`.
SCHEDULES: dict[str, Callable[[OptimConfig, int, int], optax.Schedule]] = {
    "step": _step,
    "cosine": lambda c, warmup, steps: optax.cosine_decay_schedule(
        c.learning_rate, max(steps - warmup, 1), c.end_factor
    ),
    "constant": lambda c, _warmup, _steps: optax.constant_schedule(c.learning_rate),
    "exponential": _exponential,
    "polynomial": lambda c, warmup, steps: optax.polynomial_schedule(
        c.learning_rate, c.learning_rate * c.end_factor, c.power, max(steps - warmup, 1)
    ),
    "inverse_sqrt": lambda c, warmup, _steps: inverse_sqrt_schedule(
        c.learning_rate, max(warmup, 1)
    ),
    "inverse_time": lambda c, warmup, _steps: inverse_time_schedule(
        c.learning_rate, max(warmup, 1)
    ),
    "one_cycle": _one_cycle,
}


def create_schedule(config: OptimConfig, *, steps_per_epoch: int, num_steps: int) -> optax.Schedule:
    """Builds a learning rate schedule from its config: a linear warm-up, then the named schedule.

    Args:
      config: the config.
      steps_per_epoch: the unit of `warmup_epochs`.
      num_steps: the number of steps of the run.

    Raises:
      InputError: a setting does not suit the schedule.

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
    if warmup_steps and config.schedule != "one_cycle":
        warmup = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [warmup_steps])

    def rate(step: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers with floats
            return schedule(jnp.asarray(step, jnp.float32))

    return rate


def scale_learning_rate(config: OptimConfig, batch_size: int) -> OptimConfig:
    r"""Scales the learning rate linearly with the batch size, if the config has a base batch size.

    .. math:: \eta = \eta_0 \, \frac{B k}{B_0}

    for the batch size :math:`B`, `accumulate_steps` :math:`k` and `base_batch_size` :math:`B_0`.

    >>> config = OptimConfig(learning_rate=0.1, base_batch_size=256)
    >>> scale_learning_rate(config, 1024).learning_rate
    0.4

    Reference: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.1.
    """
    if config.base_batch_size is None:
        return config
    scale = batch_size * config.accumulate_steps / config.base_batch_size
    return dataclasses.replace(config, learning_rate=config.learning_rate * scale)


def create_averaging(
    config: AverageConfig, *, steps_per_epoch: int, num_steps: int, steps_per_update: int = 1
) -> Averaging:
    """Builds an averaging from its config.

    Args:
      config: the config.
      steps_per_epoch: the period of SWA.
      num_steps: the number of steps of the run.
      steps_per_update: the number of micro-batches accumulated per update; `sync_period` counts
        updates.

    Raises:
      InputError: Lookahead would not synchronize within the run.
    """
    if config.name == "ema":
        return ema_averaging(config.decay)
    if config.name == "swa":
        return swa_averaging(round(config.start * num_steps), steps_per_epoch)
    if config.name == "lookahead":
        period = config.sync_period * steps_per_update
        if period > num_steps:
            updates = num_steps // steps_per_update
            raise InputError(
                f"config.average.sync_period must be at most the {updates} updates of the run, "
                f"got {config.sync_period}"
            )
        return lookahead_averaging(period, config.slow_step_size)
    return no_averaging()
