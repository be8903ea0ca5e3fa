"""Layers as pure functions: `f(x, parameters, *, hyper-parameters) -> y`, no state."""

from jaxml.layers.batch_norm import batch_normalization, moments, update_running_average
from jaxml.layers.conv import conv
from jaxml.layers.dense import dense
from jaxml.layers.pool import global_average_pool
from jaxml.layers.residual import zero_pad_shortcut

__all__ = [
    "batch_normalization",
    "conv",
    "dense",
    "global_average_pool",
    "moments",
    "update_running_average",
    "zero_pad_shortcut",
]
