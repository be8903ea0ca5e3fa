"""Networks as Flax Linen modules.

`MODELS` maps names to constructors, which take `num_classes` and keyword options. Networks map
images `[batch, height, width, channels]` to logits `[batch, num_classes]` and are called with
`train`. New networks are composed of the modules `Conv`, `BatchNorm`, `Dense` and `ConvUnit`.
"""

from jaxml.models._blocks import BatchNorm, Conv, ConvUnit, Dense
from jaxml.models._cifar_resnet import CifarResNet, CifarResNetV2, PlainNet
from jaxml.models._create import MODELS, create_model, network_class
from jaxml.models._inception_resnet import InceptionResNet
from jaxml.models._inception_small import InceptionResNetSmall, InceptionSmall
from jaxml.models._inception_v1 import InceptionV1
from jaxml.models._inception_v2 import InceptionV2
from jaxml.models._inception_v3 import InceptionV3
from jaxml.models._inception_v4 import InceptionV4
from jaxml.models._intermediates import intermediate_shapes, intermediates
from jaxml.models._linear import Linear, Mlp
from jaxml.models._resnet import ResNet, ResNetV2
from jaxml.models._speed_net import SpeedNet
from jaxml.models._summary import (
    LayerSummary,
    Summary,
    abstract_variables,
    summarize,
    summarize_layers,
)

__all__ = [
    "MODELS",
    "BatchNorm",
    "CifarResNet",
    "CifarResNetV2",
    "Conv",
    "ConvUnit",
    "Dense",
    "InceptionResNet",
    "InceptionResNetSmall",
    "InceptionSmall",
    "InceptionV1",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "LayerSummary",
    "Linear",
    "Mlp",
    "PlainNet",
    "ResNet",
    "ResNetV2",
    "SpeedNet",
    "Summary",
    "abstract_variables",
    "create_model",
    "intermediate_shapes",
    "intermediates",
    "network_class",
    "summarize",
    "summarize_layers",
]
