"""Intermediate results of a network, by name."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxml.errors import choose
from jaxml.models._summary import abstract_variables
from jaxml.types import Array, PyTree


def intermediates(
    model: nn.Module, variables: PyTree, images: Array, names: Sequence[str] = ()
) -> dict[str, Array]:
    """Returns the outputs of the stem, of each stage or module, and the input of the classifier.

    Flax's `capture_intermediates` returns the output of every module by its path; this function
    also returns results that are not the output of a module, such as those of poolings.

    Args:
      model: a network of `jaxml.models`.
      variables: its parameters and statistics.
      images: `[batch, height, width, channels]`.
      names: the results to return; empty for all. Under `jit`, the others are not computed.

    Returns:
      Arrays `[batch, height, width, channels]`, and `[batch, features]` for "features", the input
      of the classifier. They are in the order of `names`, or of the network.

    Raises:
      InputError: the network has no such result.

    Example:
      >>> from jaxml.models import MODELS
      >>> model = MODELS["resnet_tiny"](num_classes=10)
      >>> images = jnp.zeros((1, 8, 8, 3))
      >>> variables = model.init(jax.random.key(0), images, train=False)
      >>> list(intermediates(model, variables, images))
      ['stem', 'stage1', 'stage2', 'features']
      >>> intermediates(model, variables, images, ["stage2"])["stage2"].shape
      (1, 4, 4, 8)
    """
    sown: Any = model.apply(variables, images, train=False, mutable=["intermediates"])[1]
    found = {name.removesuffix(" output"): x for name, x in sown.get("intermediates", {}).items()}
    return {name: choose(found, name, "names") for name in names or found}


def intermediate_shapes(model: nn.Module, image_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all intermediate results for one image, without computing them.

    >>> from jaxml.models import MODELS
    >>> intermediate_shapes(MODELS["resnet_tiny"](num_classes=10), (8, 8, 1))["stage1"]
    (8, 8, 4)
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = abstract_variables(model, image_shape)
    found = jax.eval_shape(partial(intermediates, model), variables, images)
    return {name: x.shape[1:] for name, x in found.items()}
