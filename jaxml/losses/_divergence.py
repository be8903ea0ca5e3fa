"""Divergences between distributions over classes."""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses._softmax import log_probabilities
from jaxml.types import Array, Bool, Float


def kullback_leibler(
    logits: Float[Array, "*batch classes"],
    targets: Float[Array, "*batch classes"],
    *,
    from_logits: bool = True,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Kullback-Leibler divergence from the targets to the softmax of the logits.

    .. math::
      D(p \,\|\, q) = \sum_c p_c (\log p_c - \log q_c), \qquad
      q = \mathrm{softmax}(z), \quad 0 \log 0 = 0

    Args:
      logits: `[..., classes]`, floating point, what is learned; probabilities q themselves where
        `from_logits` is False.
      targets: `[..., classes]`, probabilities p, 0 or more with a sum of 1, not checked; for a
        teacher's logits pass their softmax.
      from_logits: whether the first argument is logits.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least, in nats; infinity where a q of 0 meets a p above it, with a
      gradient of minus infinity and second derivatives of infinity and NaN for such a q.

    Raises:
      TypeError: logits or targets that are not floating point, a mask that is not boolean.
      ValueError: targets or a mask of another shape, no classes.

    Example:
      >>> targets = jnp.array([0.0, 1.0])
      >>> float(kullback_leibler(jnp.array([1e4, 0.0]), targets))
      10000.0
      >>> float(kullback_leibler(targets, targets, from_logits=False))
      0.0

    Source: Kullback and Leibler, "On information and sufficiency", 1951. The order of
    `torch.nn.functional.kl_div`, which takes log-probabilities first, and of optax; Keras'
    `kl_divergence` takes the targets first and clips both.
    """
    inputs.check_classes(logits)
    inputs.check_real("targets", targets)
    inputs.check_same_shape("targets", targets, logits.shape, "logits")
    inputs.check_mask(where, logits.shape[:-1])
    logits, p = inputs.at_least_float32(inputs.keep(logits, where), inputs.keep(targets, where))
    # Each logarithm is taken of 1 where p is 0, so that the gradient is finite there as well.
    counts = p != 0
    log_p = jnp.log(jnp.where(counts, p, 1.0))
    if from_logits:
        log_q = jnp.where(counts, log_probabilities(logits), 0.0)
    else:
        log_q = jnp.log(jnp.where(counts, logits, 1.0))
    return inputs.keep(jnp.sum(p * (log_p - log_q), axis=-1), where)
