"""Optimizers and transformations that optax lacks, or whose norms underflow there."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxml.layers import _norms
from jaxml.regularizers import is_kernel
from jaxml.types import Array, PyTree

Mask = PyTree | Callable[[PyTree], PyTree]


def decay_mask(params: PyTree) -> PyTree:
    """Selects the kernels for weight decay, as opposed to biases and the parameters of norms.

    >>> decay_mask({"conv": {"kernel": 0.0, "bias": 0.0}})
    {'conv': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(is_kernel, params)


def normalize() -> optax.GradientTransformation:
    """Divides updates by their global Euclidean norm; zero updates stay zero.

    In `optax.contrib.normalize` the norm can underflow and overflow, and zero updates become NaN.
    """
    return optax.stateless(lambda updates, _params: _norms.tree_direction(updates))


def scale_by_trust_ratio(*, trust_coefficient: float = 1.0) -> optax.GradientTransformation:
    r"""Scales the update of each array to a norm proportional to that of the parameters.

    .. math:: u \leftarrow c\, |w| \frac{u}{|u|}

    An update is left unchanged where either norm is 0. In `optax.scale_by_trust_ratio` a norm can
    be 0 because its square underflows; there, `min_norm` and `eps` guard against small norms.

    Args:
      trust_coefficient: the ratio :math:`c` of the norms.
    """

    def scale(u: Array, w: Array) -> Array:
        norm = _norms.tree_norm(w)
        scaled = (trust_coefficient * norm * _norms.direction(u)).astype(u.dtype)
        return jnp.where((norm == 0) | jnp.all(u == 0), u, scaled)

    return optax.stateless(lambda updates, params: jax.tree.map(scale, updates, params))


def averaged_momentum(
    learning_rate: optax.ScalarOrSchedule, *, decay: float = 0.9
) -> optax.GradientTransformation:
    r"""Descends along a bias-corrected exponential moving average of the gradients.

    .. math:: v_t = \mu v_{t-1} + (1 - \mu) g_t, \qquad
        w \leftarrow w - \eta_t \frac{v_t}{1 - \mu^t}

    After the first steps this equals `optax.sgd` with momentum and the learning rate
    :math:`(1 - \mu) \eta`.

    Args:
      learning_rate: a number or schedule :math:`\eta`.
      decay: the decay rate :math:`\mu`.
    """
    return optax.chain(optax.ema(decay, debias=True), optax.scale_by_learning_rate(learning_rate))


def lars(
    learning_rate: optax.ScalarOrSchedule,
    *,
    weight_decay: float = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    r"""Builds the LARS optimizer: SGD with a learning rate scaled for each array.

    .. math::
        v \leftarrow \mu v + \eta_t\, c \frac{|w|}{|g + \lambda w|} (g + \lambda w), \qquad
        w \leftarrow w - v

    This is `optax.lars` with the `scale_by_trust_ratio` of this package, whose norms do not
    underflow, in place of its `eps`.

    Reference: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=weight_decay_mask),
        optax.masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient), trust_ratio_mask),
        optax.scale_by_learning_rate(learning_rate),
        optax.trace(momentum, nesterov=nesterov),
    )


def lamb(
    learning_rate: optax.ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    mask: Mask | None = None,
) -> optax.GradientTransformation:
    r"""Builds the LAMB optimizer: AdamW with updates scaled by :math:`|w| / |u|` for each array.

    This is `optax.lamb` with the `scale_by_trust_ratio` of this package, whose norms do not
    underflow.

    Reference: You et al., "Large Batch Optimization for Deep Learning", 2020, algorithm 2.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps, eps_root),
        optax.add_decayed_weights(weight_decay, mask=mask),
        scale_by_trust_ratio(),
        optax.scale_by_learning_rate(learning_rate),
    )
