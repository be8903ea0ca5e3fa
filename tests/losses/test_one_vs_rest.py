"""The binary cross-entropies of all classes against SciPy, torch and timm."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxml.losses import one_vs_rest_cross_entropy
from tests import properties
from tests.losses.examples import labels_of
from tests.models import peers

CLASSES = 4
WEIGHTS = np.array([0.2, 1, 0.5, 3])


def logits_of(shape=(2, 3), scale=3.0):
    return np.random.default_rng(0).normal(scale=scale, size=(*shape, CLASSES)).astype(np.float32)


@functools.wraps(one_vs_rest_cross_entropy)
def weighted(logits, labels, class_weights, **settings):
    return one_vs_rest_cross_entropy(logits, labels, class_weights=class_weights, **settings)


def by_scipy(logits, labels, class_weights=1.0, *, label_smoothing=0.0):
    """The sum over the classes of the entropies of two outcomes."""
    one_hot = np.eye(CLASSES)[labels] if labels.ndim < logits.ndim else labels.astype(np.float64)
    shares = (1 - label_smoothing) * one_hot + label_smoothing / CLASSES
    entropies = -shares * scipy.special.log_expit(logits)
    entropies -= (1 - shares) * scipy.special.log_expit(-logits)
    return (class_weights * entropies).sum(-1)


@pytest.mark.parametrize("kind", ["integer", "one_hot", "boolean", "soft", "several"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_of_every_kind_with_smoothing_and_without(kind, smoothing):
    properties.check(
        one_vs_rest_cross_entropy, logits_of(), labels_of(kind), reference=by_scipy, by="SciPy",
        label_smoothing=smoothing, vmap=kind == "integer",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["integer", "soft"])
def test_classes_have_weights(kind):
    properties.check(
        weighted, logits_of(), labels_of(kind), WEIGHTS, reference=by_scipy, by="SciPy",
        label_smoothing=0.1, vmap=False,
    )  # fmt: skip


def test_it_is_the_sum_of_the_losses_of_torch():
    torch = pytest.importorskip("torch")

    def reference(logits, labels, weights):
        return (
            torch.nn.functional.binary_cross_entropy_with_logits(
                torch.from_numpy(logits),
                torch.from_numpy(labels),
                torch.from_numpy(weights),
                reduction="none",
            )
            .sum(-1)
            .numpy()
        )

    properties.check(
        weighted, logits_of(), labels_of("soft"), WEIGHTS, reference=reference, by="torch",
        vmap=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_timm_divides_it_by_the_number_of_classes(smoothing):
    torch = pytest.importorskip("torch")
    peers.timm()
    loss = importlib.import_module("timm.loss")
    logits, labels = logits_of((7,)), labels_of("integer", (7,))
    theirs = loss.BinaryCrossEntropy(smoothing=smoothing, reduction="none")
    expected = theirs(torch.from_numpy(logits), torch.from_numpy(labels).long()).numpy()
    ours = one_vs_rest_cross_entropy(
        jnp.asarray(logits), jnp.asarray(labels), label_smoothing=smoothing
    )
    properties.agree(one_vs_rest_cross_entropy, ours / CLASSES, expected.mean(-1), by="timm")


def test_certain_logits_cost_their_margins_or_nothing():
    certain = jnp.array([jnp.inf, -jnp.inf, -3e38, -1e4])
    both = jax.jit(jax.value_and_grad(one_vs_rest_cross_entropy))
    for label, value, slopes in [
        (0, 0.0, [0, 0, 0, 0]),
        (3, np.inf, [1, 0, 0, -1]),
    ]:
        loss, gradient = both(certain, jnp.asarray(label))
        assert loss == value
        np.testing.assert_array_equal(gradient, slopes)
    loss, gradient = both(certain, jnp.zeros(4).at[0].set(1.0))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros(4))


def test_a_class_without_weight_costs_nothing_even_where_it_is_certain_and_wrong():
    weights = jnp.array([0.0, 1.0])
    logits = jnp.array([-jnp.inf, -jnp.inf])
    loss, gradient = jax.value_and_grad(one_vs_rest_cross_entropy)(
        logits, jnp.asarray(0), class_weights=weights
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros(2))
