"""Inception-ResNet v1 and v2: Inception modules as residual blocks.

    stage        v1: output      v2: output      branches
    stem         35x35x256       35x35x192       the stem of Inception v3; v1 ends in 3x3/2 V, 256
    mixed_5b                     35x35x320       MIXED_5B
    stage 1      35x35x256 x5    35x35x320 x10   1x1 | 1x1; 3x3 | 1x1; 3x3; 3x3
    mixed_6a     17x17x896       17x17x1088      3x3/2 V | 1x1; 3x3; 3x3/2 V | max pool/2 V
    stage 2      17x17x896 x10   17x17x1088 x20  1x1 | 1x1; 1x7; 7x1
    mixed_7a     8x8x1792        8x8x2080        1x1; 3x3/2 V, twice | 1x1; 3x3; 3x3/2 V | max pool
    stage 3      8x8x1792 x5     8x8x2080 x10    1x1 | 1x1; 1x3; 3x1
    end                          8x8x1536        1x1, 1536
    head         1x1             global average pooling, dropout, dense

The output sizes are for 299x299 images; sizes of at least 75x75 work too. "V" marks layers without
padding.

v1 follows figures 10 to 15 of the paper. v2 is the network that its authors published and that timm
and Keras have. It differs from the figures: it has the stem of Inception v3 and MIXED_5B, residual
streams of 320, 1088 and 2080 channels, twice as many blocks, a last block without factor and ReLU,
and a final 1x1 convolution. As in the published code, the factors of the residuals are 0.17, 0.1
and 0.2 (the paper says 0.1 to 0.3), and the 1x1 convolution before a sum has a bias and no batch
norm.

References:
  Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
  Connections on Learning", 2017.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from flax import linen as nn

from jaxml import activations, initializers
from jaxml.models._blocks import Conv, ConvUnit, ModuleDef
from jaxml.models._inception_blocks import (
    MODULE_A_SIZES,
    REDUCTION_A_SIZES,
    Branches,
    Table,
    Unit,
    average_pool,
    branches,
    reduction,
)
from jaxml.models._inception_stages import StagedInception, StageSpec
from jaxml.models._inception_v3 import STEM
from jaxml.models._inception_v4 import valid
from jaxml.models._network import ResidualNetwork
from jaxml.models._stage import Drop, add_residual
from jaxml.types import Array

BLOCK_A_SIZES = MODULE_A_SIZES
BLOCK_B_SIZES = ((1,), (1, (1, 7), (7, 1)))
BLOCK_C_SIZES = ((1,), (1, (1, 3), (3, 1)))
MIXED_7A_SIZES = ((1, 3), (1, 3), (1, 3, 3))

MIXED_5B = (
    *branches(((1,), (1, 5), (1, 3, 3)), (96,), (48, 64), (64, 96, 96)),
    (average_pool, Unit(64)),
)


class ResidualInceptionBlock(nn.Module):
    """Residual block of branches: `relu(x + scale * conv(branches(x)))`.

    Attributes:
      branches: as in `Branches`.
      unit: as in `Branches`.
      conv: constructor of the 1x1 convolution to the channels of x, which has a bias.
      scale: factor of the residual; 0.1 to 0.3 stabilize the training of wide networks.
      relu: whether to apply ReLU to the sum.
      zero_init: whether to initialize the block as `relu(x)`, with zeros in the 1x1 convolution.
    """

    branches: Table
    unit: ModuleDef = ConvUnit
    conv: ModuleDef = Conv
    scale: float = 1.0
    relu: bool = True
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Maps `[batch, height, width, channels]` to the same shape."""
        y = Branches(self.branches, unit=self.unit, name="branches")(x, train=train)
        options = {"kernel_init": initializers.zeros} if self.zero_init else {}
        y = self.conv(x.shape[-1], kernel_size=1, use_bias=True, name="expand", **options)(y)
        x = add_residual(x, self.scale * y, drop)
        return activations.relu(x) if self.relu else x


class InceptionResNet(StagedInception, ResidualNetwork, kw_only=True):
    """Inception-ResNet.

    Attributes:
      norm_scale: whether batch norm has a scale; it has none in `keras.applications`.

    Example:
      >>> from jaxml.models import MODELS, summarize
      >>> model = MODELS["inception_resnet_v2"](num_classes=1000)
      >>> summarize(model, (299, 299, 3)).parameters
      55843464
    """

    norm_scale: bool = True

    @property
    def norm(self) -> ModuleDef:
        """Constructor of the network's normalizations."""
        return partial(super().norm, use_scale=self.norm_scale)

    def blocks(self, spec: StageSpec) -> list[ModuleDef]:
        """Returns the constructors of the blocks of a stage."""
        options = {"conv": self.conv, "zero_init": self.zero_init}
        block = partial(ResidualInceptionBlock, spec.block, self.unit, **options)
        blocks = [partial(block, scale=spec.residual_scale)] * spec.repeats
        if spec.linear_end:
            blocks[-1] = partial(block, relu=False)
        return blocks


def residual_stages(
    entries: Sequence[Sequence[tuple[str, Table]]],
    blocks: Sequence[Table],
    repeats: Sequence[int],
    *,
    linear_end: bool = False,
) -> Sequence[StageSpec]:
    """Returns the three stages of an Inception-ResNet, with its factors of the residuals."""
    first, second, third = zip(entries, blocks, repeats, strict=True)
    return (
        StageSpec(*first, residual_scale=0.17),
        StageSpec(*second, residual_scale=0.1),
        StageSpec(*third, residual_scale=0.2, linear_end=linear_end),
    )


inception_resnet_v1 = partial(
    InceptionResNet,
    stem_steps=(*STEM[:-1], valid(256, 3, 2)),
    stage_specs=residual_stages(
        entries=(
            (),
            (("mixed_6a", reduction(REDUCTION_A_SIZES, (384,), (192, 192, 256))),),
            (("mixed_7a", reduction(MIXED_7A_SIZES, (256, 384), (256, 256), (256, 256, 256))),),
        ),
        blocks=(
            branches(BLOCK_A_SIZES, (32,), (32, 32), (32, 32, 32)),
            branches(BLOCK_B_SIZES, (128,), (128, 128, 128)),
            branches(BLOCK_C_SIZES, (192,), (192, 192, 192)),
        ),
        repeats=(5, 10, 5),
    ),
    keep_prob=0.8,
)
inception_resnet_v2 = partial(
    InceptionResNet,
    stem_steps=STEM,
    stage_specs=residual_stages(
        entries=(
            (("mixed_5b", MIXED_5B),),
            (("mixed_6a", reduction(REDUCTION_A_SIZES, (384,), (256, 256, 384))),),
            (("mixed_7a", reduction(MIXED_7A_SIZES, (256, 384), (256, 288), (256, 288, 320))),),
        ),
        blocks=(
            branches(BLOCK_A_SIZES, (32,), (32, 32), (32, 48, 64)),
            branches(BLOCK_B_SIZES, (192,), (128, 160, 192)),
            branches(BLOCK_C_SIZES, (192,), (192, 224, 256)),
        ),
        repeats=(10, 20, 10),
        linear_end=True,
    ),
    final_steps=(Unit(1536),),
    keep_prob=0.8,
)

INCEPTION_RESNETS: Mapping[str, ModuleDef] = {
    "inception_resnet_v1": inception_resnet_v1,
    "inception_resnet_v2": inception_resnet_v2,
    "inception_resnet_v2_keras": partial(inception_resnet_v2, norm_scale=False, momentum=0.99),
}
