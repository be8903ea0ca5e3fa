"""Penalties and constraints over trees of parameters: what they touch is chosen by a predicate.

By default only kernels are regularised, as in the papers of residual networks: the path of a leaf
ends in "kernel". A lone array counts as a kernel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxml.layers import _norms
from jaxml.losses import absolute_error
from jaxml.types import Array, Float, PyTree

Select = Callable[[tuple[Any, ...], Any], bool]
Scalar = float | Float[Array, ""]


def is_kernel(path: tuple[Any, ...], leaf: Any) -> bool:
    """Whether a leaf is a kernel; biases and the scales of norms are excluded.

    Args:
      path: the keys from the root to the leaf, as `jax.tree_util.tree_map_with_path` gives them:
        keys of dicts, fields of dataclasses and named tuples.
      leaf: the value there; not looked at.

    Returns:
      True where the last key is "kernel", or where there is no key: the tree is one array.

    Example:
      >>> params = {"conv": {"kernel": 0.0, "bias": 0.0}, "norm": {"scale": 0.0}}
      >>> jax.tree_util.tree_map_with_path(is_kernel, params)
      {'conv': {'bias': False, 'kernel': True}, 'norm': {'scale': False}}
    """
    del leaf
    return not path or jax.tree_util.keystr(path[-1:], simple=True) == "kernel"


def l1(params: PyTree, *, strength: Scalar, select: Select = is_kernel) -> Float[Array, ""]:
    r"""The lasso penalty.

    .. math:: \lambda \sum_i |w_i|

    Args:
      params: a tree of floating-point arrays.
      strength: lambda, at least 0.
      select: `(path, leaf) -> bool`, which leaves count.

    Returns:
      A scalar, summed in float32 at least; 0 where nothing is selected. The gradient at 0 is 0.

    Raises:
      TypeError: a selected leaf is not floating-point.
      ValueError: a negative strength, where its value is known.

    Example:
      >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
      >>> float(l1(params, strength=0.5))
      1.5

    Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996; Keras' L1.
    """
    return _penalty(params, _magnitude, strength, select, "strength")


def l2(params: PyTree, *, strength: Scalar, select: Select = is_kernel) -> Float[Array, ""]:
    r"""The ridge penalty, without a factor of one half.

    .. math:: \lambda \sum_i w_i^2

    Its gradient is :math:`2 \lambda w`, so that `weight_decay=d` of `torch.optim.SGD`, or
    `optax.add_decayed_weights(d)` before `optax.sgd`, is this penalty at `strength=d / 2`. So is
    `d * tf.nn.l2_loss(w)`, which holds the half.

    Args:
      params: a tree of floating-point arrays.
      strength: lambda, at least 0.
      select: `(path, leaf) -> bool`, which leaves count.

    Returns:
      A scalar, summed in float32 at least; 0 where nothing is selected.

    Raises:
      TypeError: a selected leaf is not floating-point.
      ValueError: a negative strength, where its value is known.

    Example:
      >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
      >>> float(l2(params, strength=0.5))
      2.5

    Source: Hoerl, Kennard, "Ridge Regression", 1970; Keras' L2, which has no half either.
    """
    return _penalty(params, jnp.square, strength, select, "strength")


def elastic_net(
    params: PyTree, *, l1_strength: Scalar, l2_strength: Scalar, select: Select = is_kernel
) -> Float[Array, ""]:
    r"""Lasso and ridge together.

    .. math:: \lambda_1 \sum_i |w_i| + \lambda_2 \sum_i w_i^2

    Args:
      params: a tree of floating-point arrays.
      l1_strength: lambda_1, at least 0.
      l2_strength: lambda_2, at least 0; no half, as in `l2`.
      select: `(path, leaf) -> bool`, which leaves count.

    Returns:
      A scalar, summed in float32 at least.

    Raises:
      TypeError: a selected leaf is not floating-point.
      ValueError: a negative strength, where its value is known.

    Example:
      >>> float(elastic_net(jnp.array([1.0, -2.0]), l1_strength=1.0, l2_strength=0.5))
      5.5

    Source: Zou, Hastie, "Regularization and variable selection via the elastic net", 2005, the
    naive form; Keras' L1L2. Scikit-learn's `alpha` and `l1_ratio` are `l1_strength = alpha *
    l1_ratio` and `l2_strength = alpha * (1 - l1_ratio) / 2`.
    """
    lasso = _penalty(params, _magnitude, l1_strength, select, "l1_strength")
    return lasso + _penalty(params, jnp.square, l2_strength, select, "l2_strength")


def max_norm(params: PyTree, *, max_value: Scalar, select: Select = is_kernel) -> PyTree:
    r"""Projects the incoming weights of every unit onto a ball.

    .. math:: w_{\cdot o} \leftarrow w_{\cdot o} \min(1,\ c / \lVert w_{\cdot o} \rVert_2)

    A unit is one index of the last dimension: the norm runs over all others, `[in]` of a dense
    kernel `[in, out]`, height, width and `in` of a convolution's `[height, width, in, out]`. It is
    applied after each update of the optimiser.

    Args:
      params: a tree of floating-point arrays.
      max_value: c, the radius of the ball, above 0.
      select: `(path, leaf) -> bool`, which leaves are projected.

    Returns:
      The same tree; norms in float32 at least, leaves in their own dtype.

    Raises:
      TypeError: a selected leaf is not floating-point.
      ValueError: max_value is not above 0, where its value is known.

    Example:
      >>> kernel = jnp.array([[3.0, 0.5], [4.0, 0.25]])
      >>> max_norm({"kernel": kernel}, max_value=2.5)["kernel"].tolist()
      [[1.5, 0.5], [2.0, 0.25]]

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    2014, section 5.1; Keras' MaxNorm with `axis` 0 for dense and [0, 1, 2] for 2-D kernels, but for
    the epsilon that Keras adds to the norm.
    """
    _check_bound("max_value", max_value, "above 0", lambda value: value > 0)

    def project(w: Array) -> Array:
        axes = tuple(range(w.ndim - 1))
        radius = jnp.asarray(max_value, w.dtype)
        inside = _norms.euclidean_norm(w, axes) <= radius
        on_ball = radius * _norms.direction(w, axes)
        return jnp.where(jnp.broadcast_to(inside, w.shape), w, on_ball)

    return _map_selected(project, params, select)


def decay(
    params: PyTree, *, rate: Scalar, learning_rate: Scalar, select: Select = is_kernel
) -> PyTree:
    r"""Decoupled weight decay: a step towards zero beside that of the optimiser.

    .. math:: w \leftarrow w - \eta \rho w

    With plain gradient descent this equals the penalty `l2` at `strength=rate / 2`, taken into the
    gradient of the same step. With momentum or a step scaled by past gradients (Adam, RMSprop) it
    does not: a penalty's gradient enters their averages, is carried into later steps and is
    divided by their scale, while this shrinks all weights alike.

    Args:
      params: a tree of floating-point arrays, before the optimiser's update.
      rate: rho, at least 0.
      learning_rate: eta of this step, at least 0.
      select: `(path, leaf) -> bool`, which leaves decay.

    Returns:
      The same tree, leaves in their own dtype.

    Raises:
      TypeError: a selected leaf is not floating-point.
      ValueError: a negative rate or learning rate, where its value is known.

    Example:
      >>> params = {"kernel": jnp.array([8.0]), "bias": jnp.array([8.0])}
      >>> decay(params, rate=0.5, learning_rate=0.25)
      {'bias': Array([8.], dtype=float32), 'kernel': Array([7.], dtype=float32)}

    Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2019, in the form of
    `torch.optim.AdamW`, `optax.adamw` and Keras' `weight_decay`, which multiply by the learning
    rate; the paper multiplies by the multiplier of the schedule alone.
    """
    _check_not_negative("rate", rate)
    _check_not_negative("learning_rate", learning_rate)

    def shrink(w: Array) -> Array:
        return w - jnp.asarray(learning_rate, w.dtype) * jnp.asarray(rate, w.dtype) * w

    return _map_selected(shrink, params, select)


def _magnitude(w: Array) -> Array:
    """`|w|` with gradient 0 at 0."""
    return absolute_error(w, jnp.zeros_like(w))


def _penalty(
    params: PyTree, term: Callable[[Array], Array], strength: Scalar, select: Select, name: str
) -> Array:
    _check_not_negative(name, strength)
    leaves = [
        _wide(path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if select(path, leaf)
    ]
    dtype = np.result_type(np.float32, *(leaf.dtype for leaf in leaves))
    if not isinstance(strength, Array) and strength == 0:
        return jnp.zeros((), dtype)  # where the sum is infinite, too
    total = sum((jnp.sum(term(leaf)).astype(dtype) for leaf in leaves), start=jnp.zeros((), dtype))
    return jnp.asarray(strength, dtype) * total


def _map_selected(change: Callable[[Array], Array], params: PyTree, select: Select) -> PyTree:
    def visit(path: tuple[Any, ...], leaf: Array) -> Array:
        return change(_wide(path, leaf)).astype(leaf.dtype) if select(path, leaf) else leaf

    return jax.tree_util.tree_map_with_path(visit, params)


def _wide(path: tuple[Any, ...], leaf: Array) -> Array:
    """The leaf in float32 at least."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        where = jax.tree_util.keystr(path)
        raise TypeError(f"params{where}: floating-point where selected, not {leaf.dtype}")
    return leaf.astype(np.promote_types(leaf.dtype, np.float32))


def _check_not_negative(name: str, value: Scalar) -> None:
    _check_bound(name, value, "at least 0", lambda value: value >= 0)


def _check_bound(name: str, value: Scalar, allowed: str, holds: Callable[[Any], Any]) -> None:
    if not isinstance(value, Tracer) and not holds(value):
        raise ValueError(f"{name}: {allowed}, not {value}")
