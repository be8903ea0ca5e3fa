"""Residual networks for small images: the 6n+2 family of He et al. 2015, section 4.2.

    stage   output   filters   layers
    stem    32x32    16        one 3x3 convolution
    1       32x32    16        2n 3x3 convolutions
    2       16x16    32        2n, the first with stride 2
    3       8x8      64        2n, the first with stride 2
    head    1x1      64        global average pooling, dense, softmax

for an input of 32x32; any other size works. Two 3x3 convolutions make a block, a shortcut runs
past each block.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, layers
from jaxml.errors import choose
from jaxml.models.blocks import BatchNorm, Conv, Dense
from jaxml.types import Array

Module = Callable[..., Any]


class ZeroPadShortcut(nn.Module):
    """Option A: subsample, and fill the new channels with zeros. It has no parameters."""

    features: int
    strides: int
    conv: Module
    norm: Module

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The input with `features` channels at 1 / strides of its resolution."""
        del train
        return layers.zero_pad_shortcut(x, strides=self.strides, features=self.features)


class ProjectionShortcut(nn.Module):
    """Option B: a 1x1 convolution with batch norm."""

    features: int
    strides: int
    conv: Module
    norm: Module

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The input with `features` channels at 1 / strides of its resolution."""
        x = self.conv(self.features, kernel_size=1, strides=self.strides, name="conv")(x)
        return self.norm(name="norm")(x, train=train)


SHORTCUTS: dict[str, type[nn.Module]] = {
    "zero_pad": ZeroPadShortcut,
    "projection": ProjectionShortcut,
}


class BasicBlock(nn.Module):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))."""

    features: int
    strides: int
    conv: Module
    norm: Module
    shortcut: Module

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, channels]` to `features` channels at 1 / strides of the size."""
        y = self.conv(self.features, strides=self.strides, name="conv1")(x)
        y = activations.relu(self.norm(name="norm1")(y, train=train))
        y = self.conv(self.features, name="conv2")(y)
        y = self.norm(name="norm2")(y, train=train)
        if x.shape != y.shape:
            x = self.shortcut(
                self.features, self.strides, conv=self.conv, norm=self.norm, name="shortcut"
            )(x, train=train)
        return activations.relu(x + y)


class CifarResNet(nn.Module):
    """A stem, stages of residual blocks, and a dense head over the global average.

    Attributes:
      num_classes: outputs.
      blocks_per_stage: n; the depth is `2 n len(stage_features) + 2`.
      stage_features: filters of each stage; each stage after the first halves the resolution.
      shortcut: a name in `SHORTCUTS`, for the blocks that change shape.
      dtype: of the computation; parameters, statistics and logits are float32.
      block: constructor of a block.
      conv: constructor of a convolution.
      norm: constructor of a normalisation.

    Example:
      >>> import jax
      >>> model = resnet_tiny(num_classes=10)
      >>> images = jnp.zeros((2, 8, 8, 1))
      >>> logits, variables = jax.eval_shape(
      ...     lambda: model.init_with_output(jax.random.key(0), images, train=False)
      ... )
      >>> logits.shape
      (2, 10)
    """

    num_classes: int
    blocks_per_stage: int = 3
    stage_features: Sequence[int] = (16, 32, 64)
    shortcut: str = "zero_pad"
    dtype: Any = jnp.float32
    block: Module = BasicBlock
    conv: Module = Conv
    norm: Module = BatchNorm

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        shortcut = choose(SHORTCUTS, self.shortcut, "config.model.shortcut")
        conv = partial(self.conv, dtype=self.dtype)
        x = conv(self.stage_features[0], name="stem_conv")(x)
        x = activations.relu(self.norm(name="stem_norm")(x, train=train))
        for stage, features in enumerate(self.stage_features, start=1):
            for index in range(1, self.blocks_per_stage + 1):
                strides = 2 if stage > 1 and index == 1 else 1
                x = self.block(
                    features,
                    strides,
                    conv=conv,
                    norm=self.norm,
                    shortcut=shortcut,
                    name=f"stage{stage}_block{index}",
                )(x, train=train)
        x = layers.global_average_pool(x)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)


resnet_tiny = partial(CifarResNet, blocks_per_stage=1, stage_features=(4, 8))
resnet20v1 = partial(CifarResNet, blocks_per_stage=3)
resnet32v1 = partial(CifarResNet, blocks_per_stage=5)
resnet44v1 = partial(CifarResNet, blocks_per_stage=7)
resnet56v1 = partial(CifarResNet, blocks_per_stage=9)
resnet110v1 = partial(CifarResNet, blocks_per_stage=18)
