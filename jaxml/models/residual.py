"""The blocks of residual networks, v1 and v2, and their shortcuts.

v1 adds and then applies ReLU; v2 normalises and applies ReLU first ("pre-activation"), and its sum
is left as it is.

Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (v1), and
"Identity Mappings in Deep Residual Networks", 2016 (v2).
"""

from functools import partial
from typing import Any

from flax import linen as nn

from jaxml import activations, initializers, layers
from jaxml.models.blocks import Module
from jaxml.models.stage import Drop, add_residual
from jaxml.types import Array


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
    """Option B: a 1x1 convolution with batch norm.

    Attributes:
      features: output channels.
      strides: of the convolution.
      conv: constructor of the convolution.
      norm: constructor of the normalisation.
      use_norm: whether there is a normalisation.
      use_bias: whether the convolution has a bias, even if the network's others have none.
      average: whether strides are taken by the mean of the pixels that the convolution would skip.
    """

    features: int
    strides: int
    conv: Module
    norm: Module
    use_norm: bool = True
    use_bias: bool = False
    average: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The input with `features` channels at 1 / strides of its resolution."""
        strides = self.strides
        if self.average and strides > 1:
            x = layers.average_pool(x, strides, strides, ceil_mode=True)
            strides = 1
        bias = {"use_bias": True} if self.use_bias else {}
        x = self.conv(self.features, kernel_size=1, strides=strides, name="conv", **bias)(x)
        return self.norm(name="norm")(x, train=train) if self.use_norm else x


class MaxPoolShortcut(nn.Module):
    """Every `strides`-th pixel, as a max-pooling of window 1 takes it; the channels stay."""

    features: int
    strides: int
    conv: Module
    norm: Module

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """The input at 1 / strides of its resolution."""
        del train
        return x[:, :: self.strides, :: self.strides]


SHORTCUTS: dict[str, Module] = {
    "zero_pad": ZeroPadShortcut,
    "projection": ProjectionShortcut,
    "bare_projection": partial(ProjectionShortcut, use_norm=False),
}


class ResidualBlock(nn.Module, kw_only=True):
    """What every block has.

    Attributes:
      features: of each convolution; a bottleneck's last has `out_features`.
      out_features: of a bottleneck's result.
      strides: of the block, which its convolution number `strided` takes.
      strided: 1 or 2; of bottlenecks, 1 is the papers' and 2 is "v1.5", which keeps more.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      shortcut: constructor of the shortcut where the block changes the shape; None for a block
        without any, which then is two or three plain layers.
      zero_init: whether the block starts as the identity: the scale of the last normalisation is
        zero (Goyal et al. 2017), in v2 the kernel of the last convolution.
    """

    features: int
    out_features: int = 0
    strides: int = 1
    strided: int = 1
    conv: Module
    norm: Module
    shortcut: Module | None
    zero_init: bool = False

    def merge(
        self, x: Array, residual: Array, drop: Drop | None, *, train: bool, source: Array
    ) -> Array:
        """The sum of what the block computed and of the shortcut from x, or of `source` if new."""
        if self.shortcut is None:
            return residual
        if x.shape != residual.shape:
            constructor = self.shortcut
            shortcut = constructor(
                residual.shape[-1], self.strides, conv=self.conv, norm=self.norm, name="shortcut"
            )
            x = shortcut(source, train=train)
        return add_residual(x, residual, drop)

    def last_scale(self) -> dict[str, Any]:
        """Options of the last normalisation of v1."""
        return {"scale_init": initializers.zeros} if self.zero_init else {}

    def last_kernel(self) -> dict[str, Any]:
        """Options of the last convolution of v2."""
        return {"kernel_init": initializers.zeros} if self.zero_init else {}


class BasicBlock(ResidualBlock):
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x)))))), both convolutions 3x3."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, channels]` to `features` channels at 1 / strides of the size."""
        y = self.conv(self.features, strides=self.strides, name="conv1")(x)
        y = activations.relu(self.norm(name="norm1")(y, train=train))
        y = self.conv(self.features, name="conv2")(y)
        y = self.norm(name="norm2", **self.last_scale())(y, train=train)
        return activations.relu(self.merge(x, y, drop, train=train, source=x))


class Bottleneck(ResidualBlock):
    """v1: 1x1 to `features`, 3x3, 1x1 to `out_features`, each normalised, then the sum and ReLU."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, in]` to `out_features` channels at 1 / strides of the size."""
        first, second = (self.strides, 1) if self.strided == 1 else (1, self.strides)
        y = self.conv(self.features, kernel_size=1, strides=first, name="conv1")(x)
        y = activations.relu(self.norm(name="norm1")(y, train=train))
        y = self.conv(self.features, strides=second, name="conv2")(y)
        y = activations.relu(self.norm(name="norm2")(y, train=train))
        y = self.conv(self.out_features, kernel_size=1, name="conv3")(y)
        y = self.norm(name="norm3", **self.last_scale())(y, train=train)
        return activations.relu(self.merge(x, y, drop, train=train, source=x))


class PreactBottleneck(ResidualBlock):
    """v2: norm, ReLU and 1x1; norm, ReLU and 3x3; norm, ReLU and 1x1; then the sum.

    Attributes:
      preact: False for the first block after a stem that ends in norm and ReLU itself.
      project_preact: whether the shortcut that changes the shape starts after the first ReLU, as
        in the paper's code, and not at the block's input.
      last_bias: whether the last convolution has a bias.
    """

    preact: bool = True
    project_preact: bool = True
    last_bias: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, in]` to `out_features` channels at 1 / strides of the size."""
        first, second = (self.strides, 1) if self.strided == 1 else (1, self.strides)
        start = x
        if self.preact:
            start = activations.relu(self.norm(name="norm1")(x, train=train))
        y = self.conv(self.features, kernel_size=1, strides=first, name="conv1")(start)
        y = activations.relu(self.norm(name="norm2")(y, train=train))
        y = self.conv(self.features, strides=second, name="conv2")(y)
        y = activations.relu(self.norm(name="norm3")(y, train=train))
        options = {**self.last_kernel(), **({"use_bias": True} if self.last_bias else {})}
        y = self.conv(self.out_features, kernel_size=1, name="conv3", **options)(y)
        source = start if self.project_preact else x
        return self.merge(x, y, drop, train=train, source=source)
