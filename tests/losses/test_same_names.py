"""Functions named as in optax, JAX or scikit-learn have the same arguments, defaults and values.

`SAME_NAME` lists them all; the first test finds out if one is missing. An argument that ours does
not have, or a value that differs at the extremes, is explained by a sentence of our docstring,
which the table quotes. `COUNTERPARTS` have another name in optax or scikit-learn.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from jaxml import losses, metrics, predictions, regularizers
from tests import properties

OURS = [losses, metrics, regularizers, predictions]
THEIRS = [optax, optax.losses, optax.projections, jax.nn, jax.lax, sklearn.metrics]
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(scale=3, size=(6, 4)), jnp.float32)
SIGNS = jnp.sign(LOGITS) * 1e4
PROBABILITIES = jnp.asarray(RNG.dirichlet(np.ones(4), 6), jnp.float32)
INTEGERS = jnp.asarray(RNG.integers(4, size=6), jnp.int32)
BINARY = jnp.asarray(RNG.integers(2, size=6), jnp.int32)
TARGETS = jnp.asarray(RNG.normal(size=6), jnp.float32)
WHERE = jnp.array([True, False, True, True, False, True])
IMPOSSIBLE = jnp.array([0.0, -jnp.inf, -1.0])
SOFT = jnp.array([0.25, 0.0, 0.75])

# (ours, theirs): inputs with equal results; then, for inputs on which they differ, our result; then
# their arguments that are missing or differ. Each difference quotes our docstring.
SAME_NAME = {
    (losses.softmax_cross_entropy, optax.losses.softmax_cross_entropy): (
        [
            (LOGITS, PROBABILITIES),
            (1e4 * LOGITS, PROBABILITIES),
            (SIGNS, jnp.eye(4)[INTEGERS]),
            (LOGITS, PROBABILITIES, {"where": WHERE}),
        ],
        [
            (
                (jnp.array([0.0, 20.0]), jnp.array([0.0, 1.0])),
                np.log1p(np.exp(-20.0)),
                "the losses of confident examples keep their relative precision",
            ),
            (
                (IMPOSSIBLE, SOFT),
                0.25 * np.logaddexp(0, -1) + 0.75 * np.logaddexp(0, 1),
                "an impossible class with probability 0 contributes 0 instead of NaN",
            ),
        ],
        {"axis": "The classes are always the last axis"},
    ),
    (losses.squared_error, optax.losses.squared_error): (
        [(LOGITS[:, 0], TARGETS), (SIGNS[:, 0], TARGETS), (jnp.array([jnp.inf]), jnp.zeros(1))],
        [],
        {"targets": "They are required"},
    ),
    (losses.kl_divergence, optax.losses.kl_divergence): (
        [
            (jax.nn.log_softmax(LOGITS), PROBABILITIES),
            (jax.nn.log_softmax(1e4 * LOGITS), PROBABILITIES),
        ],
        [
            (
                (jax.nn.log_softmax(IMPOSSIBLE), SOFT),
                0.25 * np.log(0.25 * (1 + np.exp(-1))) + 0.75 * np.log(0.75 * (1 + np.e)),
                "For a class that is impossible in both distributions, this function returns 0",
            )
        ],
        {
            "log_predictions": "takes log-probabilities, which are normalised logits, and returns",
            "axis": "The classes are always the last axis",
            "where": "`where` masks whole examples",
        },
    ),
    (predictions.top_k, jax.lax.top_k): (
        [(LOGITS, 2), (jnp.array([0.0, jnp.inf, 0.0, -jnp.inf]), 3)],
        [],
        {
            "operand": "the argument `operand` is called `logits`",
            "axis": "over the last axis",
            "is_stable": "Of tied classes, the first comes first",
        },
    ),
}

COUNTERPARTS = [
    (
        losses.softmax_cross_entropy,
        optax.losses.softmax_cross_entropy_with_integer_labels,
        (LOGITS, INTEGERS),
    ),
    (
        losses.sigmoid_cross_entropy,
        optax.losses.sigmoid_binary_cross_entropy,
        (LOGITS[:, 0], BINARY),
    ),
    (losses.sigmoid_focal, optax.losses.sigmoid_focal_loss, (LOGITS[:, 0], BINARY)),
    (losses.huber, optax.losses.huber_loss, (LOGITS[:, 0], TARGETS)),
    (
        losses.hinge,
        lambda logits, labels: optax.losses.hinge_loss(logits, 2.0 * labels.astype(float) - 1),
        (LOGITS[:, 0], BINARY),
    ),
    (
        losses.crammer_singer_hinge,
        lambda *arrays: jnp.maximum(optax.losses.multiclass_hinge_loss(*arrays), 0),
        (LOGITS, INTEGERS),
    ),
    (
        metrics.roc_auc,
        lambda scores, labels: np.float64(sklearn.metrics.roc_auc_score(labels, scores)),
        (LOGITS[:, 0], BINARY),
    ),
]
rows = pytest.mark.parametrize(
    ("ours", "theirs"), SAME_NAME, ids=lambda f: f"{f.__module__.split('.')[0]}.{f.__name__}"
)


def documented(function, sentence):
    return sentence in " ".join(str(inspect.getdoc(function)).split())


def test_the_table_has_all_functions_of_the_same_name():
    found = {
        (getattr(module, name), getattr(library, name))
        for module in OURS
        for name in module.__all__
        for library in THEIRS
        if callable(getattr(library, name, None))
    }
    assert found == set(SAME_NAME)


@rows
def test_arguments_and_defaults_are_the_same(ours, theirs):
    differences = SAME_NAME[ours, theirs][-1]
    parameters = dict(inspect.signature(ours).parameters)
    first = next(iter(parameters))
    for name, parameter in inspect.signature(theirs).parameters.items():
        if name in differences:
            assert documented(ours, differences[name]), name
            parameters.pop(name, None)
        else:
            assert parameters.pop(name).default == parameter.default, name
    parameters.pop(first, None)  # what is left are options that ours adds
    assert all(
        parameter.default is not inspect.Parameter.empty for parameter in parameters.values()
    )


@pytest.mark.slow
@rows
def test_values_are_equal_on_random_and_extreme_inputs(ours, theirs):
    equal, different, _ = SAME_NAME[ours, theirs]
    for arrays in equal:
        settings = arrays[-1] if isinstance(arrays[-1], dict) else {}
        arrays = [array for array in arrays if not isinstance(array, dict)]
        actual, expected = ours(*arrays, **settings), theirs(*arrays, **settings)
        for got, wanted in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    for arrays, expected, sentence in different:
        np.testing.assert_allclose(ours(*arrays), expected, rtol=1e-6)
        assert not np.allclose(theirs(*arrays), expected, rtol=1e-3, atol=0)
        assert documented(ours, sentence)


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs", "arrays"), COUNTERPARTS)
def test_counterparts_of_another_name_have_the_same_values(ours, theirs, arrays):
    by = "scikit-learn" if ours is metrics.roc_auc else "optax"
    properties.agree(ours, ours(*arrays), theirs(*arrays), by=by)
    if theirs is optax.losses.softmax_cross_entropy_with_integer_labels:
        actual, expected = (loss(*arrays, where=WHERE) for loss in (ours, theirs))
        properties.agree(ours, actual, expected, by=by)


def test_the_focal_and_the_huber_loss_have_the_defaults_of_optax():
    for ours, theirs, names in [
        (losses.sigmoid_focal, optax.losses.sigmoid_focal_loss, ("alpha", "gamma")),
        (losses.huber, optax.losses.huber_loss, ("delta",)),
    ]:
        ours, theirs = (inspect.signature(function).parameters for function in (ours, theirs))
        assert [ours[name].default for name in names] == [theirs[name].default for name in names]
