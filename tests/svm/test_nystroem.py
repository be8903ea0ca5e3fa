"""Nystroem features beside scikit-learn's, and how landmarks are drawn."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from jaxml.svm.nystroem import (
    nystroem_features,
    nystroem_root,
    pivoted_landmarks,
    uniform_landmarks,
)
from tests import properties, references


def rbf(x, z):
    """One example of a callable; at gamma = 1/2."""
    return jnp.exp(-((x[:, None] - z[None]) ** 2).sum(-1) / 2)


def cubic(x, z):
    return (x @ z.T + 1) ** 3


def linear(x, z):
    return x @ z.T


PEERS = {
    rbf: (lambda x, z: rbf_kernel(x, z, gamma=0.5), {"kernel": "rbf", "gamma": 0.5}),
    cubic: (
        lambda x, z: polynomial_kernel(x, z, degree=3, gamma=1, coef0=1),
        {"kernel": "poly", "degree": 3, "gamma": 1, "coef0": 1},
    ),
}
KERNELS = pytest.mark.parametrize("kernel", PEERS, ids=lambda kernel: kernel.__name__)


@functools.partial(references.plain_jit, static_argnames="kernel")
def embed(x, landmarks, kernel):
    """The features of some rows by way of the root of their landmarks."""
    root = nystroem_root(landmarks, kernel=kernel)
    return nystroem_features(x, landmarks, root, kernel=kernel)


def example(rows=30, inputs=4):
    return np.random.default_rng(0).normal(size=(rows, inputs))


@pytest.mark.slow
def test_scipy_has_the_same_root():
    def inverse_root(landmarks, kernel):
        gram = PEERS[kernel][0](landmarks, landmarks)
        return scipy.linalg.inv(scipy.linalg.sqrtm(gram)).real

    properties.check(
        nystroem_root, example(5), reference=inverse_root, by="SciPy", kernel=rbf,
        rtol=1e-4, bfloat16=None,
    )  # fmt: skip


@pytest.mark.slow
def test_numpy_has_the_same_features_of_the_same_root():
    x, root = example(), np.random.default_rng(1).normal(size=(5, 5))

    def transform(x, landmarks, root, kernel):
        return PEERS[kernel][0](x, landmarks) @ root

    properties.check(
        nystroem_features, x[:7], x[7:12], root, reference=transform, by="NumPy float64",
        kernel=rbf, bfloat16=None,
    )  # fmt: skip


@KERNELS
def test_scikit_learn_has_the_same_root_and_features_of_the_same_landmarks(kernel):
    x = example()
    peer = Nystroem(**PEERS[kernel][1], n_components=8, random_state=0).fit(x)

    def features(x, landmarks):
        root = nystroem_root(landmarks, kernel=kernel)
        return root, nystroem_features(x, landmarks, root, kernel=kernel)

    for dtype, rtol in ((np.float32, 1e-4), (np.float64, 1e-10)):
        with jax.enable_x64(dtype is np.float64):
            arrays = x.astype(dtype), np.asarray(peer.components_, dtype)
            root, ours = references.plain_jit(features)(*arrays)
            theirs = peer.transform(x)
            properties.agree(nystroem_root, root, peer.normalization_, by="scikit-learn", rtol=rtol)
            properties.agree(nystroem_features, ours, theirs, by="scikit-learn", rtol=rtol)
            gram = np.asarray(ours) @ np.asarray(ours).T
            properties.agree(
                nystroem_features, gram, theirs @ theirs.T, by="scikit-learn", rtol=rtol
            )


@KERNELS
def test_the_kernel_is_exact_at_the_landmarks_and_everywhere_if_they_are_all_rows(kernel):
    x = jnp.asarray(example(), jnp.float32)
    exact = PEERS[kernel][0](np.asarray(x, np.float64), np.asarray(x, np.float64))
    for count in (10, 30):
        landmarks = x[:count]
        features = embed(x, landmarks, kernel)
        gram = features @ features[:count].T
        references.assert_close(gram, exact[:, :count], 1e-4, str(count))


def test_landmarks_that_come_twice_change_nothing():
    x = jnp.asarray(example(), jnp.float32)
    once, twice = x[:6], jnp.concatenate([x[:6], x[2:5]])
    grams = []
    for landmarks in (once, twice):
        features = embed(x, landmarks, rbf)
        grams.append(features @ features.T)
    references.assert_close(grams[1], grams[0], 1e-4)


def test_the_cutoff_is_relative_to_the_largest_eigenvalue():
    landmarks = jnp.diag(jnp.array([1e3, 10.0, 1.0]))
    for cutoff, kept in ((1e-3, 1), (1e-5, 2), (1e-7, 3)):
        root = nystroem_root(landmarks, kernel=linear, cutoff=cutoff)
        expected = [1e-3, 0.1, 1.0][:kept] + [0.0] * (3 - kept)
        references.assert_close(jnp.diag(root), expected, 1e-5)


def test_uniform_landmarks_are_rows_each_as_often_and_once():
    x = jnp.arange(5.0)[:, None]
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda key: uniform_landmarks(key, x, 3))(keys))[..., 0].astype(int)
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    shares = np.bincount(drawn.ravel(), minlength=5) / len(keys)
    properties.agree(uniform_landmarks, shares, np.full(5, 0.6), by="theory", rtol=0.05)


def test_pivots_have_the_probabilities_of_what_is_left_of_the_diagonal():
    x = np.random.default_rng(3).normal(size=(4, 2))
    keys = jax.random.split(jax.random.key(0), 20_000)
    rows = jnp.asarray(x, jnp.float32)
    draw = jax.vmap(lambda key: pivoted_landmarks(key, rows, 2, kernel=linear))
    drawn = np.asarray(references.plain_jit(draw)(keys))
    found = (drawn[:, :, None] == np.asarray(rows)[None, None]).all(-1).argmax(-1)
    gram, shares, expected = x @ x.T, [], []
    for i, j in itertools.permutations(range(4), 2):
        first = gram[i, i] / np.trace(gram)
        left = np.diag(gram) - gram[i] ** 2 / gram[i, i]
        expected.append(first * left[j] / left.sum())
        shares.append(np.mean((found == [i, j]).all(-1)))
    assert sum(shares) == pytest.approx(1)
    error = np.sqrt(np.array(expected) / len(keys)).max() / max(expected)
    properties.agree(
        pivoted_landmarks, np.array(shares), np.array(expected), by="theory", rtol=4 * error
    )


@pytest.mark.slow
def test_pivots_find_small_groups_that_uniform_draws_miss():
    rng = np.random.default_rng(0)
    groups = [
        rng.normal(size=(size, 3)) * 0.1 + 4 * rng.normal(size=3) for size in [190] + 10 * [1]
    ]
    x = jnp.asarray(np.concatenate(groups), jnp.float32)
    exact = np.asarray(rbf(x, x))
    errors = {}
    for draw in (uniform_landmarks, lambda *a: pivoted_landmarks(*a, kernel=rbf)):
        landmarks = draw(jax.random.key(1), x, 20)
        features = embed(x, landmarks, rbf)
        errors[draw] = float(np.trace(exact - np.asarray(features @ features.T)))
    uniform, pivoted = errors.values()
    assert pivoted < 0.05 < 5 < uniform


@pytest.mark.slow
def test_pivots_are_drawn_again_when_all_examples_are_explained():
    x = jnp.tile(jnp.array([[1.0, 2.0], [3.0, -1.0]]), (4, 1))
    drawn = pivoted_landmarks(jax.random.key(0), x, 5, kernel=linear)
    assert {tuple(row) for row in drawn[:2].tolist()} == {(1.0, 2.0), (3.0, -1.0)}
    assert set(map(tuple, drawn.tolist())) <= {(1.0, 2.0), (3.0, -1.0)}
    assert pivoted_landmarks(jax.random.key(0), 0 * x, 3, kernel=linear).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("count", [0, 6])
def test_a_number_of_landmarks_out_of_range_is_an_error(count):
    message = f"`num_landmarks` must be from 1 to 5, got {count}"
    for draw in (uniform_landmarks, lambda *a: pivoted_landmarks(*a, kernel=linear)):
        with pytest.raises(ValueError, match=message):
            draw(jax.random.key(0), jnp.zeros((5, 2)), count)


def test_wrong_shapes_and_values_are_errors():
    x, landmarks, root = jnp.ones((5, 3)), jnp.ones((2, 3)), jnp.eye(2)
    cases = [
        (
            lambda: nystroem_root(landmarks, kernel=linear, cutoff=1.0),
            "`cutoff` must be in [0, 1), got 1.0",
        ),
        (lambda: nystroem_root(x[:0], kernel=linear), "`landmarks` must be [m, inputs]"),
        (
            lambda: nystroem_features(x[:, :2], landmarks, root, kernel=linear),
            "`x` must be [examples, inputs] for landmarks (2, 3), got (5, 2)",
        ),
        (
            lambda: nystroem_features(x, landmarks, x, kernel=linear),
            "`root` must be [m, m] for landmarks (2, 3), got (5, 3)",
        ),
        (
            lambda: nystroem_features(x, landmarks, root, kernel=lambda x, z: x @ x.T),
            "`kernel` must return [5, 2] for x (5, 3) and landmarks (2, 3), got (5, 5)",
        ),
        (
            lambda: uniform_landmarks(jax.random.key(0), jnp.ones(5), 2),
            "`x` must be [examples, inputs], got (5,)",
        ),
    ]
    for call, message in cases:
        with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
            call()
