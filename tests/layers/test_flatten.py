"""Flattening against NumPy and torch."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import flatten
from tests import properties


def reference_flatten(x, *, start=1):
    lead = x.shape[:start]
    return np.stack([row.ravel() for row in x.reshape(-1, *x.shape[start:])]).reshape(*lead, -1)


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 2, -1, -3])
def test_the_last_dimensions_become_one(start):
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 3))
    vmap = start < 0  # from the front, a mapped dimension does not count
    by = "NumPy float64"
    properties.check(flatten, x, reference=reference_flatten, by=by, vmap=vmap, start=start)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 3))
    expected = torch.nn.Flatten()(torch.from_numpy(x)).numpy()
    properties.agree(flatten, flatten(jnp.asarray(x, jnp.float32)), expected, by="torch")


def test_empty_batches_and_integers():
    y = flatten(jnp.zeros((0, 2, 3), jnp.int32))
    assert (y.shape, y.dtype) == ((0, 6), jnp.int32)


@pytest.mark.parametrize("start", [2, -3])
def test_a_dimension_that_is_not_there_is_an_error(start):
    message = f"`start` must be in [-2, 1] for x of shape (4, 5), got {start}"
    with pytest.raises(ValueError, match=re.escape(message)):
        flatten(jnp.zeros((4, 5)), start=start)
