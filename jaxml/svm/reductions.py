r"""Several classes as many problems of two: one-vs-rest and one-vs-one.

`jax.vmap` solves or evaluates the problems together:

>>> from jaxml.svm.objectives import Classification, primal
>>> x, labels = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), jnp.array([0, 1, 2])
>>> signs, mask = one_vs_one(labels, num_classes=3)
>>> def value(weights, signs, mask):
...     return primal(Classification(signs > 0, C=1.0, x=x, sample_weight=mask), weights, 0.0)
>>> jax.vmap(value)(jnp.zeros((3, 2)), signs, mask).tolist()
[2.0, 2.0, 2.0]

Decisions of one-vs-one are `[..., pairs]` in the order of `pairs`, positive for the first class.
Labels out of range and shapes that do not fit raise ValueError, other dtypes TypeError.

References: Rifkin and Klautau, "In defense of one-vs-all classification", 2004; Knerr, Personnaz
and Dreyfus, "Single-layer learning revisited", 1990.
"""

import itertools

import jax
import jax.numpy as jnp

from jaxml import predictions
from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.svm import _validation as validation
from jaxml.types import Array, Float, Integer

__all__ = ["one_vs_one", "one_vs_rest", "one_vs_rest_decisions", "pairs", "vote", "votes"]


def one_vs_rest(
    labels: Integer[Array, " samples"],
    *,
    num_classes: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "classes samples"]:
    r"""Returns 1 for the samples of each class and -1 for all others.

    Traced labels that are out of range are -1 everywhere.

    Example:
      >>> one_vs_rest(jnp.array([0, 2]), num_classes=3).tolist()
      [[1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]]
    """
    return jnp.where(_members(labels, num_classes), 1.0, -1.0).astype(dtype)


def pairs(num_classes: int) -> tuple[tuple[int, int], ...]:
    """Returns the pairs of classes of one-vs-one, in libsvm's order.

    Example:
      >>> pairs(3)
      ((0, 1), (0, 2), (1, 2))
    """
    validation.check_num_classes(num_classes)
    return tuple(itertools.combinations(range(num_classes), 2))


def one_vs_one(
    labels: Integer[Array, " samples"],
    *,
    num_classes: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> tuple[Float[Array, "pairs samples"], Float[Array, "pairs samples"]]:
    r"""Returns the signs of each pair of classes, and a mask of its samples.

    Traced labels that are out of range are in no pair.

    Returns:
      The signs, 1 for the first class of the pair and else -1, and the mask, 1 for both classes and
      else 0. Multiply `sample_weight` with the mask.

    Example:
      >>> signs, mask = one_vs_one(jnp.array([0, 2, 1]), num_classes=3)
      >>> (signs * mask).astype(int).tolist()
      [[1, 0, -1], [1, -1, 0], [0, -1, 1]]
    """
    first, second = _ends(num_classes)
    belongs = _members(labels, num_classes)
    signs = jnp.where(belongs[first], 1.0, -1.0).astype(dtype)
    return signs, (belongs[first] | belongs[second]).astype(dtype)


def votes(
    decisions: Float[Array, "*batch pairs"], *, num_classes: int
) -> Float[Array, "*batch classes"]:
    """Counts the pairs that each class wins; a decision of 0 is for the second class."""
    _check_decisions(decisions, num_classes)
    first, second = (jax.nn.one_hot(end, num_classes) for end in _ends(num_classes))
    shape = (*decisions.shape, num_classes)
    won = jnp.broadcast_to((decisions > 0)[..., None], shape)
    wins = jnp.where(won, jnp.broadcast_to(first, shape), jnp.broadcast_to(second, shape))
    return wins.sum(axis=-2).astype(decisions.dtype)


def vote(decisions: Float[Array, "*batch pairs"], *, num_classes: int) -> Integer[Array, "*batch"]:
    """Returns the class with the most votes, the first of several.

    This is the prediction of libsvm, and of scikit-learn's `SVC` unless `break_ties` is set.

    Example:
      >>> int(vote(jnp.array([-1.0, 2.0, -0.5]), num_classes=3))  # votes are 1, 1, 1
      0
    """
    return predictions.class_predictions(votes(decisions, num_classes=num_classes))


def one_vs_rest_decisions(
    decisions: Float[Array, "*batch pairs"], *, num_classes: int
) -> Float[Array, "*batch classes"]:
    r"""Computes one decision a class: its votes, with ties broken by the sums of its decisions.

    .. math::
      v_a + \frac{t_a}{3 (|t_a| + 1)}, \qquad t_a = \sum_{(a, b)} d_{ab} - \sum_{(b, a)} d_{ba}

    This is the decision function of scikit-learn's `SVC(decision_function_shape="ovr")`.
    """
    _check_decisions(decisions, num_classes)
    first, second = _ends(num_classes)
    sides = jax.nn.one_hot(first, num_classes) - jax.nn.one_hot(second, num_classes)
    sums = decisions @ sides.astype(decisions.dtype)
    return votes(decisions, num_classes=num_classes) + sums / (3 * (jnp.abs(sums) + 1))


def _members(labels: Array, num_classes: int) -> Array:
    """Returns `[classes, samples]` booleans, after a check of the arguments."""
    validation.check_num_classes(num_classes)
    validation.check_labels(labels, num_classes)
    return labelling.is_label(labels, num_classes).T


def _ends(num_classes: int) -> tuple[Array, Array]:
    """Returns the first and the second class of each pair, `[pairs]`."""
    first, second = zip(*pairs(num_classes), strict=True)
    return jnp.array(first), jnp.array(second)


def _check_decisions(decisions: Array, num_classes: int) -> None:
    inputs.check_real("decisions", decisions)
    count = len(pairs(num_classes))
    if not decisions.ndim or decisions.shape[-1] != count:
        rule = f"must have shape (..., {count}) for {num_classes} classes"
        raise ValueError(f"`decisions` {rule}, got {decisions.shape}")
