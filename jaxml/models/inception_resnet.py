"""Inception-ResNet v1 and v2: Inception modules whose sum with their input goes on.

    stage        v1: output      v2: output      what
    stem         35x35x256       35x35x192       as of Inception v3; v1 ends in 3x3/2 V, 256
    mixed_5b                     35x35x320       MIXED_5B
    stage 1      35x35x256 x5    35x35x320 x10   BLOCK35: Inception-ResNet-A
    mixed_6a     17x17x896       17x17x1088      MIXED_6A: Reduction-A
    stage 2      17x17x896 x10   17x17x1088 x20  BLOCK17: Inception-ResNet-B
    mixed_7a     8x8x1792        8x8x2080        MIXED_7A: Reduction-B
    stage 3      8x8x1792 x5     8x8x2080 x10    BLOCK8: Inception-ResNet-C
    end                          8x8x1536        1x1, 1536
    head         1x1             global average pooling, dropout, dense, softmax

for an input of 299x299; any other size from 75x75 works.

"V" is without padding.

Source: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2017.

v1 is that of the figures 10 to 15. v2 is the network that its authors published, which timm and
Keras have: other than in the figures, it has the stem of Inception v3 and MIXED_5B, sums of 320,
1088 and 2080 channels, twice as many blocks, the last of them without scale and ReLU, and a 1x1 at
the end. The scales of the residuals, for which the paper says 0.1 to 0.3, are those of the
published code, and so is that the 1x1 before a sum has a bias and no batch norm.
"""

from collections.abc import Mapping
from functools import partial

from flax import linen as nn

from jaxml import activations, initializers
from jaxml.models.blocks import Conv, ConvUnit, Module
from jaxml.models.inception_blocks import Branches, Unit, average
from jaxml.models.inception_levels import Level, LevelNetwork, Table
from jaxml.models.inception_v3 import HALVE, STEM
from jaxml.models.inception_v4 import valid
from jaxml.models.network import ResidualNetwork
from jaxml.models.stage import Drop, add_residual
from jaxml.types import Array

MIXED_5B = (
    (Unit(96),),
    (Unit(48), Unit(64, 5)),
    (Unit(64), Unit(96, 3), Unit(96, 3)),
    (average, Unit(64)),
)
BLOCK35 = (
    (Unit(32),),
    (Unit(32), Unit(32, 3)),
    (Unit(32), Unit(48, 3), Unit(64, 3)),
)
MIXED_6A = (
    (valid(384, 3, 2),),
    (Unit(256), Unit(256, 3), valid(384, 3, 2)),
    (HALVE,),
)
BLOCK17 = (
    (Unit(192),),
    (Unit(128), Unit(160, (1, 7)), Unit(192, (7, 1))),
)
MIXED_7A = (
    (Unit(256), valid(384, 3, 2)),
    (Unit(256), valid(288, 3, 2)),
    (Unit(256), Unit(288, 3), valid(320, 3, 2)),
    (HALVE,),
)
BLOCK8 = (
    (Unit(192),),
    (Unit(192), Unit(224, (1, 3)), Unit(256, (3, 1))),
)

BLOCK35_V1 = (
    (Unit(32),),
    (Unit(32), Unit(32, 3)),
    (Unit(32), Unit(32, 3), Unit(32, 3)),
)
MIXED_6A_V1 = (
    (valid(384, 3, 2),),
    (Unit(192), Unit(192, 3), valid(256, 3, 2)),
    (HALVE,),
)
BLOCK17_V1 = (
    (Unit(128),),
    (Unit(128), Unit(128, (1, 7)), Unit(128, (7, 1))),
)
MIXED_7A_V1 = (
    (Unit(256), valid(384, 3, 2)),
    (Unit(256), valid(256, 3, 2)),
    (Unit(256), Unit(256, 3), valid(256, 3, 2)),
    (HALVE,),
)
BLOCK8_V1 = (
    (Unit(192),),
    (Unit(192), Unit(192, (1, 3)), Unit(192, (3, 1))),
)


class ResidualInceptionBlock(nn.Module):
    """relu(x + scale * conv(branches(x))), where the 1x1 convolution has the channels of x.

    Attributes:
      branches: as of `Branches`.
      unit: as of `Branches`.
      conv: constructor of the 1x1 convolution, which has a bias and no normalisation.
      scale: of the residual; 0.1 to 0.3 keep wide networks from dying early in training.
      relu: whether ReLU comes last.
      zero_init: whether the block starts as relu(x), because the 1x1 convolution starts at zero.
    """

    branches: Table
    unit: Module = ConvUnit
    conv: Module = Conv
    scale: float = 1.0
    relu: bool = True
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """`[batch, height, width, channels]` to the same shape."""
        y = Branches(self.branches, unit=self.unit, name="branches")(x, train=train)
        options = {"kernel_init": initializers.zeros} if self.zero_init else {}
        y = self.conv(x.shape[-1], kernel_size=1, use_bias=True, name="expand", **options)(y)
        x = add_residual(x, self.scale * y, drop)
        return activations.relu(x) if self.relu else x


class InceptionResNet(LevelNetwork, ResidualNetwork, kw_only=True):
    """A network of levels with residual blocks.

    Attributes:
      norm_scale: whether batch norms have a scale; in Keras' applications, they have none.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> model = INCEPTION_RESNETS["inception_resnet_v2"](num_classes=1000)
      >>> images = jnp.zeros((1, 299, 299, 3))
      >>> variables = jax.eval_shape(
      ...     lambda: model.init(jax.random.key(0), images, train=False)
      ... )
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
      55843464
    """

    norm_scale: bool = True

    @property
    def norm(self) -> Module:
        """Constructor of the network's normalisations."""
        return partial(super().norm, use_scale=self.norm_scale)

    def blocks(self, level: Level) -> list[Module]:
        """Constructors of the blocks of a level."""
        options = {"conv": self.conv, "zero_init": self.zero_init}
        block = partial(ResidualInceptionBlock, level.block, self.unit, **options)
        blocks = [partial(block, scale=level.scale)] * level.repeats
        if level.linear_end:
            blocks[-1] = partial(block, relu=False)
        return blocks


inception_resnet_v1 = partial(
    InceptionResNet,
    start=(*STEM[:-1], valid(256, 3, 2)),
    levels=(
        Level((), BLOCK35_V1, 5, scale=0.17),
        Level((("mixed_6a", MIXED_6A_V1),), BLOCK17_V1, 10, scale=0.1),
        Level((("mixed_7a", MIXED_7A_V1),), BLOCK8_V1, 5, scale=0.2),
    ),
    keep_prob=0.8,
)
inception_resnet_v2 = partial(
    InceptionResNet,
    start=STEM,
    levels=(
        Level((("mixed_5b", MIXED_5B),), BLOCK35, 10, scale=0.17),
        Level((("mixed_6a", MIXED_6A),), BLOCK17, 20, scale=0.1),
        Level((("mixed_7a", MIXED_7A),), BLOCK8, 10, scale=0.2, linear_end=True),
    ),
    end=(Unit(1536),),
    keep_prob=0.8,
)

INCEPTION_RESNETS: Mapping[str, Module] = {
    "inception_resnet_v1": inception_resnet_v1,
    "inception_resnet_v2": inception_resnet_v2,
    "inception_resnet_v2_keras": partial(inception_resnet_v2, norm_scale=False, momentum=0.99),
}
