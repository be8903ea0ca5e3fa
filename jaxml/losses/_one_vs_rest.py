"""Loss of the sigmoid of each logit, for multiclass classification by one binary loss per class."""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.losses._sigmoid import cross_entropy_of_factors
from jaxml.types import Array, Bool, Float, Integer, Num


def one_vs_rest_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Num[Array, "*batch classes"] | Bool[Array, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, " classes"] | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the sum of the binary cross-entropies of each class against the rest.

    .. math::
      \ell = -\sum_c w_c \big(q_c \log \sigma(z_c) + (1 - q_c) \log \sigma(-z_c)\big), \qquad
      q_c = (1 - \epsilon) y_c + \epsilon / \text{classes}

    Args:
      logits: `[..., classes]`, the log-odds of each class.
      labels: `[...]` integers, or `[..., classes]` probabilities, which need not sum to 1.
      label_smoothing: epsilon in [0, 1).
      class_weights: `[classes]`, non-negative; None weights all classes by 1.
      where: mask over examples.

    Returns:
      `[...]`, in nats.

    Example:
      >>> one_vs_rest_cross_entropy(jnp.array([1e4, -1e4, 5e3]), jnp.array(0)).tolist()
      5000.0

    Equals timm's `BinaryCrossEntropy`, which divides it by the number of classes, and
    `torch.nn.functional.binary_cross_entropy_with_logits` summed over the classes.

    Reference: Wightman, Touvron, Jégou, "ResNet strikes back", 2021.
    """
    logits, labels = labelling.prepare_classes(
        logits, labels, label_smoothing, class_weights, where
    )
    targets = labelling.class_targets(labels, logits)
    one = labelling.smoothed_and_weighted(targets, label_smoothing, class_weights)
    weights = jnp.ones(logits.shape[-1]) if class_weights is None else class_weights
    zero = jnp.broadcast_to(weights.astype(logits.dtype), logits.shape) - one
    return inputs.keep(cross_entropy_of_factors(logits, zero, one).sum(axis=-1), where)
