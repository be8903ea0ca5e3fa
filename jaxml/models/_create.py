"""Networks by name, and their construction from a config."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml.activations import ACTIVATIONS
from jaxml.config import ModelConfig
from jaxml.errors import InputError, choose
from jaxml.models._cifar_resnet import CIFAR_RESNETS
from jaxml.models._inception_resnet import INCEPTION_RESNETS
from jaxml.models._inception_small import SMALL_INCEPTIONS
from jaxml.models._inception_v1 import INCEPTIONS_V1
from jaxml.models._inception_v2 import INCEPTIONS_V2
from jaxml.models._inception_v3 import INCEPTIONS_V3
from jaxml.models._inception_v4 import INCEPTIONS_V4
from jaxml.models._linear import Linear, Mlp
from jaxml.models._resnet import RESNETS
from jaxml.models._speed_net import SpeedNet
from jaxml.optim import check_pattern

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": Mlp,
    **CIFAR_RESNETS,
    **RESNETS,
    **INCEPTIONS_V1,
    **INCEPTIONS_V2,
    **INCEPTIONS_V3,
    **INCEPTIONS_V4,
    **INCEPTION_RESNETS,
    **SMALL_INCEPTIONS,
    "speed_net": SpeedNet,
}

# Settings that are passed to the constructor if set; a network may lack some of them.
OPTIONS = (
    "shortcut", "hidden_features", "activation", "head", "keep_prob", "survival_prob", "zero_init",
    "remat", "scan", "batch_norm_groups",
)  # fmt: skip


def create_model(config: ModelConfig, *, num_classes: int, frozen: str | None = None) -> nn.Module:
    """Builds a network from its config.

    Args:
      config: the name of the network and its options; an option that is unset keeps the
        network's default.
      num_classes: number of outputs.
      frozen: pattern of `jaxml.optim.is_frozen` that selects the batch norms whose statistics stay
        unchanged.

    Raises:
      InputError: there is no such network, or it has no such option.

    Example:
      >>> create_model(ModelConfig(name="linear"), num_classes=3).num_classes
      3
    """
    constructor = choose(MODELS, config.name, "config.model.name")
    options = {
        name: value for name in OPTIONS if (value := getattr(config, name)) not in (None, False)
    }
    fields = {field.name for field in dataclasses.fields(network_class(constructor))}
    for name, value in options.items():
        if name not in fields:
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            raise InputError(
                f"config.model.{name} must be unset for {config.name}, which has no such "
                f"option, got {shown}"
            )
    if config.activation:
        choose(ACTIVATIONS, config.activation, "config.model.activation")
    if frozen:
        check_pattern(frozen, "config.weights.freeze")
    if frozen and config.scan:
        raise InputError("config.model.scan must be false with config.weights.freeze, got true")
    if frozen and "frozen" in fields:
        options["frozen"] = frozen
    if "auxiliary" in fields:
        options["auxiliary"] = config.auxiliary
    return constructor(num_classes=num_classes, dtype=jnp.dtype(config.dtype), **options)


def network_class(constructor: Callable[..., nn.Module]) -> Any:
    """Returns the class of the networks that a constructor builds.

    >>> network_class(MODELS["resnet20v1"]).__name__
    'CifarResNet'
    """
    while isinstance(constructor, partial):
        constructor = constructor.func
    return constructor
