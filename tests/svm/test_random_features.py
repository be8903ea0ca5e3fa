"""Random Fourier features beside the kernel they estimate, and their variance beside theory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import rbf_kernel

from jaxml.svm.random_features import fourier_features, fourier_frequencies
from tests import properties, references

GAMMA = 0.3


def example(rows=7, inputs=5, frequencies=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(inputs, frequencies))


def sampler(x, frequencies):
    """scikit-learn's features of these frequencies: phases of 0 are cosines, of -pi/2 sines."""
    peer = RBFSampler(n_components=frequencies.shape[1]).fit(x)
    peer.random_weights_, parts = frequencies, []
    for phase in (0.0, -np.pi / 2):
        peer.random_offset_ = np.full(frequencies.shape[1], phase)
        parts.append(peer.transform(x) / np.sqrt(2))
    return np.concatenate(parts, axis=-1)


def estimates(keys, points, num_features, orthogonal):
    """For each key, the kernel of every point and the origin as the features have it."""
    origin = jnp.zeros((1, points.shape[1]))

    def one(key):
        frequencies = fourier_frequencies(
            key, points.shape[1], num_features, gamma=GAMMA, orthogonal=orthogonal
        )
        near, far = (fourier_features(x, frequencies) for x in (origin, points))
        return far @ near[0]

    every = jax.random.split(jax.random.key(7), keys)
    return np.asarray(references.plain_jit(jax.vmap(one))(every), np.float64)


def variance(distances, inputs, frequencies, orthogonal):
    """Of the mean of the cosines of as many frequencies, at most one group of them."""
    z = GAMMA * distances**2
    k = np.exp(-z)
    one = (1 + np.exp(-4 * z)) / 2 - k**2
    if not orthogonal:
        return one / frequencies
    # A sum of two at right angles has the length of a normal vector of twice the dimensions.
    both = scipy.special.hyp1f1(inputs, inputs / 2, -z) - k**2
    return (one + (frequencies - 1) * both) / frequencies


def test_scikit_learn_has_the_same_cosines_and_sines():
    properties.check(fourier_features, *example(), reference=sampler, by="scikit-learn")


@pytest.mark.parametrize("lead", [(), (0,), (2, 3)])
def test_any_leading_dimensions_are_kept(lead):
    rng = np.random.default_rng(1)
    x, frequencies = rng.normal(size=(*lead, 4)), rng.normal(size=(4, 3))

    def reference(x, frequencies):
        rows = sampler(x.reshape(-1, 4), frequencies) if x.size else np.zeros((0, 6))
        return rows.reshape(*lead, 6)

    properties.check(
        fourier_features,
        x,
        frequencies,
        reference=reference,
        by="scikit-learn",
        grads=0,
        vmap=False,
    )


