"""Penalties and constraints on the parameters of a model.

The penalties `l1`, `l2` and `elastic_net` return a scalar, at least float32. `max_norm` and
`weight_decay` return a tree like `params`, with leaves in their own dtype.

All take a tree of parameters and `select`, a function `(path, leaf) -> bool` that chooses the
leaves to regularize, which must be floating-point. By default these are the kernels (see
`is_kernel`). A strength that is out of range raises a ValueError, unless it is traced.
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

__all__ = ["elastic_net", "is_kernel", "l1", "l2", "max_norm", "weight_decay"]

Select = Callable[[tuple[Any, ...], Any], bool]
Scalar = float | Float[Array, ""]


def is_kernel(path: tuple[Any, ...], leaf: Any) -> bool:
    """Returns whether a leaf is a kernel, as opposed to a bias or a parameter of a norm.

    Args:
      path: keys from the root to the leaf, as in `jax.tree_util.tree_map_with_path`.
      leaf: ignored.

    Returns:
      True if the last key is "kernel", or if the path is empty because the tree is one array.

    Example:
      >>> params = {"conv": {"kernel": 0.0, "bias": 0.0}, "norm": {"scale": 0.0}}
      >>> jax.tree_util.tree_map_with_path(is_kernel, params)
      {'conv': {'bias': False, 'kernel': True}, 'norm': {'scale': False}}
    """
    del leaf
    return not path or jax.tree_util.keystr(path[-1:], simple=True) == "kernel"


def l1(params: PyTree, *, strength: Scalar, select: Select = is_kernel) -> Float[Array, ""]:
    r"""Computes the L1 (lasso) penalty, with a gradient of 0 at 0.

    .. math:: \lambda \sum_i |w_i|

    The strength is lambda, non-negative.

    >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
    >>> float(l1(params, strength=0.5))
    1.5

    Reference: Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    return _penalty(params, _magnitude, strength, select, "strength")


def l2(params: PyTree, *, strength: Scalar, select: Select = is_kernel) -> Float[Array, ""]:
    r"""Computes the L2 (ridge) penalty, without a factor of one half, as Keras does.

    .. math:: \lambda \sum_i w_i^2

    The gradient is :math:`2 \lambda w`, so `strength=d / 2` has the effect of `weight_decay=d` in
    `torch.optim.SGD`, or of `optax.add_decayed_weights(d)` before `optax.sgd`.

    >>> params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([5.0])}
    >>> float(l2(params, strength=0.5))
    2.5

    Reference: Hoerl and Kennard, "Ridge regression", 1970.
    """
    return _penalty(params, jnp.square, strength, select, "strength")


def elastic_net(
    params: PyTree, *, l1_strength: Scalar, l2_strength: Scalar, select: Select = is_kernel
) -> Float[Array, ""]:
    r"""Computes the elastic-net penalty, the sum of `l1` and `l2`.

    .. math:: \lambda_1 \sum_i |w_i| + \lambda_2 \sum_i w_i^2

    scikit-learn's `alpha` and `l1_ratio` correspond to `l1_strength = alpha * l1_ratio` and
    `l2_strength = alpha * (1 - l1_ratio) / 2`.

    >>> float(elastic_net(jnp.array([1.0, -2.0]), l1_strength=1.0, l2_strength=0.5))
    5.5

    Reference: Zou and Hastie, "Regularization and variable selection via the elastic net", 2005,
    the naive form.
    """
    lasso = _penalty(params, _magnitude, l1_strength, select, "l1_strength")
    return lasso + _penalty(params, jnp.square, l2_strength, select, "l2_strength")


