"""Inception v4.

    stage       output       branches; "V" marks layers without padding
    stem        147x147x64   3x3/2 V, 32;  3x3 V, 32;  3x3, 64
    mixed_3a    73x73x160    max pool/2 V | 3x3/2 V, 96
    mixed_4a    71x71x192    1x1, 64;  3x3 V, 96 | 1x1, 64;  1x7, 64;  7x1, 64;  3x3 V, 96
    mixed_5a    35x35x384    3x3/2 V, 192 | max pool/2 V
    stage 1     35x35x384    INCEPTION_A x4
    reduction_a 17x17x1024   3x3/2 V | 1x1;  3x3;  3x3/2 V | max pool/2 V
    stage 2     17x17x1024   INCEPTION_B x7
    reduction_b 8x8x1536     1x1;  3x3/2 V | 1x1;  1x7;  7x1;  3x3/2 V | max pool/2 V
    stage 3     8x8x1536     INCEPTION_C x3
    head        1x1          global average pooling, dropout, dense

The output sizes are for 299x299 images; sizes of at least 75x75 work too. Average pools with
padding average over the image alone, as in TensorFlow.

References:
  Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
  Connections on Learning", 2017, figures 3 to 9.
"""

from collections.abc import Mapping, Sequence

from jaxml.models._blocks import ModuleDef
from jaxml.models._inception_blocks import (
    MAX_POOL_STRIDE_2,
    MODULE_A_SIZES,
    REDUCTION_A_SIZES,
    REDUCTION_B_SIZES,
    Fork,
    Step,
    Unit,
    average_pool,
    branches,
    reduction,
)
from jaxml.models._inception_stages import StagedInception, StageSpec


def valid(features: int, kernel_size: int, strides: int = 1) -> Unit:
    """Returns a unit without padding, marked with V in the paper's figures."""
    return Unit(features, kernel_size, strides, "VALID")


STEM = (valid(32, 3, 2), valid(32, 3), Unit(64, 3))
MIXED_3A = ((MAX_POOL_STRIDE_2,), (valid(96, 3, 2),))
MIXED_4A = (
    (Unit(64), valid(96, 3)),
    (Unit(64), Unit(64, (1, 7)), Unit(64, (7, 1)), valid(96, 3)),
)
MIXED_5A = ((valid(192, 3, 2),), (MAX_POOL_STRIDE_2,))
MIXED = (("mixed_3a", MIXED_3A), ("mixed_4a", MIXED_4A), ("mixed_5a", MIXED_5A))
INCEPTION_A = (*branches(MODULE_A_SIZES, (96,), (64, 96), (64, 96, 96)), (average_pool, Unit(96)))
REDUCTION_A = reduction(REDUCTION_A_SIZES, (384,), (192, 224, 256))
INCEPTION_B = (
    (Unit(384),),
    (Unit(192), Unit(224, (1, 7)), Unit(256, (7, 1))),
    (Unit(192), Unit(192, (7, 1)), Unit(224, (1, 7)), Unit(224, (7, 1)), Unit(256, (1, 7))),
    (average_pool, Unit(128)),
)
REDUCTION_B = reduction(REDUCTION_B_SIZES, (192, 192), (256, 256, 320, 320))
FORK = Fork(((Unit(256, (1, 3)),), (Unit(256, (3, 1)),)))
INCEPTION_C = (
    (Unit(256),),
    (Unit(384), FORK),
    (Unit(384), Unit(448, (3, 1)), Unit(512, (1, 3)), FORK),
    (average_pool, Unit(256)),
)


class InceptionV4(StagedInception, kw_only=True):
    """Inception v4.

    Example:
      >>> from jaxml.models import summarize
      >>> summarize(InceptionV4(num_classes=1000), (299, 299, 3)).parameters
      42679816
    """

    stem_steps: Sequence[Step] = STEM
    stage_specs: Sequence[StageSpec] = (
        StageSpec(MIXED, INCEPTION_A, 4),
        StageSpec((("reduction_a", REDUCTION_A),), INCEPTION_B, 7),
        StageSpec((("reduction_b", REDUCTION_B),), INCEPTION_C, 3),
    )
    keep_prob: float = 0.8


INCEPTIONS_V4: Mapping[str, ModuleDef] = {"inception_v4": InceptionV4}
