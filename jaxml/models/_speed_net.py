"""SpeedNet, the network of the CIFAR-10 speed runs.

    input    31x31   12 whitened components of 2x2 patches, and their negatives
    stage 1  15x15   3x3, max pooling, 3x3    64
    stage 2   7x7    3x3, max pooling, 3x3   256
    stage 3   3x3    3x3, max pooling, 3x3   256
    head      1x1    global max pooling, dense

The output sizes are for 32x32 images with `config.data.normalization=patch_pca`; other sizes and
normalizations work too. GELU follows each normalization. The first filters of the first convolution
of a stage copy its input at the start.

Differences from the reference's `airbench94`: it initializes the second convolutions in the same
way, computes GELU without approximation, scales the logits by 1/9 without a bias in the head,
multiplies the learning rate of the biases by 64, and trains that of the first layer for 3 epochs.

Reference: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, initializers, layers
from jaxml.models._blocks import BatchNorm, Conv, ModuleDef
from jaxml.models._network import StagedNetwork
from jaxml.models._stage import Drop
from jaxml.types import Array, Key


class SpeedBlock(nn.Module):
    """Two convolutions, each with normalization and GELU; max pooling follows the first.

    Attributes:
      features: number of output channels.
      conv: constructor of the convolutions.
      norm: constructor of the normalizations.
    """

    features: int
    conv: ModuleDef = Conv
    norm: ModuleDef = BatchNorm

    @nn.compact
    def __call__(self, x: Array, *, train: bool, drop: Drop | None = None) -> Array:
        """Halves the height and width of `[batch, height, width, in]`, unless they are 1."""
        del drop  # Without a shortcut, the block cannot be dropped.
        x = self.conv(self.features, kernel_init=partial_dirac, name="conv1")(x)
        x = layers.max_pool(x, [min(2, size) for size in x.shape[1:3]], strides=2)
        x = activations.gelu(self.norm(name="norm1")(x, train=train))
        x = self.conv(self.features, name="conv2")(x)
        return activations.gelu(self.norm(name="norm2")(x, train=train))


class SpeedNet(StagedNetwork, kw_only=True):
    """Network of the CIFAR-10 speed runs.

    Attributes:
      stage_features: channels of each stage.

    Example:
      >>> from jaxml.models import intermediate_shapes
      >>> model = SpeedNet(num_classes=10, stage_features=(4, 8))
      >>> intermediate_shapes(model, (31, 31, 12))["stage2"]
      (7, 7, 8)
    """

    image_size: ClassVar[int] = 31
    num_published_channels: ClassVar[int] = 12
    num_published_classes: ClassVar[int] = 10

    head: str = "gmp"
    stage_features: Sequence[int] = (64, 256, 256)
    momentum: float = 0.6

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        x = jnp.concatenate([x, -x], axis=-1)
        bias = self.param("bias", initializers.zeros, x.shape[-1:], jnp.float32)
        x = activations.gelu(jnp.asarray(x + jnp.broadcast_to(bias, x.shape), self.dtype))
        options = {"conv": self.conv, "norm": partial(self.norm, use_scale=False)}
        stages = [
            [partial(SpeedBlock, features=features, **options)] for features in self.stage_features
        ]
        return self.classify(self.run_stages(stages, x, train=train), train=train)


def partial_dirac(key: Key, shape: Sequence[int], dtype: Any = None) -> Array:
    """Draws a kernel whose first filters copy the input channels, one each."""
    drawn = initializers.he_normal()(key, shape, dtype)
    kept = min(shape[-2:])
    identity = initializers.dirac()(key, (*shape[:-1], kept), drawn.dtype)
    return drawn.at[..., :kept].set(identity)
