"""Inception v3.

    module   output    branches
    stem     149x149   3x3, 32, stride 2
             147x147   3x3, 32
             147x147   3x3, 64, with zero padding; then a 3x3 max pool of stride 2
             73x73     1x1, 80
             71x71     3x3, 192; then a 3x3 max pool of stride 2
    5b-5d    35x35     A: 1x1; 5x5; double 3x3; average pool
    6a       17x17     B: 3x3; double 3x3; max pool, each with stride 2
    6b-6e    17x17     C: 1x1; 1x7 7x1; 7x1 1x7 7x1 1x7; average pool
                       the auxiliary head follows 6e
    7a       8x8       D: 3x3; 1x7 7x1 3x3; max pool, each with stride 2
    7b-7c    8x8       E: 1x1; 1x3 and 3x1; 3x3, then 1x3 and 3x1; average pool
    head     1x1       global average pooling, dense

The output sizes are for 299x299 images; sizes of at least 75x75 work too. Layers of stride 2 and
the first convolutions have no padding.

The filters are those of the authors' published model, which torchvision, timm and Keras share. In
torchvision and timm, average pools include zero padding. In Keras they do not, batch norm has no
scale, and there is no auxiliary head.

References:
  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, table 1 and
  figures 5 to 8 and 10.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from flax import linen as nn

from jaxml import layers
from jaxml.models._blocks import ModuleDef
from jaxml.models._inception_blocks import (
    MAX_POOL_STRIDE_2,
    REDUCTION_A_SIZES,
    REDUCTION_B_SIZES,
    AuxiliaryHead,
    Fork,
    InceptionNetwork,
    Step,
    Table,
    Unit,
    average_pool,
    average_pool_stride_3,
    branches,
    reduction,
)
from jaxml.types import Array

FORK = Fork(((Unit(384, (1, 3)),), (Unit(384, (3, 1)),)))

STEM = (
    Unit(32, 3, strides=2, padding="VALID"),
    Unit(32, 3, padding="VALID"),
    Unit(64, 3),
    MAX_POOL_STRIDE_2,
    Unit(80),
    Unit(192, 3, padding="VALID"),
    MAX_POOL_STRIDE_2,
)
MODULE_B = reduction(REDUCTION_A_SIZES, (384,), (64, 96, 96))
MODULE_D = reduction(REDUCTION_B_SIZES, (192, 320), (192, 192, 192, 192))


def module_a(pool: Step, pooled: int) -> Table:
    """Returns the branches of figure 5; `pooled` filters follow the pool."""
    widths = ((64,), (48, 64), (64, 96, 96))
    return (*branches(((1,), (1, 5), (1, 3, 3)), *widths), (pool, Unit(pooled)))


def module_c(pool: Step, width: int) -> Table:
    """Returns the branches of figure 6 with n = 7; all but the last units have `width` filters."""
    wide, tall = (1, 7), (7, 1)
    sizes = ((1,), (1, wide, tall), (1, tall, wide, tall, wide))
    widths = ((192,), (width, width, 192), (width, width, width, width, 192))
    return (*branches(sizes, *widths), (pool, Unit(192)))


def module_e(pool: Step) -> Table:
    """Returns the branches of figure 7."""
    return (
        (Unit(320),),
        (Unit(384), FORK),
        (Unit(448), Unit(384, 3), FORK),
        (pool, Unit(192)),
    )


class InceptionV3Head(AuxiliaryHead):
    """Auxiliary head: 5x5 average pooling, 1x1, 5x5, global average pooling, dense.

    The feature map is 17x17 for 299x299 images. If it is smaller than the windows, the pooling
    shrinks its window and the 5x5 convolution pads with zeros.

    Attributes:
      features: number of filters of the 5x5 convolution.
    """

    features: int = 768

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, height, width, in]` to logits `[batch, num_classes]`."""
        x = average_pool_stride_3(x)
        x = self.unit(128, 1, name="unit1")(x, train=train)
        missing = [max(5 - size, 0) for size in x.shape[1:3]]
        padding = [(zeros // 2, zeros - zeros // 2) for zeros in missing]
        x = self.unit(self.features, 5, padding=padding, name="unit2")(x, train=train)
        return self.classify(layers.global_average_pool(x), train=train)


class InceptionV3(InceptionNetwork, kw_only=True):
    """Inception v3 with eleven modules and an auxiliary head.

    Attributes:
      auxiliary: whether to build the auxiliary head.
      like_keras: whether to match Keras instead of torchvision and timm.

    Example:
      >>> from jaxml.models import summarize
      >>> model = InceptionV3(num_classes=1000, auxiliary=False)
      >>> summarize(model, (299, 299, 3)).parameters
      23834568
    """

    image_size: ClassVar[int] = 299
    auxiliary: bool = True
    like_keras: bool = False

    @property
    def norm(self) -> ModuleDef:
        """Constructor of the network's normalizations."""
        return partial(super().norm, use_scale=not self.like_keras)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        self.check_size(x, minimum=75)
        x = self.stem(STEM, x, train=train)
        for name, table in self._modules().items():
            x = self.inception_module(f"mixed_{name}", table, x, train=train)
            if name == "6e" and not self.like_keras:
                self.run_auxiliary("auxiliary", InceptionV3Head, x, train=train)
        return self.classify(x, train=train)

    def _modules(self) -> Mapping[str, Table]:
        pool = partial(average_pool, count_padding=not self.like_keras)
        return {
            "5b": module_a(pool, 32),
            "5c": module_a(pool, 64),
            "5d": module_a(pool, 64),
            "6a": MODULE_B,
            "6b": module_c(pool, 128),
            "6c": module_c(pool, 160),
            "6d": module_c(pool, 160),
            "6e": module_c(pool, 192),
            "7a": MODULE_D,
            "7b": module_e(pool),
            "7c": module_e(pool),
        }


INCEPTIONS_V3: Mapping[str, ModuleDef] = {
    "inception_v3": InceptionV3,
    "inception_v3_keras": partial(InceptionV3, like_keras=True, momentum=0.99),
}
