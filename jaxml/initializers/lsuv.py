"""Layer-sequential unit variance: initial kernels scaled by what the layers make of a batch."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxml import initializers
from jaxml.types import Key, PyTree


def lsuv(
    key: Key,
    module: nn.Module,
    variables: Mapping[str, PyTree],
    *inputs: Any,
    tolerance: float = 0.1,
    max_iterations: int = 10,
    rngs: Mapping[str, Key] | None = None,
    **settings: Any,
) -> dict[str, PyTree]:
    r"""Orthonormal kernels, each scaled so that the output of its layer has variance 1.

    .. math:: W_l \leftarrow W_l / \sqrt{\operatorname{Var}(y_l)} \quad
        \text{until} \ |\operatorname{Var}(y_l) - 1| < \varepsilon

    for one layer after the other, in the order in which they run, with the variance over all
    entries of the layer's output y for a batch. A layer is any Linen module that holds a parameter
    named `kernel` of at least two dimensions itself; its output is what its `__call__` returns, so
    activations that follow belong into modules of their own, or outside. All other parameters
    stay. A layer that runs more than once is scaled at its first run.

    The number of iterations depends on the values, so this is not to be compiled by `jax.jit`;
    layers inside `nn.scan` or `nn.vmap` cannot be scaled.

    Args:
      key: of the orthonormal kernels.
      module: the network.
      variables: as `module.init` returns them; their kernels give only shapes and dtypes.
      *inputs: a batch, as the network is called with it; some hundred examples.
      tolerance: epsilon, above 0.
      max_iterations: how often a kernel is scaled at most. Without a bias the first scaling is
        exact but for rounding.
      rngs: keys of what is random in the network, as for `module.apply`.
      **settings: of the network's call, such as `train=True`.

    Returns:
      The variables with new kernels, in their dtypes; running statistics are unchanged.

    Raises:
      ValueError: tolerance or max_iterations out of range, no layer with a kernel, or a layer whose
        output does not vary or is not finite.

    Example:
      >>> batch = jax.random.normal(jax.random.key(0), (64, 8))
      >>> net = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(4)])
      >>> variables = lsuv(jax.random.key(1), net, net.init(jax.random.key(2), batch), batch)
      >>> round(float(net.apply(variables, batch).var()), 4)
      1.0

    Source: Mishkin, Matas, "All you need is a good init", 2015, algorithm 1.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance: above 0, not {tolerance}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations: at least 1, not {max_iterations}")
    done: set[tuple[str, ...]] = set()

    def intercept(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        first = context.method_name == "__call__" and layer.path not in done
        kernel = layer.get_variable("params", "kernel") if first else None
        if kernel is None or kernel.ndim < 2:
            return next_fun(*args, **kwargs)
        kernel_key = jax.random.fold_in(key, len(done))
        done.add(layer.path)
        kernel = initializers.orthogonal()(kernel_key, kernel.shape, kernel.dtype)
        layer.put_variable("params", "kernel", kernel)
        for _ in range(max_iterations):
            # A method cannot run twice in one scope: the trial is a copy in a scope like it.
            trial = layer.clone(parent=layer.scope.rewound())
            variance = _variance(trial(*args, **kwargs), "/".join(layer.path))
            if abs(variance - 1) < tolerance:
                break
            kernel = (kernel / np.sqrt(variance)).astype(kernel.dtype)
            layer.put_variable("params", "kernel", kernel)
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(intercept):
        _, changed = module.apply(
            variables, *inputs, mutable=True, rngs=dict(rngs or {}), **settings
        )
    if not done:
        raise ValueError("module: at least one layer with a kernel, not none")
    return {**variables, "params": changed["params"]}


def _variance(y: Any, name: str) -> float:
    """Over all entries, in float32 at least."""
    variance = float(jnp.var(y.astype(np.promote_types(y.dtype, np.float32))))
    if not 0 < variance < np.inf:
        raise ValueError(
            f"inputs: a batch with an output that varies in every layer, not {variance} in {name}"
        )
    return variance
