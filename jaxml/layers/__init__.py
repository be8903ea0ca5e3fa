"""Layers as pure functions `layer(x, parameters, *, hyperparameters) -> y`, without state.

Arrays are channels-last, `[..., *spatial, channels]` with any leading dimensions; kernels are
`[in, out]` or `[*window, in, out]`. Unless documented otherwise,

- arrays are floating-point, and integers raise `TypeError`;
- invalid shapes and hyperparameters raise `ValueError`, and other types than int for those that
  must be ints raise `TypeError`;
- the result has the dtype of x, and sums and statistics are computed in float32 at least.

Batch normalization follows `tf.nn`, pooling `flax.linen.max_pool`, and dropout TensorFlow 1.
"""

from jaxml.layers._adaptive_pool import adaptive_average_pool
from jaxml.layers._batch_norm import batch_norm_with_global_normalization, batch_normalization
from jaxml.layers._batch_renorm import batch_renormalization
from jaxml.layers._conv import conv
from jaxml.layers._conv_transpose import conv_transpose
from jaxml.layers._dense import dense
from jaxml.layers._dropout import drop_block, dropout, spatial_dropout, stochastic_depth
from jaxml.layers._flatten import flatten
from jaxml.layers._global_pool import global_average_pool, global_max_pool
from jaxml.layers._group_norm import group_norm, instance_norm
from jaxml.layers._heads import (
    HEADS,
    fully_connected_head,
    global_average_pool_head,
    global_max_pool_head,
)
from jaxml.layers._layer_norm import layer_norm, rms_norm
from jaxml.layers._local_response_norm import local_response_norm
from jaxml.layers._moments import moments
from jaxml.layers._padding import Padding
from jaxml.layers._pool import average_pool, l2_pool, lp_pool, max_pool
from jaxml.layers._residual import zero_pad_shortcut
from jaxml.layers._resize import upsample
from jaxml.layers._running_statistics import (
    running_statistics_keras,
    running_statistics_torch,
    update_running_average,
)
from jaxml.layers._separable import depthwise_conv, separable_conv, spatially_separable_conv
from jaxml.layers._weight_standardization import weight_standardization

__all__ = [
    "HEADS",
    "Padding",
    "adaptive_average_pool",
    "average_pool",
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "batch_renormalization",
    "conv",
    "conv_transpose",
    "dense",
    "depthwise_conv",
    "drop_block",
    "dropout",
    "flatten",
    "fully_connected_head",
    "global_average_pool",
    "global_average_pool_head",
    "global_max_pool",
    "global_max_pool_head",
    "group_norm",
    "instance_norm",
    "l2_pool",
    "layer_norm",
    "local_response_norm",
    "lp_pool",
    "max_pool",
    "moments",
    "rms_norm",
    "running_statistics_keras",
    "running_statistics_torch",
    "separable_conv",
    "spatial_dropout",
    "spatially_separable_conv",
    "stochastic_depth",
    "update_running_average",
    "upsample",
    "weight_standardization",
    "zero_pad_shortcut",
]
