"""Inception and Inception-ResNet for small images, a tenth as wide as networks for a GPU.

    inception_small                           inception_resnet_small
    stem     32x32   3x3, 16                  stem        32x32   3x3, 16
    stage 1  32x32   MODULE1        32        stage 1     32x32   BLOCK_A        16
    mixed2   16x16   MIXED2         72        reduction   16x16   REDUCTION_A    64
    stage 2  16x16   MODULE2 x2     72        stage 2     16x16   BLOCK_B x3     64
    mixed3   8x8     MIXED3        128        reduction   8x8     REDUCTION_B   144
    stage 3  8x8     MODULE3 x2    128        stage 3     8x8     BLOCK_C x2    144
    head     1x1     global average pooling, dense, softmax

with the channels of the results on the right, for an input of 32x32; any other size works.
The auxiliary head of inception_small sees the result of stage 2.

Sources: the modules of Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
2016, and the blocks of "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", 2017; at 32, 16 and 8 pixels as the small Inception in appendix A of Zhang et al.,
"Understanding deep learning requires rethinking generalization", 2017.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.models.blocks import ConvUnit, Dense, Module, dropout
from jaxml.models.inception_blocks import Step, Unit, average
from jaxml.models.inception_levels import Level, LevelNetwork
from jaxml.models.inception_resnet import InceptionResNet
from jaxml.types import Array


def halve(x: Array) -> Array:
    """The mean of 2x2; without an accelerator, maxima would cost as much as a convolution."""
    window = [min(2, size) for size in x.shape[1:3]]
    return layers.average_pool(x, window, strides=2, ceil_mode=True)


# 1x1, 3x3, double 3x3, and a pooling, for which few channels are left.
MODULE1 = (
    (Unit(8),),
    (Unit(8), Unit(12, 3)),
    (Unit(4), Unit(8, 3), Unit(8, 3)),
    (Unit(4), average),
)
MIXED2 = (
    (Unit(24, 3, 2),),
    (Unit(8), Unit(8, 3), Unit(16, 3, 2)),
    (halve,),
)
MODULE2 = (
    (Unit(24),),
    (Unit(16), Unit(24, 3)),
    (Unit(8), Unit(12, 3), Unit(12, 3)),
    (Unit(12), average),
)
MIXED3 = (
    (Unit(32), Unit(32, 3, 2)),
    (Unit(16), Unit(24, 3), Unit(24, 3, 2)),
    (halve,),
)
MODULE3 = (
    (Unit(48),),
    (Unit(32), Unit(40, 3)),
    (Unit(16), Unit(24, 3), Unit(24, 3)),
    (Unit(16), average),
)

BLOCK_A = (
    (Unit(8),),
    (Unit(8), Unit(8, 3)),
    (Unit(8), Unit(8, 3), Unit(8, 3)),
)
REDUCTION_A = (
    (Unit(32, 3, 2),),
    (Unit(8), Unit(8, 3), Unit(16, 3, 2)),
    (halve,),
)
# As in the paper, the 7 of B is for maps of 17x17, or nearly.
BLOCK_B = (
    (Unit(16),),
    (Unit(12), Unit(14, (1, 7)), Unit(16, (7, 1))),
)
REDUCTION_B = (
    (Unit(16), Unit(32, 3, 2)),
    (Unit(16), Unit(24, 3, 2)),
    (Unit(16), Unit(16, 3), Unit(24, 3, 2)),
    (halve,),
)
BLOCK_C = (
    (Unit(32),),
    (Unit(32), Unit(40, (1, 3)), Unit(48, (3, 1))),
)


class SmallAuxiliaryHead(nn.Module):
    """1x1, global average pooling, dropout, dense.

    Attributes:
      num_classes: outputs.
      keep_prob: the share of features that dropout keeps.
      unit: constructor of a unit.
      dtype: of the computation.
    """

    num_classes: int
    keep_prob: float = 1.0
    unit: Module = ConvUnit
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, in]` to logits `[batch, num_classes]`."""
        x = layers.global_average_pool(self.unit(64, 1, name="unit1")(x, train=train))
        x = dropout(self, x, keep_prob=self.keep_prob, train=train)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x)


class InceptionSmall(LevelNetwork, kw_only=True):
    """A small Inception, with an auxiliary head in training.

    Attributes:
      auxiliary: whether it is built with the auxiliary head.
      auxiliary_keep_prob: the share of features that dropout keeps in it.

    Example:
      >>> import jax
      >>> model = InceptionSmall(num_classes=10)
      >>> images = jnp.zeros((2, 32, 32, 3))
      >>> logits, variables = jax.eval_shape(
      ...     lambda: model.init_with_output(jax.random.key(0), images, train=False)
      ... )
      >>> logits.shape
      (2, 10)
    """

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10
    start: Sequence[Step] = (Unit(16, 3),)
    levels: Sequence[Level] = (
        Level((), MODULE1, 1),
        Level((("mixed2", MIXED2),), MODULE2, 2),
        Level((("mixed3", MIXED3),), MODULE3, 2),
    )
    least_size: int = 1
    auxiliary: bool = True
    auxiliary_keep_prob: float = 1.0

    def classify_early(self, number: int, x: Array, *, train: bool) -> None:
        """The auxiliary head sees the result of stage 2."""
        if number == 2:
            head = partial(SmallAuxiliaryHead, keep_prob=self.auxiliary_keep_prob)
            self.classify_beside("auxiliary2", head, x, train=train)


class InceptionResNetSmall(InceptionResNet, kw_only=True):
    """A small Inception-ResNet."""

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10
    start: Sequence[Step] = (Unit(16, 3),)
    levels: Sequence[Level] = (
        Level((), BLOCK_A, 1, scale=0.17),
        Level((("reduction_a", REDUCTION_A),), BLOCK_B, 3, scale=0.1),
        Level((("reduction_b", REDUCTION_B),), BLOCK_C, 2, scale=0.2),
    )
    least_size: int = 1


SMALL_INCEPTIONS: Mapping[str, Module] = {
    "inception_small": InceptionSmall,
    "inception_resnet_small": InceptionResNetSmall,
}
