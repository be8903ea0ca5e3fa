"""Inception and Inception-ResNet for small images, a tenth as wide as networks for a GPU.

    inception_small                            inception_resnet_small
    stem     32x32   3x3, 32                   stem     32x32   3x3, 24
    stage 1  32x32   MODULE1 x2     32         stage 1  32x32   BLOCK_A x2     24
    entry 2  16x16   ENTRY2         72         entry 2  16x16   REDUCTION_A    72
    stage 2  16x16   MODULE2 x2     72         stage 2  16x16   BLOCK_B x3     72
    entry 3  8x8     ENTRY3        128         entry 3  8x8     REDUCTION_B   152
    stage 3  8x8     MODULE3 x2    128         stage 3  8x8     BLOCK_C x2    152
    head     1x1     global average pooling, dense, softmax

with the channels of the results on the right, for an input of 32x32; any other size from 8x8 works.
The auxiliary head of inception_small sees the result of stage 2.

Sources: the modules of Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
2016, and the blocks of "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", 2017; at 32, 16 and 8 pixels as the small Inception in appendix A of Zhang et al.,
"Understanding deep learning requires rethinking generalization", 2017.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml import layers
from jaxml.models.blocks import ConvUnit, Dense, Module
from jaxml.models.inception_blocks import Unit
from jaxml.models.inception_levels import Level, LevelNetwork
from jaxml.types import Array


def average(x: Array) -> Array:
    """The mean of each 3x3, of what is in the image."""
    return layers.average_pool(x, window=3, strides=1, padding=1)


def halve(x: Array) -> Array:
    """The mean of 2x2. Where there is no accelerator, maxima would cost as much as a convolution."""
    return layers.average_pool(x, window=2, ceil_mode=True)


# 1x1, 3x3, double 3x3, and a pooling, for which few channels are left.
MODULE1 = (
    (Unit(8),),
    (Unit(8), Unit(12, 3)),
    (Unit(4), Unit(8, 3), Unit(8, 3)),
    (Unit(4), average),
)
ENTRY2 = (
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
ENTRY3 = (
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
        if train and self.keep_prob != 1 and not self.is_initializing():
            key = self.make_rng("dropout")
            x = layers.dropout(key, x, keep_prob=self.keep_prob, train=train)
        return Dense(self.num_classes, dtype=self.dtype, name="head")(x)


class InceptionSmall(LevelNetwork, kw_only=True):
    """A network with an auxiliary head in training.

    Attributes:
      auxiliary_keep_prob: the share of features that dropout keeps in it.

    Example:
      >>> import jax
      >>> model = inception_small(num_classes=10)
      >>> images = jnp.zeros((2, 32, 32, 3))
      >>> logits, variables = jax.eval_shape(
      ...     lambda: model.init_with_output(jax.random.key(0), images, train=False)
      ... )
      >>> logits.shape
      (2, 10)
    """

    auxiliary_keep_prob: float = 1.0

    def classify_early(self, number: int, x: Array, *, train: bool) -> None:
        """The auxiliary head sees the result of stage 2."""
        if number == 2:
            head = partial(SmallAuxiliaryHead, keep_prob=self.auxiliary_keep_prob)
            self.classify_beside("auxiliary2", head, x, train=train)


inception_small = partial(
    InceptionSmall,
    start=(Unit(16, 3),),
    levels=(Level((), MODULE1, 1), Level(ENTRY2, MODULE2, 2), Level(ENTRY3, MODULE3, 2)),
)
inception_resnet_small = partial(
    LevelNetwork,
    start=(Unit(16, 3),),
    levels=(
        Level((), BLOCK_A, 1, scale=0.17),
        Level(REDUCTION_A, BLOCK_B, 3, scale=0.1),
        Level(REDUCTION_B, BLOCK_C, 2, scale=0.2),
    ),
)

SMALL_INCEPTIONS = {
    "inception_small": inception_small,
    "inception_resnet_small": inception_resnet_small,
}
