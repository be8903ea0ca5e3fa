"""Residual networks for ImageNet: v1, v1.5, D, wide, and v2.

    stage   output    18-layer      34-layer      50-layer             101   152   200
    stem    112x112   7x7, 64, stride 2; then a 3x3 max pool of stride 2
    1       56x56     3x3, 64  x2   3x3, 64  x3   1x1, 64  3x3, 64  1x1, 256      x3 x3 x3 x3
                      3x3, 64       3x3, 64
    2       28x28     128 x2        128 x4        128 128 512          x4    x4    x8    x24
    3       14x14     256 x2        256 x6        256 256 1024         x6    x23   x36   x36
    4       7x7       512 x2        512 x3        512 512 2048         x3    x3    x3    x3
    head    1x1       global average pooling, dense, softmax

for an input of 224x224; any other size works.

Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, table 1, and
"Identity Mappings in Deep Residual Networks", 2016; Zagoruyko, Komodakis, "Wide Residual Networks",
2016; He et al., "Bag of Tricks for Image Classification", 2019, section 4 (D).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, layers
from jaxml.models.blocks import Module
from jaxml.models.network import ResidualNetwork
from jaxml.models.residual import (
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
    """ResNet v1, with its stem, four stages, and a dense head over the global average.

    Attributes:
      blocks: how many each stage has.
      bottleneck: whether blocks are 1x1, 3x3, 1x1 and not 3x3, 3x3.
      width: a bottleneck's 3x3 has so many times the filters of the table.
      strided: which convolution of a bottleneck has the stride: 1, the first 1x1 of the paper, or
        2, the 3x3 ("v1.5").
      deep_stem: whether three 3x3 stand in the place of the 7x7, as in D.
      average_shortcut: whether shortcuts average what they would skip, as in D.
      conv_bias: whether convolutions have biases, as in Keras.

    Example:
      >>> import jax
      >>> model = RESNETS["resnet18"](num_classes=1000)
      >>> images = jnp.zeros((1, 224, 224, 3))
      >>> variables = jax.eval_shape(
      ...     lambda: model.init(jax.random.key(0), images, train=False)
      ... )
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
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
    def conv(self) -> Module:
        """Constructor of the network's convolutions."""
        return partial(super().conv, use_bias=self.conv_bias)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        stages = []
        for number, (features, count) in enumerate(zip(FEATURES, self.blocks, strict=True)):
            block = self._block(features)
            stages.append([partial(block, strides=1 if number == 0 else 2)] + [block] * (count - 1))
        x = self.tap("stem", self._stem(x, train=train))
        x = self.stages(stages, x, train=train)
        return self.classify(x, train=train)

    def _block(self, features: int) -> Module:
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
    """ResNet v2 of pre-activation bottlenecks, with the stride in the 3x3.

    Attributes:
      blocks: how many each stage has.
      like_keras: whether this is the network of Keras' applications: the last block of a stage has
        the stride, and the stem, projections and last convolutions have biases.
    """

    blocks: Sequence[int] = BLOCKS[50]
    like_keras: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        stages = []
        for number, (features, count) in enumerate(zip(FEATURES, self.blocks, strict=True)):
            block = self._block(features)
            if self.like_keras:
                # What is pooled is the block's input itself.
                last = partial(block, strides=2, shortcut=MaxPoolShortcut, project_preact=False)
                stages.append([partial(block)] + [block] * (count - 2) + [last])
                if number == len(FEATURES) - 1:
                    stages[-1][-1] = block
            else:
                first = partial(block, strides=1 if number == 0 else 2)
                stages.append([first] + [block] * (count - 1))
        x = self.tap("stem", self._stem(x))
        x = self.stages(stages, x, train=train)
        x = activations.relu(self.norm(name="final_norm")(x, train=train))
        return self.classify(x, train=train)

    def _block(self, features: int) -> Module:
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
        if self.like_keras:  # its pool sees zeros around the image, and the values may be negative
            x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
            return layers.max_pool(x, 3, strides=2)
        return layers.max_pool(x, 3, strides=2, padding=1)


def _named() -> Mapping[str, Module]:
    """Every depth and its variants."""
    models: dict[str, Module] = {}
    # Keras writes 1.001e-5 where others have 1e-5.
    keras = {"epsilon": 1.001e-5, "momentum": 0.99}
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


RESNETS = _named()