def max_norm(params: PyTree, *, max_value: Scalar, select: Select = is_kernel) -> PyTree:
    r"""Projects the incoming weights of each unit onto a ball of radius `max_value`, positive.

    .. math:: w_{\cdot o} \leftarrow w_{\cdot o} \min(1,\ c / \lVert w_{\cdot o} \rVert_2)

    A unit is one index of the last axis, and its norm is taken over all other axes: `[in]` of a
    dense kernel `[in, out]`, `[height, width, in]` of a convolution kernel
    `[height, width, in, out]`. Keras' `MaxNorm` with these axes does the same, except that it adds
    an epsilon to the norm. Apply the projection after each update.

    >>> kernel = jnp.array([[3.0, 0.5], [4.0, 0.25]])
    >>> max_norm({"kernel": kernel}, max_value=2.5)["kernel"].tolist()
    [[1.5, 0.5], [2.0, 0.25]]

    Reference: Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", 2014, section 5.1.
    """
    _check_bound("max_value", max_value, "positive", lambda value: value > 0)

    def project(w: Array) -> Array:
        axes = tuple(range(w.ndim - 1))
        radius = jnp.asarray(max_value, w.dtype)
        inside = _norms.euclidean_norm(w, axes) <= radius
        on_ball = radius * _norms.direction(w, axes)
        return jnp.where(jnp.broadcast_to(inside, w.shape), w, on_ball)

    return _map_selected(project, params, select)


def weight_decay(
    params: PyTree, *, rate: Scalar, learning_rate: Scalar, select: Select = is_kernel
) -> PyTree:
    r"""Applies decoupled weight decay, as `torch.optim.AdamW` and `optax.adamw` do.

    .. math:: w \leftarrow w - \eta \rho w

    For plain gradient descent, this equals the penalty `l2` with `strength=rate / 2`. With momentum
    or adaptive steps it does not, since the gradient of a penalty enters their running averages.

    Args:
      params: parameters before the optimizer's update.
      rate: rho, non-negative.
      learning_rate: eta of this step, non-negative; the paper has the schedule's factor instead.
      select: chooses the decayed leaves.

    Example:
      >>> params = {"kernel": jnp.array([8.0]), "bias": jnp.array([8.0])}
      >>> weight_decay(params, rate=0.5, learning_rate=0.25)
      {'bias': Array([8.], dtype=float32), 'kernel': Array([7.], dtype=float32)}

    Reference: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """
    _check_non_negative("rate", rate)
    _check_non_negative("learning_rate", learning_rate)

    def shrink(w: Array) -> Array:
        return w - jnp.asarray(learning_rate, w.dtype) * jnp.asarray(rate, w.dtype) * w

    return _map_selected(shrink, params, select)


def _magnitude(w: Array) -> Array:
    """Returns `|w|` with gradient 0 at 0."""
    return absolute_error(w, jnp.zeros_like(w))


def _penalty(
    params: PyTree, term: Callable[[Array], Array], strength: Scalar, select: Select, name: str
) -> Array:
    _check_non_negative(name, strength)
    leaves = [
        _at_least_float32(path, leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if select(path, leaf)
    ]
    dtype = np.result_type(np.float32, *(leaf.dtype for leaf in leaves))
    if not isinstance(strength, Array) and strength == 0:
        return jnp.zeros((), dtype)  # even if the sum overflows
    total = sum((jnp.sum(term(leaf)).astype(dtype) for leaf in leaves), start=jnp.zeros((), dtype))
    return jnp.asarray(strength, dtype) * total


def _map_selected(change: Callable[[Array], Array], params: PyTree, select: Select) -> PyTree:
    def visit(path: tuple[Any, ...], leaf: Array) -> Array:
        if not select(path, leaf):
            return leaf
        return change(_at_least_float32(path, leaf)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(visit, params)


def _at_least_float32(path: tuple[Any, ...], leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        name = f"params{jax.tree_util.keystr(path)}"
        raise TypeError(f"`{name}` must be floating-point to be regularized, got {leaf.dtype}")
    return leaf.astype(np.promote_types(leaf.dtype, np.float32))


def _check_non_negative(name: str, value: Scalar) -> None:
    _check_bound(name, value, "non-negative", lambda value: value >= 0)


def _check_bound(name: str, value: Scalar, rule: str, holds: Callable[[Any], Any]) -> None:
    if not isinstance(value, Tracer) and not holds(value):
        raise ValueError(f"`{name}` must be {rule}, got {value}")
