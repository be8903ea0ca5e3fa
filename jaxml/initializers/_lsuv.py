"""Layer-sequential unit variance."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxml.initializers._matrices import orthogonal
from jaxml.types import Key, PyTree


def lsuv(
    key: Key,
    module: nn.Module,
    variables: Mapping[str, PyTree],
    *inputs: Any,
    tolerance: float = 0.1,
    max_iterations: int = 10,
    rngs: Mapping[str, Key] | None = None,
    **kwargs: Any,
) -> dict[str, PyTree]:
    r"""Replaces kernels by orthonormal ones, each rescaled so that its layer has unit variance.

    .. math:: W_l \leftarrow W_l / \sqrt{\operatorname{Var}(y_l)} \quad
        \text{until} \ |\operatorname{Var}(y_l) - 1| < \varepsilon

    for each layer l in the order of execution, with the variance over all entries of its output y
    for a batch. A layer is a Linen module with a parameter `kernel` of at least two dimensions; its
    output is the result of `__call__`, which must not include an activation. A layer that runs more
    than once is scaled at its first call. Other parameters and running statistics are unchanged.

    The number of iterations depends on the values, so this function cannot be compiled by
    `jax.jit`. Layers inside `nn.scan` or `nn.vmap` are not supported.

    Args:
      key: key of the orthonormal kernels.
      module: the network.
      variables: the result of `module.init`.
      *inputs: a batch of a few hundred examples, as arguments of the network.
      tolerance: epsilon, positive.
      max_iterations: maximum number of times that each kernel is rescaled. Without a bias, the
        first scaling is exact up to rounding.
      rngs: keys of the network's stochastic operations, as for `module.apply`.
      **kwargs: keyword arguments of the network, such as `train=True`.

    Returns:
      The variables with new kernels in their dtypes.

    Example:
      >>> batch = jax.random.normal(jax.random.key(0), (64, 8))
      >>> net = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(4)])
      >>> variables = lsuv(jax.random.key(1), net, net.init(jax.random.key(2), batch), batch)
      >>> round(float(net.apply(variables, batch).var()), 4)
      1.0

    Reference: Mishkin, Matas, "All you need is a good init", 2015, algorithm 1.
    """
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive, got {tolerance}")
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1, got {max_iterations}")
    done: set[tuple[str, ...]] = set()

    def intercept(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        first = context.method_name == "__call__" and layer.path not in done
        kernel = layer.get_variable("params", "kernel") if first else None
        if kernel is None or kernel.ndim < 2:
            return next_fun(*args, **kwargs)
        kernel_key = jax.random.fold_in(key, len(done))
        done.add(layer.path)
        kernel = orthogonal()(kernel_key, kernel.shape, kernel.dtype)
        layer.put_variable("params", "kernel", kernel)
        for _ in range(max_iterations):
            # A method cannot run twice in one scope, so trials run in a rewound copy of it.
            trial = layer.clone(parent=layer.scope.rewound())
            variance = _variance(trial(*args, **kwargs), "/".join(layer.path))
            if abs(variance - 1) < tolerance:
                break
            kernel = (kernel / np.sqrt(variance)).astype(kernel.dtype)
            layer.put_variable("params", "kernel", kernel)
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(intercept):
        _, changed = module.apply(variables, *inputs, mutable=True, rngs=dict(rngs or {}), **kwargs)
    if not done:
        raise ValueError("`module` must have at least one layer with a kernel, got none")
    return {**variables, "params": changed["params"]}


def _variance(y: Any, name: str) -> float:
    """Returns the variance of all entries, computed in float32 at least."""
    variance = float(jnp.var(y.astype(np.promote_types(y.dtype, np.float32))))
    if not 0 < variance < np.inf:
        raise ValueError(
            "`inputs` must give every layer an output of finite positive variance, "
            f"got {variance} in {name}"
        )
    return variance
