"""Inception v2: BN-Inception, the network of the batch norm paper.

    module   output    1x1   3x3         double 3x3          pool and 1x1
    stem     112x112   7x7, 64, stride 2; then a 3x3 max pool of stride 2
             56x56     1x1, 64; 3x3, 192; then a 3x3 max pool of stride 2
    3a       28x28     64    64 -> 64    64 -> 96 -> 96      average, 32
    3b       28x28     64    64 -> 96    64 -> 96 -> 96      average, 64
    3c       14x14     -     128 -> 160  64 -> 96 -> 96      max              stride 2
    4a       14x14     224   64 -> 96    96 -> 128 -> 128    average, 128
    4b       14x14     192   96 -> 128   96 -> 128 -> 128    average, 128
    4c       14x14     160   128 -> 160  128 -> 160 -> 160   average, 128
    4d       14x14     96    128 -> 192  160 -> 192 -> 192   average, 128
    4e       7x7       -     128 -> 192  192 -> 256 -> 256   max              stride 2
    5a       7x7       352   192 -> 320  160 -> 224 -> 224   average, 128
    5b       7x7       352   192 -> 320  192 -> 224 -> 224   max, 128
    head     1x1       global average pooling, dense

The number before the first arrow is the width of a 1x1 bottleneck. The output sizes are for 224x224
images; other sizes work too.

The paper's table contradicts itself in 4c and 4d, where the branches sum to 608 channels and the
total says 576. This module follows the branches, as the Caffe model of the network does. Its
11,295,240 parameters are those of this network plus a bias for each channel of each convolution. As
in that model, the first convolution is not separable, and average pools include zero padding. Its
epsilon is 1e-5.

References:
  Ioffe, Szegedy, "Batch Normalization", 2015, figure 5.
"""

from collections.abc import Mapping
from functools import partial

from flax import linen as nn

from jaxml import layers
from jaxml.models._blocks import ModuleDef
from jaxml.models._inception_blocks import (
    MODULE_A_SIZES,
    InceptionNetwork,
    Step,
    Table,
    Unit,
    average_pool,
    branches,
    reduction,
)
from jaxml.types import Array

# Filters of the 1x1; the 1x1 and 3x3; the 1x1 and double 3x3; and the pool with its 1x1. A module
# without a first 1x1 has stride 2.
MODULES: Mapping[str, tuple[int, tuple[int, int], tuple[int, int], tuple[str, int]]] = {
    "3a": (64, (64, 64), (64, 96), ("average", 32)),
    "3b": (64, (64, 96), (64, 96), ("average", 64)),
    "3c": (0, (128, 160), (64, 96), ("max", 0)),
    "4a": (224, (64, 96), (96, 128), ("average", 128)),
    "4b": (192, (96, 128), (96, 128), ("average", 128)),
    "4c": (160, (128, 160), (128, 160), ("average", 128)),
    "4d": (96, (128, 192), (160, 192), ("average", 128)),
    "4e": (0, (128, 192), (192, 256), ("max", 0)),
    "5a": (352, (192, 320), (160, 224), ("average", 128)),
    "5b": (352, (192, 320), (192, 224), ("max", 128)),
}
# At even sizes the windows start at the border of the image, as in Caffe. At odd sizes they stay
# aligned with the convolutions of stride 2, whose padding is 1.
MAX_POOL_STRIDE_2 = partial(layers.max_pool, window_shape=3, strides=2, padding="SAME")
POOLS: Mapping[str, Step] = {
    "average": partial(average_pool, count_padding=True),
    "max": partial(layers.max_pool, window_shape=3, strides=1, padding=1),
}


def _branches(name: str) -> Table:
    one, three, (bottleneck, double), (pool, pooled) = MODULES[name]
    widths = (three, (bottleneck, double, double))
    if not one:
        return reduction(MODULE_A_SIZES[1:], *widths, pool=MAX_POOL_STRIDE_2, padding=None)
    return (*branches(MODULE_A_SIZES, [one], *widths), (POOLS[pool], Unit(pooled)))


class InceptionV2(InceptionNetwork, kw_only=True):
    """BN-Inception with ten modules and, as in the paper, no auxiliary heads.

    Example:
      >>> from jaxml.models import intermediate_shapes
      >>> intermediate_shapes(InceptionV2(num_classes=10), (64, 64, 3))["features"]
      (1024,)
    """

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        pool = MAX_POOL_STRIDE_2
        steps = [Unit(64, 7, strides=2), pool, Unit(64), Unit(192, 3), pool]
        x = self.stem(steps, x, train=train)
        for name in MODULES:
            x = self.inception_module(f"inception_{name}", _branches(name), x, train=train)
        return self.classify(x, train=train)


INCEPTIONS_V2: Mapping[str, ModuleDef] = {"inception_v2": InceptionV2}
