r"""Several classes as many problems of two: one-vs-rest and one-vs-one.

Both are rows of signs for the functions of `jaxml.svm.objectives.binary`, mapped:

>>> from jaxml.svm.objectives import binary
>>> x, labels = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), jnp.array([0, 1, 2])
>>> signs = one_vs_rest(labels, classes=3)
>>> def value(weights, signs):
...     return binary.primal(weights, 0.0, x, signs > 0, C=1.0)
>>> jax.vmap(value)(jnp.zeros((3, 2)), signs).tolist()
[3.0, 3.0, 3.0]
>>> signs, mask = one_vs_one(labels, classes=3)
>>> def value(weights, signs, mask):
...     return binary.primal(weights, 0.0, x, signs > 0, C=1.0, sample_weight=mask)
>>> jax.vmap(value)(jnp.zeros((3, 2)), signs, mask).tolist()
[2.0, 2.0, 2.0]
"""

import itertools

import jax
import jax.numpy as jnp

from jaxml import predictions
from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.types import Array, Float, Integer


def one_vs_rest(
    labels: Integer[Array, " rows"], *, classes: int, dtype: jax.typing.DTypeLike = jnp.float32
) -> Float[Array, "classes rows"]:
    r"""The signs of each class against all others.

    .. math:: s_{mi} = 1 \text{ where } y_i = m, \text{ else } -1

    Args:
      labels: `[rows]`, integers in [0, classes); others are -1 everywhere where labels are traced.
      classes: how many there are.
      dtype: a floating dtype.

    Returns:
      `[classes, rows]` of the dtype.

    Raises:
      TypeError: labels that are not integers.
      ValueError: labels out of range, or fewer than two classes.

    Example:
      >>> one_vs_rest(jnp.array([0, 2]), classes=3).tolist()
      [[1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]]

    Source: Rifkin and Klautau, "In defense of one-vs-all classification", 2004.
    """
    _check_labels(labels, classes)
    return jnp.where(labelling.is_label(labels, classes).T, 1.0, -1.0).astype(dtype)


def pairs(classes: int) -> tuple[tuple[int, int], ...]:
    """The pairs of classes of one-vs-one, in libsvm's order.

    Args:
      classes: how many there are, at least two.

    Returns:
      `(0, 1), (0, 2), ..., (1, 2), ...`: classes (classes - 1) / 2 of them.

    Raises:
      ValueError: fewer than two classes.

    Example:
      >>> pairs(3)
      ((0, 1), (0, 2), (1, 2))

    Source: Knerr, Personnaz and Dreyfus, "Single-layer learning revisited", 1990.
    """
    _check_classes(classes)
    return tuple(itertools.combinations(range(classes), 2))


def one_vs_one(
    labels: Integer[Array, " rows"], *, classes: int, dtype: jax.typing.DTypeLike = jnp.float32
) -> tuple[Float[Array, "pairs rows"], Float[Array, "pairs rows"]]:
    r"""The signs of the first class of each pair against the second, and which rows are in it.

    .. math:: s_{pi} = 1 \text{ where } y_i = a, \text{ else } -1; \qquad
      m_{pi} = 1 \text{ where } y_i \in \{a, b\}, \text{ else } 0; \qquad p = (a, b)

    Args:
      labels: `[rows]`, integers in [0, classes); others are in no pair where labels are traced.
      classes: how many there are.
      dtype: a floating dtype.

    Returns:
      The signs and the mask, `[pairs, rows]` of the dtype, in the order of `pairs`. The mask is
      what `sample_weight` is multiplied with.

    Raises:
      TypeError: labels that are not integers.
      ValueError: labels out of range, or fewer than two classes.

    Example:
      >>> signs, mask = one_vs_one(jnp.array([0, 2, 1]), classes=3)
      >>> (signs * mask).astype(int).tolist()
      [[1, 0, -1], [1, -1, 0], [0, -1, 1]]

    Source: as `pairs`; libsvm too has the first class of a pair positive.
    """
    _check_labels(labels, classes)
    first, second = _ends(classes)
    belongs = labelling.is_label(labels, classes).T
    signs = jnp.where(belongs[first], 1.0, -1.0).astype(dtype)
    return signs, (belongs[first] | belongs[second]).astype(dtype)