@pytest.mark.parametrize("orthogonal", [False, True])
def test_products_are_the_kernel_but_for_the_errors_of_theory(orthogonal):
    x, _ = example(rows=40)
    num_features = 20_000
    frequencies = fourier_frequencies(
        jax.random.key(0), 5, num_features, gamma=GAMMA, orthogonal=orthogonal
    )
    features = fourier_features(jnp.asarray(x, jnp.float32), frequencies)
    gram, kernel = np.asarray(features @ features.T), rbf_kernel(x, gamma=GAMMA)
    # Five standard deviations of the largest variance that independent frequencies have.
    properties.agree(
        fourier_frequencies, gram, kernel, by="scikit-learn", rtol=5 / num_features**0.5
    )
    np.testing.assert_allclose(np.diag(gram), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_estimate_is_unbiased_and_has_the_variance_of_theory(orthogonal):
    distances = np.array([0.3, 1.0, 2.0])
    points = distances[:, None] * np.array([0.6, 0.0, -0.8, 0.0, 0.0, 0.0])
    got = estimates(4000, jnp.asarray(points, jnp.float32), 8, orthogonal)
    expected = variance(distances, 6, 4, orthogonal)
    error = np.sqrt(expected / len(got))
    assert (abs(got.mean(0) - np.exp(-GAMMA * distances**2)) < 4 * error).all()
    squares = (got - got.mean(0)) ** 2
    assert (abs(squares.mean(0) - expected) < 4 * squares.std(0) / np.sqrt(len(got))).all()
    if orthogonal:
        assert (expected < variance(distances, 6, 4, orthogonal=False)).all()


def test_pairs_err_less_than_the_features_with_phases():
    x, _ = example(rows=30)
    kernel = rbf_kernel(x, gamma=GAMMA)
    ours, theirs = [], []
    for seed in range(30):
        frequencies = fourier_frequencies(jax.random.key(seed), 5, 100, gamma=GAMMA)
        features = np.asarray(fourier_features(jnp.asarray(x, jnp.float32), frequencies))
        ours.append(np.mean((features @ features.T - kernel) ** 2))
        peer = RBFSampler(gamma=GAMMA, n_components=100, random_state=seed).fit_transform(x)
        theirs.append(np.mean((peer @ peer.T - kernel) ** 2))
    squared = kernel**2
    assert np.mean(ours) == pytest.approx(np.mean((1 - squared) ** 2 / 100), rel=0.1)
    assert np.mean(theirs) == pytest.approx(np.mean(1 + squared**2 / 2 - squared) / 100, rel=0.1)
    assert np.mean(ours) < np.mean(theirs)


@pytest.mark.slow
def test_orthogonal_frequencies_are_at_right_angles_in_groups_and_of_a_normal_vectors_length():
    draw = fourier_frequencies(jax.random.key(3), 20, 96, gamma=0.5, orthogonal=True)
    for group in (draw[:, :20], draw[:, 20:40], draw[:, 40:]):
        directions = group / jnp.linalg.norm(group, axis=0, keepdims=True)
        references.assert_close(directions.T @ directions, np.eye(group.shape[1]), 1e-5)
    assert np.abs(draw[:, :20].T @ draw[:, 20:40]).max() > 5
    lengths = np.linalg.norm(draw, axis=0)
    assert scipy.stats.kstest(lengths, scipy.stats.chi(20).cdf).pvalue > 0.01


@pytest.mark.slow
def test_a_frequency_grows_with_the_root_of_gamma_which_may_be_mapped_over():
    def draw(gamma):
        return fourier_frequencies(jax.random.key(0), 3, 4, gamma=gamma)

    mapped = jax.vmap(draw)(jnp.array([0.5, 2.0]))
    references.assert_close(mapped[1], 2 * np.asarray(mapped[0], np.float64), 1e-6)
    references.assert_close(mapped[1], draw(2.0), 1e-6)
    with jax.enable_x64(True):
        wide = fourier_frequencies(jax.random.key(0), 3, 4, gamma=1.0, dtype=jnp.float64)
        assert wide.dtype == jnp.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 1.0), "`num_inputs` must be >= 1, got 0"),
        ((3, 0, 1.0), "`num_features` must be even and >= 2, got 0"),
        ((3, 5, 1.0), "`num_features` must be even and >= 2, got 5"),
        ((3, 2, 0.0), "`gamma` must be positive, got 0.0"),
        ((3, 2, float("nan")), "`gamma` must be positive, got nan"),
    ],
)
def test_numbers_out_of_range_are_errors(arguments, message):
    inputs, features, gamma = arguments
    with pytest.raises(ValueError, match=re.escape(message)):
        fourier_frequencies(jax.random.key(0), inputs, features, gamma=gamma)


def test_arrays_of_other_shapes_and_dtypes_are_errors():
    with properties.unchecked():
        message = "`x` must be [..., inputs] for frequencies (3, 2), got (5, 4)"
        with pytest.raises(ValueError, match=re.escape(message)):
            fourier_features(jnp.zeros((5, 4)), jnp.zeros((3, 2)))
        with pytest.raises(TypeError, match="`x` must be floating-point, got int32"):
            fourier_features(jnp.zeros((5, 3), jnp.int32), jnp.zeros((3, 2)))
