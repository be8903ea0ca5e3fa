"""Inception v4.

    stage     output          branches, "V" where there is no padding
    stem      147x147x64      3x3/2 V, 32;  3x3 V, 32;  3x3, 64
    mixed_3a  73x73x160       max pool/2 V | 3x3/2 V, 96
    mixed_4a  71x71x192       1x1, 64;  3x3 V, 96 | 1x1, 64;  1x7, 64;  7x1, 64;  3x3 V, 96
    mixed_5a  35x35x384       3x3/2 V, 192 | max pool/2 V
    stage 1   35x35x384       INCEPTION_A x4
    reduct. a 17x17x1024      REDUCTION_A
    stage 2   17x17x1024      INCEPTION_B x7
    reduct. b 8x8x1536        REDUCTION_B
    stage 3   8x8x1536        INCEPTION_C x3
    head      1x1             global average pooling, dropout, dense, softmax

for an input of 299x299; any other size from 75x75 works.

Source: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2017, figures 3 to 9. Where figure 4's average pools have padding, they
average over the image alone, as TensorFlow does.
"""

from collections.abc import Mapping, Sequence

from jaxml.models.blocks import Module
from jaxml.models.inception_blocks import Fork, Step, Unit, average
from jaxml.models.inception_levels import Level, LevelNetwork
from jaxml.models.inception_v3 import HALVE


def valid(features: int, kernel_size: int, strides: int = 1) -> Unit:
    """A unit without padding, which the paper's figures mark with a V."""
    return Unit(features, kernel_size, strides, "VALID")


STEM = (valid(32, 3, 2), valid(32, 3), Unit(64, 3))
MIXED_3A = (
    (HALVE,),
    (valid(96, 3, 2),),
)
MIXED_4A = (
    (Unit(64), valid(96, 3)),
    (Unit(64), Unit(64, (1, 7)), Unit(64, (7, 1)), valid(96, 3)),
)
MIXED_5A = (
    (valid(192, 3, 2),),
    (HALVE,),
)
INCEPTION_A = (
    (Unit(96),),
    (Unit(64), Unit(96, 3)),
    (Unit(64), Unit(96, 3), Unit(96, 3)),
    (average, Unit(96)),
)
REDUCTION_A = (
    (valid(384, 3, 2),),
    (Unit(192), Unit(224, 3), valid(256, 3, 2)),
    (HALVE,),
)
INCEPTION_B = (
    (Unit(384),),
    (Unit(192), Unit(224, (1, 7)), Unit(256, (7, 1))),
    (Unit(192), Unit(192, (7, 1)), Unit(224, (1, 7)), Unit(224, (7, 1)), Unit(256, (1, 7))),
    (average, Unit(128)),
)
REDUCTION_B = (
    (Unit(192), valid(192, 3, 2)),
    (Unit(256), Unit(256, (1, 7)), Unit(320, (7, 1)), valid(320, 3, 2)),
    (HALVE,),
)
ACROSS_AND_DOWN = Fork(((Unit(256, (1, 3)),), (Unit(256, (3, 1)),)))
INCEPTION_C = (
    (Unit(256),),
    (Unit(384), ACROSS_AND_DOWN),
    (Unit(384), Unit(448, (3, 1)), Unit(512, (1, 3)), ACROSS_AND_DOWN),
    (average, Unit(256)),
)


class InceptionV4(LevelNetwork, kw_only=True):
    """Inception v4.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> model = InceptionV4(num_classes=1000)
      >>> images = jnp.zeros((1, 299, 299, 3))
      >>> variables = jax.eval_shape(
      ...     lambda: model.init(jax.random.key(0), images, train=False)
      ... )
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
      42679816
    """

    start: Sequence[Step] = STEM
    levels: Sequence[Level] = (
        Level(
            (("mixed_3a", MIXED_3A), ("mixed_4a", MIXED_4A), ("mixed_5a", MIXED_5A)),
            INCEPTION_A,
            4,
        ),
        Level((("reduction_a", REDUCTION_A),), INCEPTION_B, 7),
        Level((("reduction_b", REDUCTION_B),), INCEPTION_C, 3),
    )
    keep_prob: float = 0.8


INCEPTIONS_V4: Mapping[str, Module] = {"inception_v4": InceptionV4}
