"""What a network computes on its way: its named intermediate results."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxml.errors import choose
from jaxml.models.summary import abstract_variables
from jaxml.types import Array, PyTree


def taps(
    model: nn.Module, variables: PyTree, images: Array, names: Sequence[str] = ()
) -> dict[str, Array]:
    """The intermediate results of an evaluation, by name.

    Args:
      model: one of `jaxml.models`.
      variables: its parameters and statistics.
      images: `[batch, height, width, channels]`.
      names: what is wanted; empty for all. Under `jit`, what is not wanted is not computed.

    Returns:
      Arrays `[batch, height, width, channels]`, and `[batch, features]` for "features": what the
      head sees. In the order of the names, or of the network.

    Raises:
      InputError: the network has no such tap.

    Example:
      >>> from jaxml.models import MODELS
      >>> model = MODELS["resnet_tiny"](num_classes=10)
      >>> images = jnp.zeros((1, 8, 8, 3))
      >>> variables = model.init(jax.random.key(0), images, train=False)
      >>> list(taps(model, variables, images))
      ['stem', 'stage1', 'stage2', 'features']
      >>> taps(model, variables, images, ["stage2"])["stage2"].shape
      (1, 4, 4, 8)
    """
    sown: Any = model.apply(variables, images, train=False, mutable=["taps"])[1]
    found = {name.removesuffix(" output"): x for name, x in sown.get("taps", {}).items()}
    return {name: choose(found, name, "tap") for name in names or found}


def shapes(model: nn.Module, image_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The shape of every tap for one image, without computing anything.

    >>> from jaxml.models import MODELS
    >>> shapes(MODELS["resnet_tiny"](num_classes=10), (8, 8, 1))["stage1"]
    (8, 8, 4)
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = abstract_variables(model, image_shape)
    found = jax.eval_shape(partial(taps, model), variables, images)
    return {name: x.shape[1:] for name, x in found.items()}
