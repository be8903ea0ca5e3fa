"""Kullback-Leibler divergence against SciPy, torch and Keras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxml.losses import kl_divergence
from tests import properties


def example(shape=(2, 3), classes=4):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(*shape, classes))
    return logits, rng.dirichlet(np.ones(classes), shape)


@pytest.mark.slow
def test_from_logits():
    def reference(logits, targets):
        q = scipy.special.softmax(logits, axis=-1)
        return scipy.special.rel_entr(targets, q).sum(-1)

    properties.check(kl_divergence, *example(), reference=reference, by="SciPy")


@pytest.mark.slow
def test_from_probabilities():
    def reference(probabilities, targets, *, from_logits):
        return scipy.special.rel_entr(targets, probabilities).sum(-1)

    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.2, 0.8, size=(2, 3, 4)) for _ in range(2)]
    properties.check(
        kl_divergence, *arrays, reference=reference, by="NumPy float64", from_logits=False
    )


def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def reference(logits, targets):
        log_q = torch.log_softmax(torch.from_numpy(logits), -1)
        kl = torch.nn.functional.kl_div(log_q, torch.from_numpy(targets), reduction="none")
        return kl.sum(-1).numpy()

    properties.check(
        kl_divergence, *example(), reference=reference, by="torch", grads=0, vmap=False
    )


@pytest.mark.slow
def test_keras_agrees_with_the_targets_first(keras):
    logits, targets = example()
    q = scipy.special.softmax(logits, axis=-1)
    expected = keras.losses.KLDivergence(reduction=None, dtype="float64")(targets, q).numpy()
    actual = kl_divergence(
        jnp.asarray(q, jnp.float32), jnp.asarray(targets, jnp.float32), from_logits=False
    )
    properties.agree(kl_divergence, actual, expected, by="Keras", rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_probability_of_zero_adds_nothing_and_has_a_finite_gradient(from_logits):
    targets = jnp.array([0.9, 0.1, 0.0])
    first = jnp.array([1.0, 2.0, -jnp.inf]) if from_logits else jnp.array([0.5, 0.5, 0.0])

    def loss(first, targets):
        return kl_divergence(first, targets, from_logits=from_logits)

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(first, targets)
    q = jax.nn.softmax(first) if from_logits else first
    assert float(value) == pytest.approx(scipy.stats.entropy(targets[:2], q[:2]), rel=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_what_is_impossible_but_happens_is_infinite():
    assert kl_divergence(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5]), from_logits=False) == jnp.inf


@pytest.mark.slow
def test_equal_distributions_are_at_no_distance():
    logits = jnp.asarray(example()[0], jnp.float32)
    np.testing.assert_allclose(kl_divergence(logits, jax.nn.softmax(logits)), 0, atol=3e-7)
