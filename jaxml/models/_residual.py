"""Residual blocks v1 and v2, and their shortcuts.

A v1 block applies ReLU after the sum. A v2 block normalizes and applies ReLU before each
convolution ("pre-activation") and leaves the sum unchanged. Blocks map
`[batch, height, width, in]` to the output channels at `1 / strides` of the resolution.

References:
  He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (v1);
  "Identity Mappings in Deep Residual Networks", 2016 (v2).
"""

from functools import partial
from typing import Any

from flax import linen as nn

from jaxml import activations, initializers, layers
from jaxml.models._blocks import ModuleDef
from jaxml.models._stage import Drop, add_residual
from jaxml.types import Array


class Shortcut(nn.Module):
    """Base class of the shortcuts, which match the shape of a block's input to its residual.

    Attributes:
      features: number of output channels.
      strides: factor by which the resolution shrinks.
      conv: constructor of convolutions.
      norm: constructor of normalizations.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef


class ZeroPadShortcut(Shortcut):
    """Option A of the paper: subsamples and pads the channels with zeros, without parameters."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns x at the shape of the residual."""
        del train
        return layers.zero_pad_shortcut(x, strides=self.strides, features=self.features)


class ProjectionShortcut(Shortcut):
    """Option B of the paper: a 1x1 convolution with batch norm.

    Attributes:
      use_norm: whether to normalize.
      use_bias: whether the convolution has a bias even if the others of the network have none.
      average: whether to downsample by average pooling instead of a strided convolution.
    """

    use_norm: bool = True
    use_bias: bool = False
    average: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns x projected to the shape of the residual."""
        strides = self.strides
        if self.average and strides > 1:
            x = layers.average_pool(x, strides, strides, ceil_mode=True)
            strides = 1
        bias = {"use_bias": True} if self.use_bias else {}
        x = self.conv(self.features, kernel_size=1, strides=strides, name="conv", **bias)(x)
        return self.norm(name="norm")(x, train=train) if self.use_norm else x


class MaxPoolShortcut(Shortcut):
    """Max pooling with window 1, which takes every `strides`-th pixel; ignores `features`."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Returns x at the resolution of the residual."""
        del train
        return x[:, :: self.strides, :: self.strides]


SHORTCUTS: dict[str, ModuleDef] = {
    "zero_pad": ZeroPadShortcut,
    "projection": ProjectionShortcut,
    "bare_projection": partial(ProjectionShortcut, use_norm=False),
}


class ResidualBlock(nn.Module, kw_only=True):
    """Base class of the residual blocks.

    Attributes:
      features: number of channels of each convolution but the last of a bottleneck.
      out_features: number of output channels of a bottleneck.
      strides: stride of the block.
      strided: the convolution of a bottleneck that has the stride: 1 as in the papers, or 2
        ("v1.5"), which discards less of the input.
      conv: constructor of convolutions.
      norm: constructor of normalizations.
      shortcut: constructor of the shortcut of blocks that change the shape. None removes the
        shortcut from every block, which leaves plain layers.
      zero_init: whether to initialize the block as the identity: with a zero scale in the last
        normalization of v1 (Goyal et al. 2017), a zero kernel in the last convolution of v2.
    """

    features: int
    out_features: int = 0
    strides: int = 1
    strided: int = 1
    conv: ModuleDef
    norm: ModuleDef
    shortcut: ModuleDef | None
    zero_init: bool = False

    def merge(
        self, x: Array, residual: Array, drop: Drop | None, *, train: bool, source: Array
    ) -> Array:
        """Adds the shortcut to the residual; a shortcut that changes the shape reads `source`."""
        if self.shortcut is None:
            return residual
        if x.shape != residual.shape:
            constructor = self.shortcut
            shortcut = constructor(
                residual.shape[-1], self.strides, conv=self.conv, norm=self.norm, name="shortcut"
            )
            x = shortcut(source, train=train)
        return add_residual(x, residual, drop)

    def bottleneck_strides(self) -> tuple[int, int]:
        """Returns the strides of the first two convolutions of a bottleneck."""
        return (self.strides, 1) if self.strided == 1 else (1, self.strides)

    def zeros_if_zero_init(self, argument: str) -> dict[str, Any]:
        """Returns the initializer argument of the layer that `zero_init` sets to zero."""
        return {argument: initializers.zeros} if self.zero_init else {}


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions: `relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))`."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Returns the output of the block, with `features` channels."""
        y = self.conv(self.features, strides=self.strides, name="conv1")(x)
        y = activations.relu(self.norm(name="norm1")(y, train=train))
        y = self.conv(self.features, name="conv2")(y)
        y = self.norm(name="norm2", **self.zeros_if_zero_init("scale_init"))(y, train=train)
        return activations.relu(self.merge(x, y, drop, train=train, source=x))


class Bottleneck(ResidualBlock):
    """v1 bottleneck: 1x1, 3x3 and 1x1 convolutions, each normalized, then the sum and ReLU."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Returns the output of the block, with `out_features` channels."""
        first, second = self.bottleneck_strides()
        y = self.conv(self.features, kernel_size=1, strides=first, name="conv1")(x)
        y = activations.relu(self.norm(name="norm1")(y, train=train))
        y = self.conv(self.features, strides=second, name="conv2")(y)
        y = activations.relu(self.norm(name="norm2")(y, train=train))
        y = self.conv(self.out_features, kernel_size=1, name="conv3")(y)
        y = self.norm(name="norm3", **self.zeros_if_zero_init("scale_init"))(y, train=train)
        return activations.relu(self.merge(x, y, drop, train=train, source=x))


class PreactBottleneck(ResidualBlock):
    """v2 bottleneck: 1x1, 3x3 and 1x1 convolutions, each after norm and ReLU, then the sum.

    Attributes:
      preact: whether the first convolution follows a norm and ReLU. False for the first block
        after a stem that ends in them.
      project_preact: whether a shortcut that changes the shape reads the first ReLU's output, as
        in the paper's code, instead of the block's input.
      last_bias: whether the last convolution has a bias.
    """

    preact: bool = True
    project_preact: bool = True
    last_bias: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Returns the output of the block, with `out_features` channels."""
        first, second = self.bottleneck_strides()
        start = x
        if self.preact:
            start = activations.relu(self.norm(name="norm1")(x, train=train))
        y = self.conv(self.features, kernel_size=1, strides=first, name="conv1")(start)
        y = activations.relu(self.norm(name="norm2")(y, train=train))
        y = self.conv(self.features, strides=second, name="conv2")(y)
        y = activations.relu(self.norm(name="norm3")(y, train=train))
        options = self.zeros_if_zero_init("kernel_init")
        if self.last_bias:
            options["use_bias"] = True
        y = self.conv(self.out_features, kernel_size=1, name="conv3", **options)(y)
        source = start if self.project_preact else x
        return self.merge(x, y, drop, train=train, source=source)
