"""Kernel matrices in float64, beside scikit-learn's and beside extended precision."""

import numpy as np
import pytest
from sklearn.metrics import pairwise

from jaxml.svm.kernel import HostKernel, _host_kernel, product_error, take

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(300, 5)), RNG.normal(size=(70, 5))
KERNELS = {
    "linear": (HostKernel("linear"), pairwise.linear_kernel(X, Z)),
    "rbf": (HostKernel("rbf", gamma=0.3), pairwise.rbf_kernel(X, Z, gamma=0.3)),
    "poly": (
        HostKernel("poly", gamma=0.3, coef0=0.5, degree=4),
        pairwise.pairwise_kernels(X, Z, metric="poly", gamma=0.3, coef0=0.5, degree=4),
    ),
    "sigmoid": (
        HostKernel("sigmoid", gamma=0.3, coef0=0.5),
        pairwise.pairwise_kernels(X, Z, metric="sigmoid", gamma=0.3, coef0=0.5),
    ),
    "other": (
        HostKernel("other", function=pairwise.laplacian_kernel),
        pairwise.laplacian_kernel(X, Z),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_matrix_is_that_of_scikit_learn(name, monkeypatch):
    monkeypatch.setattr(_host_kernel, "_BLOCK", 1000)  # many blocks
    kernel, wanted = KERNELS[name]
    x, z = kernel.examples(X), kernel.examples(Z)
    np.testing.assert_allclose(kernel.matrix(x, z), wanted, atol=1e-13)
    weights = RNG.normal(size=(70, 3))
    np.testing.assert_allclose(kernel.weighted_sums(x, z, weights), wanted @ weights, atol=1e-12)
    some = np.array([5, 2])
    np.testing.assert_allclose(kernel.block(take(x, some), z), wanted[some], atol=1e-13)


@pytest.mark.parametrize("name", ["linear", "rbf", "poly"])
def test_the_largest_entry_is_on_the_diagonal(name):
    kernel, _ = KERNELS[name]
    x = kernel.examples(X)
    np.testing.assert_allclose(kernel.max_entry(x), np.abs(kernel.matrix(x, x)).max(), rtol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 1e3, 1e6, 1e8])
def test_distant_clusters_keep_the_digits_of_their_distances(distance):
    shift = np.where(np.arange(len(X)) % 2, distance, -distance)
    x = X.copy()
    x[:, 0] += shift
    kernel = HostKernel("rbf", gamma=0.7)
    wide = x.astype(np.longdouble)
    squares = np.square(wide[:, None] - wide[None]).sum(-1)
    wanted = np.exp(-0.7 * squares).astype(float)
    rows = kernel.examples(x)
    np.testing.assert_allclose(kernel.matrix(rows, rows), wanted, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_of_products_is_bounded(dtype):
    for features in (1, 30, 1000):
        x = RNG.normal(size=(200, features)) * 37 + 11
        narrow = x.astype(dtype)
        norms = np.square(narrow).sum(1)
        squares = norms[:, None] + norms - 2 * narrow @ narrow.T
        wide = narrow.astype(np.longdouble)
        exact = np.stack([np.square(row - wide).sum(-1) for row in wide])
        error = float(np.abs(squares - exact).max())
        assert error <= product_error(float(np.square(x).sum(1).max()), features, dtype)