def votes(
    decisions: Float[Array, "*batch pairs"], *, classes: int
) -> Float[Array, "*batch classes"]:
    r"""How many of its pairs each class wins.

    .. math:: v_a = \sum_{(a, b)} [d_{ab} > 0] + \sum_{(b, a)} [d_{ba} \le 0]

    Args:
      decisions: `[..., pairs]`, floating point, in the order of `pairs`; positive is for the first.
      classes: how many there are.

    Returns:
      `[..., classes]`, whole numbers of the dtype of the decisions.

    Raises:
      TypeError: decisions that are not floating point.
      ValueError: a number of decisions that is not that of the pairs.

    Example:
      >>> votes(jnp.array([-1.0, 2.0, 0.5]), classes=3).tolist()
      [1.0, 2.0, 0.0]

    Source: libsvm.
    """
    _check_decisions(decisions, classes)
    first, second = _ends(classes)
    won = (decisions > 0)[..., None]
    wins = jnp.where(
        jnp.broadcast_to(won, (*decisions.shape, classes)),
        jnp.broadcast_to(jax.nn.one_hot(first, classes), (*decisions.shape, classes)),
        jnp.broadcast_to(jax.nn.one_hot(second, classes), (*decisions.shape, classes)),
    )
    return wins.sum(axis=-2).astype(decisions.dtype)


def vote(decisions: Float[Array, "*batch pairs"], *, classes: int) -> Integer[Array, "*batch"]:
    """The class that wins most of its pairs, of several the first.

    Args:
      decisions: `[..., pairs]`, floating point, in the order of `pairs`; positive is for the first.
      classes: how many there are.

    Returns:
      `[...]`, int32.

    Raises:
      TypeError: decisions that are not floating point.
      ValueError: a number of decisions that is not that of the pairs.

    Example:
      >>> int(vote(jnp.array([-1.0, 2.0, -0.5]), classes=3))  # votes are 1, 1, 1
      0

    Source: libsvm, and scikit-learn's `SVC.predict` unless `break_ties` is set.
    """
    return predictions.class_predictions(votes(decisions, classes=classes))


def one_vs_rest_decisions(
    decisions: Float[Array, "*batch pairs"], *, classes: int
) -> Float[Array, "*batch classes"]:
    r"""Votes of one-vs-one, with ties broken by the sums of the decisions.

    .. math::
      v_a + \frac{t_a}{3 (|t_a| + 1)}, \qquad t_a = \sum_{(a, b)} d_{ab} - \sum_{(b, a)} d_{ba}

    Args:
      decisions: `[..., pairs]`, floating point, in the order of `pairs`; positive is for the first.
      classes: how many there are.

    Returns:
      `[..., classes]` in the dtype of the decisions: within a third of a whole number of votes.

    Raises:
      TypeError: decisions that are not floating point.
      ValueError: a number of decisions that is not that of the pairs.

    Example:
      >>> one_vs_rest_decisions(jnp.array([1.0, -1.0, 3.0]), classes=3).tolist()
      [1.0, 1.2222222089767456, 0.7777777910232544]

    Source: scikit-learn's `SVC(decision_function_shape="ovr")`.
    """
    _check_decisions(decisions, classes)
    first, second = _ends(classes)
    sides = jax.nn.one_hot(first, classes) - jax.nn.one_hot(second, classes)
    sums = decisions @ sides.astype(decisions.dtype)
    return votes(decisions, classes=classes) + sums / (3 * (jnp.abs(sums) + 1))


def _ends(classes: int) -> tuple[Array, Array]:
    """The first class of each pair and the second, `[pairs]`."""
    first, second = zip(*pairs(classes), strict=True)
    return jnp.array(first), jnp.array(second)


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise ValueError(f"classes: at least 2, not {classes}")


def _check_labels(labels: Array, classes: int) -> None:
    _check_classes(classes)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels: integers in [0, {classes}), not {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels: [rows], not {labels.shape}")
    labelling.check_inside("labels", labels, None, classes)


def _check_decisions(decisions: Array, classes: int) -> None:
    inputs.check_real("decisions", decisions)
    count = len(pairs(classes))
    if not decisions.ndim or decisions.shape[-1] != count:
        raise ValueError(f"decisions: [..., {count}] for {classes} classes, not {decisions.shape}")
