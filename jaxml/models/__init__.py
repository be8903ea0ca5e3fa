"""Networks by name. A name maps to a constructor that takes `num_classes` and options."""

from collections.abc import Callable, Mapping

from flax import linen as nn

from jaxml.models import resnet

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet_tiny": resnet.resnet_tiny,
    "resnet20v1": resnet.resnet20v1,
    "resnet32v1": resnet.resnet32v1,
    "resnet44v1": resnet.resnet44v1,
    "resnet56v1": resnet.resnet56v1,
    "resnet110v1": resnet.resnet110v1,
}
