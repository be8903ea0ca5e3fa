"""Rows do what matrices do, however they are held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxml.svm.linear import rows as rows_module
from jaxml.svm.linear.rows import DenseRows, SparseRows, StreamedRows, as_rows

COUNT, FEATURES, PROBLEMS = 150, 7, 3


def examples():
    x = np.random.default_rng(0).normal(size=(COUNT, FEATURES)).astype(np.float32)
    x[np.random.default_rng(1).random(x.shape) < 0.6] = 0
    return x


def sharded(x):
    devices = Mesh(np.array(jax.devices()[:2]), "rows")
    return DenseRows(jax.device_put(x, NamedSharding(devices, PartitionSpec("rows"))))


def sparse_on_an_accelerator(x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        return SparseRows(scipy.sparse.csr_matrix(x))


KINDS = {
    "dense": lambda x: DenseRows(jnp.asarray(x)),
    "sharded": sharded,
    "streamed": lambda x: StreamedRows(x, block=64),
    "sparse": lambda x: SparseRows(scipy.sparse.csr_matrix(x)),
    "sparse on an accelerator": sparse_on_an_accelerator,
}


@pytest.fixture(params=KINDS)
def rows(request):
    return KINDS[request.param](examples())


def test_products_and_sums(rows):
    random = np.random.default_rng(2)
    weights = random.normal(size=(PROBLEMS, FEATURES)).astype(np.float32)
    coefficients = random.normal(size=(PROBLEMS, COUNT)).astype(np.float32)
    exact = examples().astype(np.float64)
    np.testing.assert_allclose(rows.products(weights), weights @ exact.T, atol=1e-5)
    np.testing.assert_allclose(rows.sums(coefficients), coefficients @ exact, atol=2e-5)


@pytest.fixture(params=["cpu", "gpu"])
def platform(request, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.mark.usefixtures("platform")
def test_a_gram_matrix_follows_a_change(rows):
    change = np.where(np.arange(COUNT) % 3 == 0, 0, np.arange(COUNT) - 70.0).astype(np.float32)
    before = np.eye(FEATURES + 1, dtype=np.float32)
    after = np.tril(rows.add_gram(before, change))
    exact = np.c_[examples(), np.ones(COUNT)].astype(np.float64)
    expected = np.tril(before + (exact * change[:, None]).T @ exact)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-2)
    assert np.array_equal(rows.add_gram(before, np.zeros_like(change)), before)


@pytest.mark.usefixtures("platform")
def test_a_gram_matrix_of_some_features(rows):
    weight = np.where(np.arange(COUNT) % 3 == 0, 0, np.arange(COUNT) / 10).astype(np.float32)
    index = np.array([2, 0, 5])
    found = np.tril(rows.gram_of_features(index, weight))
    some = np.c_[examples()[:, index], np.ones(COUNT)].astype(np.float64)
    np.testing.assert_allclose(found, np.tril((some * weight[:, None]).T @ some), rtol=1e-5)


def test_some_of_the_rows(rows):
    index = np.array([3, 140, 3, 77])
    some = examples()[index].astype(np.float64)
    np.testing.assert_allclose(rows.gram_of_rows(index), some @ some.T, atol=1e-5)
    part = rows.part(index)
    assert (part.num_rows, part.num_features) == (4, FEATURES)
    ones = np.ones((1, FEATURES), np.float32)
    np.testing.assert_allclose(part.products(ones)[0], some.sum(1), atol=1e-5)


def test_blocks_are_all_of_it(rows):
    found = [x.toarray() if scipy.sparse.issparse(x) else x for _, x in rows.blocks()]
    np.testing.assert_array_equal(np.concatenate(found), examples())


@pytest.mark.parametrize(
    ("share", "most", "kind"),
    [(1, 2**20, SparseRows), (0.3, 2**20, DenseRows), (0.3, 100, SparseRows)],
)
def test_sparse_rows_become_dense_where_they_are_nearly(monkeypatch, share, most, kind):
    monkeypatch.setattr(rows_module, "MOST_BYTES", most)
    monkeypatch.setattr(rows_module, "DENSE_SHARE", share)
    rows = as_rows(scipy.sparse.csr_matrix(examples()))
    assert isinstance(rows, kind)
    assert as_rows(rows) is rows
