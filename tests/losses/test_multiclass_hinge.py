"""Multiclass hinges against loops, torch, scikit-learn, Keras and optax."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from jaxml.losses import crammer_singer_hinge, one_vs_rest_hinge, weston_watkins_hinge
from tests import properties

HINGES = [one_vs_rest_hinge, crammer_singer_hinge, weston_watkins_hinge]


def example(shape=(2, 3), classes=4, dtype: Any = np.int32):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=1.5, size=(*shape, classes))
    return logits, rng.integers(classes, size=shape).astype(dtype)


def reference_of(hinge):
    """Class by class of example by example."""

    def reference(logits, labels, *, squared=False):
        losses, power = np.zeros(labels.shape), 2 if squared else 1
        for index in np.ndindex(labels.shape):
            z, y = logits[index], labels[index]
            others = [c for c in range(len(z)) if c != y]
            if hinge is one_vs_rest_hinge:
                terms = [1 - z[y], *(1 + z[c] for c in others)]
            else:
                terms = [1 + z[c] - z[y] for c in others]
            powers = [max(0.0, term) ** power for term in terms] or [0.0]
            losses[index] = max(powers) if hinge is crammer_singer_hinge else sum(powers)
        return losses

    return reference


@pytest.mark.slow
@pytest.mark.parametrize("hinge", HINGES)
@pytest.mark.parametrize("squared", [False, True])
def test_margins_are_those_of_a_loop(hinge, squared):
    reference = reference_of(hinge)
    properties.check(hinge, *example(), reference=reference, by="NumPy float64", squared=squared)


@pytest.mark.slow
@pytest.mark.parametrize("hinge", HINGES)
@pytest.mark.parametrize(("shape", "classes"), [((), 1), ((), 3), ((0,), 2), ((3,), 1), ((2,), 2)])
def test_few_classes_and_few_examples(hinge, shape, classes):
    arrays = example(shape, classes, np.uint8)
    properties.check(
        hinge, *arrays, reference=reference_of(hinge), by="NumPy float64", grads=0, vmap=False,
        bfloat16=None,
    )  # fmt: skip


@pytest.mark.parametrize("squared", [False, True])
def test_weston_watkins_is_what_torch_divides_by_the_number_of_classes(squared):
    torch = pytest.importorskip("torch")

    def reference(logits, labels, *, squared):
        loss = torch.nn.functional.multi_margin_loss(
            torch.from_numpy(logits),
            torch.from_numpy(labels.astype(np.int64)),
            p=2 if squared else 1,
            reduction="none",
        )
        return logits.shape[-1] * loss.numpy()

    arrays = example((6,))
    properties.check(
        weston_watkins_hinge, *arrays, reference=reference, by="torch", grads=0, vmap=False,
        squared=squared,
    )  # fmt: skip


@pytest.mark.slow
def test_the_mean_of_crammer_singer_is_that_of_scikit_learn():
    logits, labels = example((20,))
    actual = crammer_singer_hinge(jnp.asarray(logits, jnp.float32), jnp.asarray(labels)).mean()
    expected = sklearn.metrics.hinge_loss(labels, logits, labels=range(4))
    properties.agree(crammer_singer_hinge, actual, expected, by="scikit-learn")


@pytest.mark.slow
def test_crammer_singer_is_that_of_optax():
    arrays = [jnp.asarray(array) for array in example((6,))]
    actual, expected = crammer_singer_hinge(*arrays), optax.losses.multiclass_hinge_loss(*arrays)
    properties.agree(crammer_singer_hinge, actual, np.maximum(expected, 0), by="optax")


def test_crammer_singer_and_one_vs_rest_are_those_of_keras(keras):
    logits, labels = example((6,))
    logits = np.abs(logits)  # Keras' strongest other class is never below 0
    one_hot = np.eye(4)[labels]
    arrays = jnp.asarray(logits, jnp.float32), jnp.asarray(labels)
    expected = keras.losses.CategoricalHinge(reduction=None, dtype="float64")(one_hot, logits)
    properties.agree(
        crammer_singer_hinge, crammer_singer_hinge(*arrays), expected.numpy(), by="Keras"
    )
    expected = 4 * keras.losses.Hinge(reduction=None, dtype="float64")(one_hot, logits).numpy()
    properties.agree(one_vs_rest_hinge, one_vs_rest_hinge(*arrays), expected, by="Keras")


@pytest.mark.slow
@pytest.mark.parametrize("hinge", HINGES)
def test_a_class_of_minus_infinity_takes_no_part(hinge):
    logits, labels = jnp.array([0.5, 1.0, -jnp.inf]), jnp.array(0)
    np.testing.assert_array_equal(hinge(logits, labels), hinge(logits[:2], labels))


def test_margins_of_huge_logits_keep_their_digits():
    logits = jnp.array([1e4 + 0.5, 1e4, 1e4 - 3])
    assert [float(hinge(logits, jnp.array(0))) for hinge in HINGES[1:]] == [0.5, 0.5]
