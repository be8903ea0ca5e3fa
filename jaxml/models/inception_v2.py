"""Inception v2: BN-Inception, the network of the batch norm paper.

    module   output    1x1   3x3         twice 3x3           pool and 1x1
    stem     112x112   7x7, 64, stride 2; then a 3x3 max pool of stride 2
             56x56     1x1, 64; 3x3, 192; then a 3x3 max pool of stride 2
    3a       28x28     64    64 -> 64    64 -> 96 -> 96      average, 32
    3b       28x28     64    64 -> 96    64 -> 96 -> 96      average, 64
    3c       14x14     -     128 -> 160  64 -> 96 -> 96      max, as it is        stride 2
    4a       14x14     224   64 -> 96    96 -> 128 -> 128    average, 128
    4b       14x14     192   96 -> 128   96 -> 128 -> 128    average, 128
    4c       14x14     160   128 -> 160  128 -> 160 -> 160   average, 128
    4d       14x14     96    128 -> 192  160 -> 192 -> 192   average, 128
    4e       7x7       -     128 -> 192  192 -> 256 -> 256   max, as it is        stride 2
    5a       7x7       352   192 -> 320  160 -> 224 -> 224   average, 128
    5b       7x7       352   192 -> 320  192 -> 224 -> 224   max, 128
    head     1x1       global average pooling, dense, softmax

for an input of 224x224; any other size works. What stands before the first arrow is a 1x1.

The paper's table contradicts itself in 4c and 4d, whose columns sum to 608 channels where it says
576. These are the columns, as in the Caffe model of the network, whose 11,295,240 parameters are
these and a bias for each channel of each convolution. The paper's first convolution is a separable
one; here, as in that model, it is a plain one, and averages count the zeros around the image. That
model's epsilon is 1e-5.

Source: Ioffe, Szegedy, "Batch Normalization", 2015, figure 5.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from flax import linen as nn

from jaxml import layers
from jaxml.models.blocks import Module
from jaxml.models.inception_blocks import InceptionNetwork, Step, Unit, average
from jaxml.types import Array

# 1x1; 1x1 and 3x3; 1x1 and twice 3x3; the pool and its 1x1. A 0 where there is none.
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
# At even sizes their windows start with the image, as Caffe's; at odd ones they stay in step with
# the convolutions of stride 2, whose padding is 1.
HALVE = partial(layers.max_pool, window_shape=3, strides=2, padding="SAME")
POOLS: Mapping[str, Step] = {
    "average": partial(average, count_padding=True),
    "max": partial(layers.max_pool, window_shape=3, strides=1, padding=1),
}


def _branches(name: str) -> Sequence[Sequence[Step]]:
    one, (few, three), (few_twice, twice), (pool, pooled) = MODULES[name]
    if not one:
        return [
            [Unit(few), Unit(three, 3, strides=2)],
            [Unit(few_twice), Unit(twice, 3), Unit(twice, 3, strides=2)],
            [HALVE],
        ]
    return [
        [Unit(one)],
        [Unit(few), Unit(three, 3)],
        [Unit(few_twice), Unit(twice, 3), Unit(twice, 3)],
        [POOLS[pool], Unit(pooled)],
    ]


class InceptionV2(InceptionNetwork, kw_only=True):
    """BN-Inception of ten modules; the paper has no auxiliary heads for it.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> model = InceptionV2(num_classes=0)
      >>> images = jnp.zeros((2, 64, 64, 3))
      >>> features, variables = jax.eval_shape(
      ...     lambda: model.init_with_output(jax.random.key(0), images, train=False)
      ... )
      >>> features.shape
      (2, 1024)
    """

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        x = self.stem(
            [Unit(64, 7, strides=2), HALVE, Unit(64), Unit(192, 3), HALVE], x, train=train
        )
        for name in MODULES:
            x = self.mixed(f"inception_{name}", _branches(name), x, train=train)
        return self.classify(x, train=train)


INCEPTIONS_V2: Mapping[str, Module] = {"inception_v2": InceptionV2}
