"""Networks by name. A name maps to a constructor that takes `num_classes` and options."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml.activations import ACTIVATIONS
from jaxml.config import ModelConfig
from jaxml.errors import InputError, choose
from jaxml.models import linear
from jaxml.models.cifar_resnet import CIFAR_RESNETS
from jaxml.models.resnet import RESNETS

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "linear": linear.Linear,
    "mlp": linear.Mlp,
    **CIFAR_RESNETS,
    **RESNETS,
}


def create_model(config: ModelConfig, *, num_classes: int) -> nn.Module:
    """The network of a config.

    Args:
      config: its name and options; what is left empty is the network's own choice.
      num_classes: outputs.

    Raises:
      InputError: there is no such network, or it has no such option.

    Example:
      >>> create_model(ModelConfig(name="linear"), num_classes=3).num_classes
      3
    """
    constructor = choose(MODELS, config.name, "config.model.name")
    kind: Any = constructor.func if isinstance(constructor, partial) else constructor
    options = {}
    for name in ("shortcut", "hidden_features", "activation"):
        if value := getattr(config, name):
            if name not in kind.__dataclass_fields__:
                raise InputError(
                    f"config.model.{name}: {value!r} is not allowed, "
                    f"{config.name} has no such option"
                )
            options[name] = value
    if config.activation:
        choose(ACTIVATIONS, config.activation, "config.model.activation")
    return constructor(num_classes=num_classes, dtype=jnp.dtype(config.dtype), **options)
