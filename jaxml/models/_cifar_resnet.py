"""Residual networks for small images: v1 with 6n+2 layers (9n+2 with bottlenecks), v2 with 9n+2.

    stage   output   v1: filters, layers          v2: filters, layers
    stem    32x32    16, one 3x3                  16, one 3x3
    1       32x32    16, 2n of 3x3                16 16 64, n times 1x1 3x3 1x1
    2       16x16    32, 2n                       32 32 128, n times
    3       8x8      64, 2n                       64 64 256, n times
    head    1x1      global average pooling, dense

The output sizes are for 32x32 images; other sizes work too. The first block of stages 2 and 3 has
stride 2.

The `keras` variants match the `cifar10_resnet` example of Keras: convolutions have biases and
TensorFlow's padding, batch norm has another momentum and epsilon, projections are not normalized,
and the bottlenecks of v2 are 16 16 64, 64 64 128, 128 128 256.

References:
  He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2;
  "Identity Mappings in Deep Residual Networks", 2016.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from flax import linen as nn

from jaxml import activations
from jaxml.errors import choose
from jaxml.models._blocks import ModuleDef
from jaxml.models._network import ResidualNetwork, StagedNetwork
from jaxml.models._residual import SHORTCUTS, BasicBlock, Bottleneck, PreactBottleneck
from jaxml.types import Array


class CifarNetwork(StagedNetwork, kw_only=True):
    """Base class of the networks for small images.

    Attributes:
      blocks_per_stage: number n of blocks in each stage.
      stage_features: filters of each stage; each stage after the first halves the resolution.
      like_keras: whether to match the example of Keras.
    """

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10

    blocks_per_stage: int = 3
    stage_features: Sequence[int] = (16, 32, 64)
    like_keras: bool = False

    @property
    def conv(self) -> ModuleDef:
        """Constructor of the network's convolutions."""
        keras = {"use_bias": True, "padding": "SAME"} if self.like_keras else {}
        return partial(super().conv, **keras)

    def stem(self, x: Array, *, train: bool) -> Array:
        """Applies the first convolution, norm and ReLU."""
        x = self.conv(self.stage_features[0], name="stem_conv")(x)
        x = activations.relu(self.norm(name="stem_norm")(x, train=train))
        return self.sow_intermediate("stem", x)

    def repeat_block(self, number: int, block: ModuleDef, **first: Any) -> list[ModuleDef]:
        """Returns the blocks of stage `number`; `first` are options of its first block."""
        start = partial(block, strides=1 if number == 1 else 2, **first)
        return [start] + [block] * (self.blocks_per_stage - 1)


class PlainNet(CifarNetwork, kw_only=True):
    """The plain networks of the paper: ResNet v1 without shortcuts."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        options = {"conv": self.conv, "norm": self.norm, "shortcut": None}
        stages = [
            self.repeat_block(number, partial(BasicBlock, features=features, **options))
            for number, features in enumerate(self.stage_features, start=1)
        ]
        x = self.stem(x, train=train)
        x = self.run_stages(stages, x, train=train)
        return self.classify(x, train=train)


class CifarResNet(CifarNetwork, ResidualNetwork, kw_only=True):
    """ResNet v1 for small images.

    Attributes:
      shortcut: a name in `SHORTCUTS`, for the blocks that change the shape.
      bottleneck: whether blocks are 1x1, 3x3, 1x1 with four times the filters at the end.

    Example:
      >>> from jaxml.models import intermediate_shapes
      >>> model = CifarResNet(num_classes=10, blocks_per_stage=1, stage_features=(4, 8))
      >>> intermediate_shapes(model, (8, 8, 1))["stage2"]
      (4, 4, 8)
    """

    shortcut: str = "zero_pad"
    bottleneck: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        options = {
            "conv": self.conv,
            "norm": self.norm,
            "shortcut": choose(SHORTCUTS, self.shortcut, "config.model.shortcut"),
            "zero_init": self.zero_init,
        }
        stages = []
        for number, features in enumerate(self.stage_features, start=1):
            block: ModuleDef = partial(BasicBlock, features=features, **options)
            if self.bottleneck:
                widths = {"features": features, "out_features": 4 * features}
                block = partial(Bottleneck, **widths, **options)
            stages.append(self.repeat_block(number, block))
        x = self.stem(x, train=train)
        x = self.run_stages(stages, x, train=train)
        return self.classify(x, train=train)


class CifarResNetV2(CifarNetwork, ResidualNetwork, kw_only=True):
    """ResNet v2 for small images, with pre-activation bottlenecks.

    The stem ends in norm and ReLU, so the first block of stage 1 omits them. Only the first block
    of each stage has a projection.
    """

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        stages = []
        for number, (features, out_features) in enumerate(self._widths(), start=1):
            block: ModuleDef = partial(
                PreactBottleneck,
                features=features,
                out_features=out_features,
                conv=self.conv,
                norm=self.norm,
                shortcut=SHORTCUTS["bare_projection"],
                project_preact=not self.like_keras,
                zero_init=self.zero_init,
            )
            stages.append(self.repeat_block(number, block, preact=number > 1))
        x = self.stem(x, train=train)
        x = self.run_stages(stages, x, train=train)
        x = activations.relu(self.norm(name="final_norm")(x, train=train))
        return self.classify(x, train=train)

    def _widths(self) -> list[tuple[int, int]]:
        """Returns the inner and outer number of filters of each stage's bottlenecks."""
        outer = [4 * features for features in self.stage_features]
        inner = self.stage_features
        if self.like_keras:
            inner = [inner[0], *outer[:-1]]
        return list(zip(inner, outer, strict=True))


resnet_tiny = partial(CifarResNet, blocks_per_stage=1, stage_features=(4, 8))


def _cifar_resnets() -> Mapping[str, ModuleDef]:
    keras = {"like_keras": True, "epsilon": 1e-3, "momentum": 0.99}
    models: dict[str, ModuleDef] = {"resnet_tiny": resnet_tiny}
    for depth in (20, 32, 44, 56, 110, 1202):
        model = partial(CifarResNet, blocks_per_stage=(depth - 2) // 6)
        models[f"resnet{depth}v1"] = model
        models[f"resnet{depth}v1_keras"] = partial(model, shortcut="bare_projection", **keras)
        models[f"plain{depth}"] = partial(PlainNet, blocks_per_stage=(depth - 2) // 6)
    models["resnet164v1"] = partial(
        CifarResNet, blocks_per_stage=18, bottleneck=True, shortcut="projection"
    )
    for depth in (20, 29, 56, 110, 164, 1001):
        model = partial(CifarResNetV2, blocks_per_stage=(depth - 2) // 9)
        models[f"resnet{depth}v2"] = model
        models[f"resnet{depth}v2_keras"] = partial(model, **keras)
    return models


CIFAR_RESNETS = _cifar_resnets()
