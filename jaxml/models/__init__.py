"""Networks by name. A name maps to a constructor that takes `num_classes` and options."""

import dataclasses
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
from jaxml.models.inception_resnet import INCEPTION_RESNETS
from jaxml.models.inception_small import SMALL_INCEPTIONS
from jaxml.models.inception_v1 import INCEPTIONS_V1
from jaxml.models.inception_v2 import INCEPTIONS_V2
from jaxml.models.inception_v3 import INCEPTIONS_V3
from jaxml.models.inception_v4 import INCEPTIONS_V4
from jaxml.models.resnet import RESNETS
from jaxml.optim import check_pattern

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "linear": linear.Linear,
    "mlp": linear.Mlp,
    **CIFAR_RESNETS,
    **RESNETS,
    **INCEPTIONS_V1,
    **INCEPTIONS_V2,
    **INCEPTIONS_V3,
    **INCEPTIONS_V4,
    **INCEPTION_RESNETS,
    **SMALL_INCEPTIONS,
}

OPTIONS = (
    "shortcut", "hidden_features", "activation", "head", "keep_prob", "survival_prob", "zero_init",
    "remat", "scan",
)  # fmt: skip


def create_model(config: ModelConfig, *, num_classes: int, frozen: str | None = None) -> nn.Module:
    """The network of a config.

    Args:
      config: its name and options; what is left empty is the network's own choice.
      num_classes: outputs.
      frozen: pattern of `jaxml.optim.is_frozen` for the norms that keep their statistics.

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
    known = {field.name for field in dataclasses.fields(network_class(constructor))}
    for name, value in options.items():
        if name not in known:
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            raise InputError(
                f"config.model.{name}: {shown} is not allowed, {config.name} has no such option"
            )
    if config.activation:
        choose(ACTIVATIONS, config.activation, "config.model.activation")
    if frozen:
        check_pattern(frozen, "config.weights.freeze")
    if frozen and config.scan:
        raise InputError("config.model.scan: true is not allowed with config.weights.freeze")
    if frozen and "frozen" in known:
        options["frozen"] = frozen
    if "auxiliary" in known:
        options["auxiliary"] = config.auxiliary
    return constructor(num_classes=num_classes, dtype=jnp.dtype(config.dtype), **options)


def network_class(constructor: Callable[..., nn.Module]) -> Any:
    """The class of what a constructor makes.

    >>> network_class(MODELS["resnet20v1"]).__name__
    'CifarResNet'
    """
    while isinstance(constructor, partial):
        constructor = constructor.func
    return constructor
