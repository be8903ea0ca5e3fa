"""Divergences between distributions over classes."""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses._softmax import log_probabilities
from jaxml.types import Array, Bool, Float


def kl_divergence(
    logits: Float[Array, "*batch classes"],
    targets: Float[Array, "*batch classes"],
    *,
    from_logits: bool = True,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the Kullback-Leibler divergence of the predictions from the targets.

    .. math::
      D(p \,\|\, q) = \sum_c p_c (\log p_c - \log q_c), \qquad
      q = \mathrm{softmax}(z), \quad 0 \log 0 = 0

    Args:
      logits: unnormalised logits z, or the probabilities q if `from_logits` is False.
      targets: probabilities p, assumed non-negative with a sum of 1.
      from_logits: whether the first argument is logits.
      where: mask over examples.

    Returns:
      `[...]`, in nats. The divergence is infinite where q is 0 and p is not.

    Example:
      >>> targets = jnp.array([0.0, 1.0])
      >>> float(kl_divergence(jnp.array([1e4, 0.0]), targets))
      10000.0
      >>> float(kl_divergence(targets, targets, from_logits=False))
      0.0

    `optax.losses.kl_divergence` takes log-probabilities, which are normalised logits, and returns
    the same values. For a class that is impossible in both distributions, this function returns 0
    rather than NaN. The classes are always the last axis, and `where` masks whole examples.

    Reference: Kullback and Leibler, "On information and sufficiency", 1951.
    """
    inputs.check_classes(logits)
    inputs.check_real("targets", targets)
    inputs.check_same_shape("targets", targets, logits.shape, "logits")
    inputs.check_mask(where, logits.shape[:-1])
    logits, p = inputs.at_least_float32(inputs.keep(logits, where), inputs.keep(targets, where))
    # Where p is 0, the argument of the logarithm is replaced by 1 to keep the gradient finite.
    counts = p != 0
    log_p = jnp.log(jnp.where(counts, p, 1.0))
    if from_logits:
        log_q = jnp.where(counts, log_probabilities(logits), 0.0)
    else:
        log_q = jnp.log(jnp.where(counts, logits, 1.0))
    return inputs.keep(jnp.sum(p * (log_p - log_q), axis=-1), where)
