"""Examples in every representation have the products of a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxml.svm.linear import DenseExamples, SparseExamples, StreamedExamples, _examples, as_examples

COUNT, FEATURES, PROBLEMS = 150, 7, 3


def matrix():
    x = np.random.default_rng(0).normal(size=(COUNT, FEATURES)).astype(np.float32)
    x[np.random.default_rng(1).random(x.shape) < 0.6] = 0
    return x


def sharded(x):
    devices = Mesh(np.array(jax.devices()[:2]), "rows")
    return DenseExamples(jax.device_put(x, NamedSharding(devices, PartitionSpec("rows"))))


def sparse_on_an_accelerator(x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        return SparseExamples(scipy.sparse.csr_matrix(x))


KINDS = {
    "dense": lambda x: DenseExamples(jnp.asarray(x)),
    "sharded": sharded,
    "streamed": lambda x: StreamedExamples(x, block=64),
    "sparse": lambda x: SparseExamples(scipy.sparse.csr_matrix(x)),
    "sparse on an accelerator": sparse_on_an_accelerator,
}


@pytest.fixture(params=KINDS)
def wrapped(request):
    return KINDS[request.param](matrix())


def test_products_and_sums(wrapped):
    random = np.random.default_rng(2)
    weights = random.normal(size=(PROBLEMS, FEATURES)).astype(np.float32)
    coefficients = random.normal(size=(PROBLEMS, COUNT)).astype(np.float32)
    exact = matrix().astype(np.float64)
    np.testing.assert_allclose(wrapped.products(weights), weights @ exact.T, atol=1e-5)
    np.testing.assert_allclose(wrapped.weighted_sums(coefficients), coefficients @ exact, atol=2e-5)


@pytest.fixture(params=["cpu", "gpu"])
def platform(request, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.mark.usefixtures("platform")
def test_a_gram_matrix_follows_a_change(wrapped):
    change = np.where(np.arange(COUNT) % 3 == 0, 0, np.arange(COUNT) - 70.0).astype(np.float32)
    before = np.eye(FEATURES + 1, dtype=np.float32)
    after = np.tril(wrapped.add_gram(before, change))
    exact = np.c_[matrix(), np.ones(COUNT)].astype(np.float64)
    expected = np.tril(before + (exact * change[:, None]).T @ exact)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-2)
    assert np.array_equal(wrapped.add_gram(before, np.zeros_like(change)), before)


@pytest.mark.usefixtures("platform")
def test_a_gram_matrix_of_some_features(wrapped):
    weight = np.where(np.arange(COUNT) % 3 == 0, 0, np.arange(COUNT) / 10).astype(np.float32)
    index = np.array([2, 0, 5])
    found = np.tril(wrapped.feature_gram(index, weight))
    some = np.c_[matrix()[:, index], np.ones(COUNT)].astype(np.float64)
    np.testing.assert_allclose(found, np.tril((some * weight[:, None]).T @ some), rtol=1e-5)


def test_a_subset_of_the_examples(wrapped):
    index = np.array([3, 140, 3, 77])
    some = matrix()[index].astype(np.float64)
    np.testing.assert_allclose(wrapped.example_gram(index), some @ some.T, atol=1e-5)
    part = wrapped.subset(index)
    assert (part.num_examples, part.num_features) == (4, FEATURES)
    ones = np.ones((1, FEATURES), np.float32)
    np.testing.assert_allclose(part.products(ones)[0], some.sum(1), atol=1e-5)


def test_blocks_are_all_of_it(wrapped):
    found = [x.toarray() if scipy.sparse.issparse(x) else x for _, x in wrapped.blocks()]
    np.testing.assert_array_equal(np.concatenate(found), matrix())


@pytest.mark.parametrize(
    ("share", "most", "kind"),
    [(1, 2**20, SparseExamples), (0.3, 2**20, DenseExamples), (0.3, 100, SparseExamples)],
)
def test_sparse_examples_become_dense_where_they_are_nearly(monkeypatch, share, most, kind):
    monkeypatch.setattr(_examples, "_MAX_DENSE_BYTES", most)
    monkeypatch.setattr(_examples, "_DENSE_DENSITY", share)
    wrapped = as_examples(scipy.sparse.csr_matrix(matrix()))
    assert isinstance(wrapped, kind)
    assert as_examples(wrapped) is wrapped
