"""Classifier heads: three ways from features to logits, with one signature.

`head(features, kernel, bias) -> logits`, where only the kernel's first size differs.
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
    """Every pixel of every channel has a weight: `dense` of `flatten`.

    Args:
      features: `[..., height, width, channels]`.
      kernel: `[height * width * channels, classes]`, rows in the order height, width, channels.
      bias: `[classes]` or None.

    Returns:
      `[..., classes]` in the features' dtype.

    Raises:
      ValueError: shapes that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> fully_connected_head(jnp.ones((2, 4, 4, 8)), jnp.ones((128, 10))).shape
      (2, 10)

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    _check_images(features)
    return dense(flatten(features, start=-3), kernel, bias)


def global_average_pool_head(features: Features, kernel: Kernel, bias: Bias = None) -> Logits:
    """Every channel has a weight, that of its mean: `dense` of `global_average_pool`.

    Args:
      features: `[..., height, width, channels]`, images of any size.
      kernel: `[channels, classes]`.
      bias: `[classes]` or None.

    Returns:
      `[..., classes]` in the features' dtype.

    Raises:
      ValueError: shapes that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> global_average_pool_head(jnp.ones((2, 4, 4, 8)), jnp.ones((8, 10))).shape
      (2, 10)

    Source: Lin, Chen, Yan, "Network In Network", 2014, section 3.2, with a dense layer after it as
    in residual networks.
    """
    return dense(global_average_pool(features), kernel, bias)


def global_max_pool_head(features: Features, kernel: Kernel, bias: Bias = None) -> Logits:
    """Every channel has a weight, that of its largest value: `dense` of `global_max_pool`.

    Args:
      features: `[..., height, width, channels]`, images of any size.
      kernel: `[channels, classes]`.
      bias: `[classes]` or None.

    Returns:
      `[..., classes]` in the features' dtype.

    Raises:
      ValueError: shapes that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> global_max_pool_head(jnp.ones((2, 4, 4, 8)), jnp.ones((8, 10))).shape
      (2, 10)

    Source: Oquab et al., "Is object localization for free?", 2015, section 3.
    """
    return dense(global_max_pool(features), kernel, bias)


HEADS = {
    "fc": fully_connected_head,
    "gap": global_average_pool_head,
    "gmp": global_max_pool_head,
}


def _check_images(features: Array) -> None:
    if features.ndim < 3:
        raise ValueError(
            f"features: at least [height, width, channels], not shape {features.shape}"
        )
