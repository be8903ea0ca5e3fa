r"""Learning rate schedules that optax lacks.

In the formulas, :math:`\eta` is `peak_value`, the learning rate at step 0, and :math:`w` is
`warmup_steps`, the length (at least 1) of the warm-up that precedes step 0.
"""

import jax.numpy as jnp
import optax


def inverse_sqrt_schedule(peak_value: float, warmup_steps: int = 1) -> optax.Schedule:
    r"""Decays the learning rate with the inverse square root of the step.

    .. math:: \eta_t = \eta \sqrt{\frac{w}{w + t}}

    >>> [round(float(inverse_sqrt_schedule(1.0)(step)), 3) for step in (0, 1, 3)]
    [1.0, 0.707, 0.5]

    Reference: Vaswani et al., "Attention Is All You Need", 2017, section 5.3.
    """
    return lambda step: peak_value * jnp.sqrt(warmup_steps / (warmup_steps + step))


def inverse_time_schedule(peak_value: float, warmup_steps: int = 1) -> optax.Schedule:
    r"""Decays the learning rate with the inverse of the step.

    .. math:: \eta_t = \eta \frac{w}{w + t}

    With a peak of :math:`1 / \lambda` and no warm-up, this is the schedule of Pegasos
    (Shalev-Shwartz, Singer, Srebro, 2007).

    >>> [round(float(inverse_time_schedule(1.0)(step)), 3) for step in (0, 1, 3)]
    [1.0, 0.5, 0.25]

    Reference: Robbins, Monro, "A Stochastic Approximation Method", 1951.
    """
    return lambda step: peak_value * (warmup_steps / (warmup_steps + step))
