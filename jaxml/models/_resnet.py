"""Residual networks for ImageNet: v1, v1.5, D, wide, and v2.

    stage   output    18-layer      34-layer      50-layer             101   152   200
    stem    112x112   7x7, 64, stride 2; then a 3x3 max pool of stride 2
    1       56x56     3x3, 64  x2   3x3, 64  x3   1x1, 64  3x3, 64  1x1, 256      x3 x3 x3 x3
                      3x3, 64       3x3, 64
    2       28x28     128 x2        128 x4        128 128 512          x4    x4    x8    x24
    3       14x14     256 x2        256 x6        256 256 1024         x6    x23   x36   x36
    4       7x7       512 x2        512 x3        512 512 2048         x3    x3    x3    x3
    head    1x1       global average pooling, dense

The output sizes are for 224x224 images; other sizes work too.

References:
  He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, table 1;
  "Identity Mappings in Deep Residual Networks", 2016.
  Zagoruyko, Komodakis, "Wide Residual Networks", 2016.
  He et al., "Bag of Tricks for Image Classification", 2019, section 4 (D).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, layers
from jaxml.models._blocks import ModuleDef
from jaxml.models._network import ResidualNetwork
from jaxml.models._residual import (
    BasicBlock,
    Bottleneck,
    MaxPoolShortcut,
    PreactBottleneck,
    ProjectionShortcut,
)
from jaxml.types import Array

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
FEATURES = (64, 128, 256, 512)


class ResNet(ResidualNetwork, kw_only=True):
    """ResNet v1 for ImageNet.

    Attributes:
      blocks: number of blocks in each stage.
      bottleneck: whether blocks are 1x1, 3x3, 1x1 instead of 3x3, 3x3.
      width: factor by which the 3x3 convolutions of bottlenecks are widened.
      strided: the convolution of a bottleneck that has the stride: 1, the first 1x1 as in the
        paper, or 2, the 3x3 ("v1.5").
      deep_stem: whether three 3x3 convolutions replace the 7x7, as in D.
      average_shortcut: whether shortcuts downsample by average pooling, as in D.
      conv_bias: whether convolutions have biases, as in Keras.

    Example:
      >>> from jaxml.models import MODELS, summarize
      >>> summarize(MODELS["resnet18"](num_classes=1000), (224, 224, 3)).parameters
      11689512
    """

    blocks: Sequence[int] = BLOCKS[50]
    bottleneck: bool = True
    width: int = 1
    strided: int = 2
    deep_stem: bool = False
    average_shortcut: bool = False
    conv_bias: bool = False

    @property
    def conv(self) -> ModuleDef:
        """Constructor of the network's convolutions."""
        return partial(super().conv, use_bias=self.conv_bias)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        stages = []
        for number, (features, count) in enumerate(zip(FEATURES, self.blocks, strict=True)):
            block = self._block(features)
            stages.append([partial(block, strides=1 if number == 0 else 2)] + [block] * (count - 1))
        x = self.sow_intermediate("stem", self._stem(x, train=train))
        x = self.run_stages(stages, x, train=train)
        return self.classify(x, train=train)

    def _block(self, features: int) -> ModuleDef:
        options = {
            "conv": self.conv,
            "norm": self.norm,
            "shortcut": partial(ProjectionShortcut, average=self.average_shortcut),
            "zero_init": self.zero_init,
        }
        if not self.bottleneck:
            return partial(BasicBlock, features=features, **options)
        return partial(
            Bottleneck,
            features=features * self.width,
            out_features=features * 4,
            strided=self.strided,
            **options,
        )

    def _stem(self, x: Array, *, train: bool) -> Array:
        if self.deep_stem:
            for number, (features, strides) in enumerate([(32, 2), (32, 1), (64, 1)], start=1):
                x = self.conv(features, strides=strides, name=f"stem_conv{number}")(x)
                x = activations.relu(self.norm(name=f"stem_norm{number}")(x, train=train))
        else:
            x = self.conv(64, kernel_size=7, strides=2, name="stem_conv")(x)
            x = activations.relu(self.norm(name="stem_norm")(x, train=train))
        return layers.max_pool(x, 3, strides=2, padding=1)


class ResNetV2(ResidualNetwork, kw_only=True):
    """ResNet v2 for ImageNet, with pre-activation bottlenecks and the stride in the 3x3.

    Attributes:
      blocks: number of blocks in each stage.
      like_keras: whether to match `keras.applications`: the last block of a stage has the stride,
        and the stem, the projections and the last convolutions of blocks have biases.
    """

    blocks: Sequence[int] = BLOCKS[50]
    like_keras: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        stages = []
        for number, (features, count) in enumerate(zip(FEATURES, self.blocks, strict=True)):
            block = self._block(features)
            if self.like_keras:
                # The max pooling reads the block's input, not the output of its first ReLU.
                last = partial(block, strides=2, shortcut=MaxPoolShortcut, project_preact=False)
                stages.append([partial(block)] + [block] * (count - 2) + [last])
                if number == len(FEATURES) - 1:
                    stages[-1][-1] = block
            else:
                first = partial(block, strides=1 if number == 0 else 2)
                stages.append([first] + [block] * (count - 1))
        x = self.sow_intermediate("stem", self._stem(x))
        x = self.run_stages(stages, x, train=train)
        x = activations.relu(self.norm(name="final_norm")(x, train=train))
        return self.classify(x, train=train)

    def _block(self, features: int) -> ModuleDef:
        projection = partial(ProjectionShortcut, use_norm=False, use_bias=self.like_keras)
        return partial(
            PreactBottleneck,
            features=features,
            out_features=4 * features,
            strided=2,
            conv=self.conv,
            norm=self.norm,
            shortcut=projection,
            last_bias=self.like_keras,
            zero_init=self.zero_init,
        )

    def _stem(self, x: Array) -> Array:
        x = self.conv(64, kernel_size=7, strides=2, use_bias=self.like_keras, name="stem_conv")(x)
        if self.like_keras:  # Keras pads with zeros, which count in the maximum of negative values.
            x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
            return layers.max_pool(x, 3, strides=2)
        return layers.max_pool(x, 3, strides=2, padding=1)


def _resnets() -> Mapping[str, ModuleDef]:
    models: dict[str, ModuleDef] = {}
    keras = {"epsilon": 1.001e-5, "momentum": 0.99}  # The epsilon is Keras' own.
    for depth, blocks in BLOCKS.items():
        model = partial(ResNet, blocks=blocks, bottleneck=depth >= 50)
        models[f"resnet{depth}"] = model
        models[f"resnet{depth}d"] = partial(model, deep_stem=True, average_shortcut=True)
        if depth >= 50:
            models[f"resnet{depth}_v1"] = partial(model, strided=1)
            models[f"resnet{depth}_keras"] = partial(model, strided=1, conv_bias=True, **keras)
            models[f"resnetv2_{depth}"] = partial(ResNetV2, blocks=blocks)
            models[f"resnetv2_{depth}_keras"] = partial(
                ResNetV2, blocks=blocks, like_keras=True, **keras
            )
    for depth in (50, 101):
        models[f"wide_resnet{depth}_2"] = partial(ResNet, blocks=BLOCKS[depth], width=2)
    return models


RESNETS = _resnets()
