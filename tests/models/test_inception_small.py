"""The small Inception and Inception-ResNet: their forward passes, options and training."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models.inception_blocks import Unit, average
from jaxml.models.inception_levels import Level, LevelNetwork
from jaxml.models.inception_resnet import InceptionResNet, ResidualInceptionBlock
from jaxml.models.inception_small import SMALL_INCEPTIONS, InceptionSmall, halve
from jaxml.models.taps import shapes
from tests.models import parity

BRANCHES = (
    (Unit(2),),
    (Unit(2), Unit(2, (1, 3))),
    (Unit(2), average),
)
SHRINK = (
    (Unit(3, 3, 2),),
    (halve,),
)
# Three blocks and more, so that there are identical neighbours; dropout and stochastic depth too.
TINY = {
    "plain": LevelNetwork(
        num_classes=3,
        start=(Unit(6, 3),),
        levels=(Level({}, BRANCHES, 2), Level({"shrink": SHRINK, "more": BRANCHES}, BRANCHES, 3)),
        keep_prob=0.8,
        least_size=1,
    ),
    "residual": InceptionResNet(
        num_classes=3,
        start=(Unit(4, 3),),
        levels=(
            Level({}, BRANCHES, 2, scale=0.5),
            Level({"shrink": SHRINK}, BRANCHES, 3, scale=0.25, linear_end=True),
        ),
        end=(Unit(5),),
        survival_prob=0.5,
        least_size=1,
    ),
}
WAYS = {"loop": {"scan": True}, "anew": {"remat": True}, "both": {"scan": True, "remat": True}}


def shapes_of(model: Any, size: int = 32, channels: int = 3) -> Any:
    """The variables without values."""
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


def random_variables(model: Any) -> Any:
    """He normal kernels, and no scale, offset, bias or statistic at its first value."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if leaf.ndim > 1:
            values = rng.normal(scale=np.sqrt(2 / np.prod(leaf.shape[:-1])), size=leaf.shape)
        elif path[-1].key in ("scale", "variance"):
            values = rng.uniform(0.5, 1.5, size=leaf.shape)
        else:
            values = rng.normal(scale=0.3, size=leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes_of(model))


# The forward pass of both networks in torch, written from the tables.

INCEPTION_TABLE = {
    "stage1/block1/branches": (8, (8, 12), (4, 8, 8), 4),
    "mixed2": (24, (8, 8, 16)),
    "stage2/block1/branches": (24, (16, 24), (8, 12, 12), 12),
    "stage2/block2/branches": (24, (16, 24), (8, 12, 12), 12),
    "mixed3": ((32, 32), (16, 24, 24)),
    "stage3/block1/branches": (48, (32, 40), (16, 24, 24), 16),
    "stage3/block2/branches": (48, (32, 40), (16, 24, 24), 16),
}
