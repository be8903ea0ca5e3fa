"""Inception v3, with an auxiliary head.

    module   output    branches, joined by their channels
    stem     149x149   3x3, 32, stride 2
             147x147   3x3, 32
             147x147   3x3, 64, with zeros around the image; then a 3x3 max pool of stride 2
             73x73     1x1, 80
             71x71     3x3, 192; then a 3x3 max pool of stride 2
    5b-5d    35x35     A: 1x1; 5x5; twice 3x3; average pool
    6a       17x17     B: 3x3; twice 3x3; max pool, each of stride 2
    6b-6e    17x17     C: 1x1; 1x7 7x1; 7x1 1x7 7x1 1x7; average pool
                       after the last, the auxiliary head
    7a       8x8       D: 3x3; 1x7 7x1 3x3; max pool, each of stride 2
    7b-7c    8x8       E: 1x1; 1x3 beside 3x1; 3x3, then 1x3 beside 3x1; average pool
    head     1x1       global average pooling, dense, softmax

for an input of 299x299; any other size from 75x75 works. Strides of 2 and the first convolutions
take no zeros around the image.

Sources: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, table 1
and figures 5 to 8 and 10, with the filters of the authors' published model, which torchvision, timm
and Keras' applications have. In torchvision and timm, averages count the zeros around the image; in
Keras they do not, batch norm has no scale, and there is no auxiliary head.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from flax import linen as nn

from jaxml import layers
from jaxml.models.blocks import Module
from jaxml.models.inception_blocks import (
    AuxiliaryHead,
    Fork,
    InceptionNetwork,
    Step,
    Unit,
    average,
)
from jaxml.types import Array

HALVE = partial(layers.max_pool, window_shape=3, strides=2)
WIDE_AND_TALL = Fork(((Unit(384, (1, 3)),), (Unit(384, (3, 1)),)))

STEM = (
    Unit(32, 3, strides=2, padding="VALID"),
    Unit(32, 3, padding="VALID"),
    Unit(64, 3),
    HALVE,
    Unit(80),
    Unit(192, 3, padding="VALID"),
    HALVE,
)


def module_a(pool: Step, pooled: int) -> Sequence[Sequence[Step]]:
    """Figure 5; `pooled` filters follow the pool."""
    return [
        [Unit(64)],
        [Unit(48), Unit(64, 5)],
        [Unit(64), Unit(96, 3), Unit(96, 3)],
        [pool, Unit(pooled)],
    ]


def module_b() -> Sequence[Sequence[Step]]:
    """Figure 10, from 35x35."""
    return [
        [Unit(384, 3, strides=2, padding="VALID")],
        [Unit(64), Unit(96, 3), Unit(96, 3, strides=2, padding="VALID")],
        [HALVE],
    ]


def module_c(pool: Step, few: int) -> Sequence[Sequence[Step]]:
    """Figure 6 of n = 7; all but the last of the convolutions of a branch have `few` filters."""
    wide, tall = (1, 7), (7, 1)
    return [
        [Unit(192)],
        [Unit(few), Unit(few, wide), Unit(192, tall)],
        [Unit(few), Unit(few, tall), Unit(few, wide), Unit(few, tall), Unit(192, wide)],
        [pool, Unit(192)],
    ]


def module_d() -> Sequence[Sequence[Step]]:
    """From 17x17 to 8x8."""
    return [
        [Unit(192), Unit(320, 3, strides=2, padding="VALID")],
        [
            Unit(192),
            Unit(192, (1, 7)),
            Unit(192, (7, 1)),
            Unit(192, 3, strides=2, padding="VALID"),
        ],
        [HALVE],
    ]


def module_e(pool: Step) -> Sequence[Sequence[Step]]:
    """Figure 7."""
    return [
        [Unit(320)],
        [Unit(384), WIDE_AND_TALL],
        [Unit(448), Unit(384, 3), WIDE_AND_TALL],
        [pool, Unit(192)],
    ]


class InceptionV3(InceptionNetwork, kw_only=True):
    """Inception v3 of eleven modules, with an auxiliary head.

    Attributes:
      auxiliary: whether it is built with the auxiliary head.
      like_keras: whether this is the network of Keras' applications, without the auxiliary head.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> model = InceptionV3(num_classes=1000, auxiliary=False)
      >>> images = jnp.zeros((1, 299, 299, 3))
      >>> variables = jax.eval_shape(
      ...     lambda: model.init(jax.random.key(0), images, train=False)
      ... )
      >>> sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
      23834568
    """

    image_size: ClassVar[int] = 299
    auxiliary: bool = True
    like_keras: bool = False

    @property
    def norm(self) -> Module:
        """Constructor of the network's normalisations."""
        return partial(super().norm, use_scale=not self.like_keras)

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        self.check_size(x, least=75)
        x = self.stem(STEM, x, train=train)
        for name, branches in self._modules().items():
            x = self.mixed(f"mixed_{name}", branches, x, train=train)
            if name == "6e" and not self.like_keras:
                self.classify_beside("auxiliary", AuxiliaryHead, x, train=train)
        return self.classify(x, train=train)

    def _modules(self) -> Mapping[str, Sequence[Sequence[Step]]]:
        pool = partial(average, count_padding=not self.like_keras)
        return {
            "5b": module_a(pool, 32),
            "5c": module_a(pool, 64),
            "5d": module_a(pool, 64),
            "6a": module_b(),
            "6b": module_c(pool, 128),
            "6c": module_c(pool, 160),
            "6d": module_c(pool, 160),
            "6e": module_c(pool, 192),
            "7a": module_d(),
            "7b": module_e(pool),
            "7c": module_e(pool),
        }


INCEPTIONS_V3: Mapping[str, Module] = {
    "inception_v3": InceptionV3,
    "inception_v3_keras": partial(InceptionV3, like_keras=True, momentum=0.99),
}
