"""Classifier heads with one signature, `head(features, kernel, bias) -> logits`.

Features are `[..., height, width, channels]`, the bias is `[classes]` or None, and the logits are
`[..., classes]`.
"""

from jaxml.layers._dense import dense
from jaxml.layers._flatten import flatten
from jaxml.layers._global_pool import global_average_pool, global_max_pool
from jaxml.types import Array, Float

Features = Float[Array, "*batch height width channels"]
Kernel = Float[Array, "in classes"]
Bias = Float[Array, " classes"] | None
Logits = Float[Array, "*batch classes"]


def fully_connected_head(features: Features, kernel: Kernel, bias: Bias = None) -> Logits:
    """Applies `dense` to the flattened features.

    The kernel is `[height * width * channels, classes]`.

    >>> import jax.numpy as jnp
    >>> fully_connected_head(jnp.ones((2, 4, 4, 8)), jnp.ones((128, 10))).shape
    (2, 10)

    Reference: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    if features.ndim < 3:
        raise ValueError(
            f"`features` must be [..., height, width, channels], got shape {features.shape}"
        )
    return dense(flatten(features, start=-3), kernel, bias)


def global_average_pool_head(features: Features, kernel: Kernel, bias: Bias = None) -> Logits:
    """Applies `dense` to the global average of each channel, for images of any size.

    The kernel is `[channels, classes]`.

    Reference: Lin, Chen, Yan, "Network In Network", 2014, section 3.2, followed by a dense layer as
    in residual networks.
    """
    return dense(global_average_pool(features), kernel, bias)


def global_max_pool_head(features: Features, kernel: Kernel, bias: Bias = None) -> Logits:
    """Applies `dense` to the global maximum of each channel, for images of any size.

    The kernel is `[channels, classes]`.

    Reference: Oquab et al., "Is object localization for free?", 2015, section 3.
    """
    return dense(global_max_pool(features), kernel, bias)


# Heads by the names of `config.model.head`.
HEADS = {
    "fc": fully_connected_head,
    "gap": global_average_pool_head,
    "gmp": global_max_pool_head,
}
