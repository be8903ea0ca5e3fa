"""Inception v1: GoogLeNet, as in the paper, with batch norm, and as in torchvision.

    module   output    1x1   3x3         5x5        pool and 1x1
    stem     112x112   7x7, 64, stride 2; then a 3x3 max pool of stride 2
             56x56     1x1, 64; 3x3, 192; then a 3x3 max pool of stride 2
    3a       28x28     64    96 -> 128   16 -> 32   32
    3b       28x28     128   128 -> 192  32 -> 96   64
             then a 3x3 max pool of stride 2
    4a       14x14     192   96 -> 208   16 -> 48   64          first auxiliary head
    4b       14x14     160   112 -> 224  24 -> 64   64
    4c       14x14     128   128 -> 256  24 -> 64   64
    4d       14x14     112   144 -> 288  32 -> 64   64          second auxiliary head
    4e       14x14     256   160 -> 320  32 -> 128  128
             then a max pool of stride 2, 3x3 in the paper and 2x2 in torchvision
    5a       7x7       256   160 -> 320  32 -> 128  128
    5b       7x7       384   192 -> 384  48 -> 128  128
    head     1x1       global average pooling, dropout, dense

The number before an arrow is the width of a 1x1 bottleneck. The output sizes are for 224x224
images; other sizes work too.

References:
  Szegedy et al., "Going Deeper with Convolutions", 2014, table 1 and figure 3.
  Caffe's bvlc_googlenet, for the padding of the pools and the constants of the local response
  normalization.
  torchvision's googlenet, with 3x3 in place of 5x5, and auxiliary heads that average over a 4x4
  grid.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, layers
from jaxml.models._blocks import ConvUnit, Dense, ModuleDef
from jaxml.models._inception_blocks import (
    AuxiliaryHead,
    InceptionNetwork,
    Pool,
    Step,
    Table,
    Unit,
    average_pool_stride_3,
    branches,
)
from jaxml.types import Array

MODULES = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}


class GoogLeNetHead(AuxiliaryHead, kw_only=True):
    """Auxiliary head: pooling to a 4x4 map, 1x1, dense, dropout, dense.

    Attributes:
      pool: pooling of the feature map. The paper's makes a 4x4 map of 224x224 images only.
    """

    pool: Pool

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, height, width, in]` to logits `[batch, num_classes]`."""
        x = self.unit(128, 1, name="unit")(self.pool(x), train=train)
        x = layers.flatten(jnp.moveaxis(x, -1, 1))  # in the order of torchvision's dense weights
        x = activations.relu(Dense(1024, dtype=self.dtype, name="dense")(x))
        return self.classify(x, train=train)


class InceptionV1(InceptionNetwork, kw_only=True):
    """GoogLeNet with nine modules and two auxiliary heads.

    Attributes:
      auxiliary: whether to build the auxiliary heads.
      batch_norm: whether batch norm replaces the biases and the local response normalization.
      like_torchvision: whether to match torchvision, as the module's docstring describes.
      auxiliary_keep_prob: fraction of features that dropout keeps in the auxiliary heads.

    Example:
      >>> from jaxml.models import MODELS, summarize
      >>> model = MODELS["googlenet"](num_classes=1000, auxiliary=False)
      >>> summarize(model, (224, 224, 3)).parameters
      6624904
    """

    auxiliary: bool = True
    batch_norm: bool = False
    like_torchvision: bool = False
    auxiliary_keep_prob: float = 0.3
    keep_prob: float = 0.6

    @property
    def unit(self) -> ModuleDef:
        """Constructor of the network's units."""
        return super().unit if self.batch_norm else partial(ConvUnit, conv=self.conv, norm=None)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        pool = average_pool_stride_3
        if self.like_torchvision:
            pool = partial(layers.adaptive_average_pool, size=4)
        head = partial(GoogLeNetHead, pool=pool, keep_prob=self.auxiliary_keep_prob)
        x = self.stem(self._stem(), x, train=train)
        for name in MODULES:
            x = self.inception_module(f"inception_{name}", self._branches(name), x, train=train)
            if name == "3b":
                x = max_pool_stride_2(x)
            elif name == "4a":
                self.run_auxiliary("auxiliary1", head, x, train=train)
            elif name == "4d":
                self.run_auxiliary("auxiliary2", head, x, train=train)
            elif name == "4e":
                x = max_pool_stride_2(x, window=2 if self.like_torchvision else 3)
        return self.classify(x, train=train)

    def _stem(self) -> Sequence[Step]:
        normalize = [] if self.batch_norm else [layers.local_response_norm]
        return [
            Unit(64, 7, strides=2),
            max_pool_stride_2,
            *normalize,
            Unit(64),
            Unit(192, 3),
            *normalize,
            max_pool_stride_2,
        ]

    def _branches(self, name: str) -> Table:
        one, three, five, pooled = MODULES[name]
        sizes = ((1,), (1, 3), (1, 3 if self.like_torchvision else 5))
        pool = partial(layers.max_pool, window_shape=3, strides=1, padding=1)
        return (*branches(sizes, [one], three, five), (pool, Unit(pooled)))


def max_pool_stride_2(x: Array, *, window: int = 3) -> Array:
    """Max pooling of stride 2, whose last windows may extend past the image."""
    sizes = [min(window, size) for size in x.shape[1:3]]
    return layers.max_pool(x, sizes, strides=2, ceil_mode=True)


INCEPTIONS_V1: Mapping[str, ModuleDef] = {
    "inception_v1": InceptionV1,
    "inception_v1_bn": partial(InceptionV1, batch_norm=True),
    "googlenet": partial(InceptionV1, batch_norm=True, like_torchvision=True, keep_prob=0.8),
}
