"""Kernels against scikit-learn's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import pairwise

from jaxml.errors import InputError
from jaxml.svm import kernels
from tests import properties

SETTINGS = {
    "linear": {},
    "poly": {"gamma": 0.3, "coef0": 1.5, "degree": 4},
    "rbf": {"gamma": 0.3},
    "sigmoid": {"gamma": 0.3, "coef0": -0.5},
}
REFERENCES = {
    "linear": pairwise.linear_kernel,
    "poly": pairwise.polynomial_kernel,
    "rbf": pairwise.rbf_kernel,
    "sigmoid": pairwise.sigmoid_kernel,
}
FUNCTIONS = {name: kernels.KERNELS[name] for name in SETTINGS}


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(7, 5)), rng.normal(size=(4, 5))


@pytest.mark.parametrize("name", SETTINGS)
def test_kernel_has_the_properties_of_a_pure_function(name):
    properties.check(
        FUNCTIONS[name],
        *data(),
        reference=REFERENCES[name],
        by="scikit-learn",
        bfloat16=None,
        **SETTINGS[name],
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_bound_kernel_is_the_kernel_of_its_settings(name):
    with jax.enable_x64(True):
        x, z = map(jnp.asarray, data())
        bound: Any = kernels.bind(name, **SETTINGS[name])
        found = jax.jit(lambda kernel, x, z: kernel(x, z))(bound, x, z)
        norms = kernels.squared_norms(x), kernels.squared_norms(z)
        from_products = bound.from_products(kernels.linear(x, z), *norms)
        at_once = kernels.matrix(bound, x, z)
    expected = REFERENCES[name](x, z, **SETTINGS[name])
    properties.agree(kernels.bind, found, expected, by="scikit-learn", rtol=1e-12)
    properties.agree(bound.from_products, from_products, expected, by="scikit-learn", rtol=1e-12)
    properties.agree(kernels.matrix, at_once, expected, by="scikit-learn", rtol=1e-12)


def test_defaults_are_those_of_libsvm():
    x, z = data()
    with jax.enable_x64(True):
        found = {name: kernels.bind(name)(jnp.asarray(x), jnp.asarray(z)) for name in SETTINGS}
    libsvm = {"gamma": 1.0, "coef0": 0.0, "degree": 3}
    for name, settings in SETTINGS.items():
        expected = REFERENCES[name](x, z, **{key: libsvm[key] for key in settings})
        properties.agree(kernels.bind, found[name], expected, by="scikit-learn", rtol=1e-12)


def test_norms_are_those_of_numpy():
    properties.check(
        kernels.squared_norms,
        data()[0],
        reference=lambda x: np.linalg.norm(x, axis=1) ** 2,
        by="NumPy float64",
    )


def test_another_gamma_compiles_nothing_anew():
    x, z = (jnp.asarray(part, jnp.float32) for part in data())
    traced = []

    @jax.jit
    def call(kernel, x, z):
        traced.append(kernel)
        return kernel(x, z)

    for gamma in (0.1, 0.2):
        call(kernels.bind("rbf", gamma=gamma), x, z)
        call(kernels.bind("poly", gamma=gamma, coef0=gamma), x, z)
    assert len(traced) == 2


def test_equal_examples_have_a_gaussian_of_one():
    x = jnp.asarray(data()[0] * 100, jnp.float32)
    diagonal = np.diagonal(kernels.rbf(x, x, 1e-4))
    np.testing.assert_allclose(diagonal, 1, atol=1e-5)
    assert np.asarray(kernels.rbf(x, x, 1.0)).max() <= 1


def test_precomputed_is_what_it_is_given():
    matrix = jnp.eye(3)
    found = kernels.precomputed(matrix[1:], matrix)
    properties.agree(kernels.precomputed, found, np.eye(3)[1:], by="itself", rtol=0)


def test_callables_are_taken_as_they_are():
    x, z = (jnp.asarray(part, jnp.float32) for part in data())
    bound = kernels.bind(kernels.linear)
    assert kernels.bind(bound) is bound
    np.testing.assert_array_equal(bound(x, z), kernels.linear(x, z))
    np.testing.assert_array_equal(kernels.matrix(bound, x, z), kernels.linear(x, z))


def test_errors():
    with pytest.raises(
        InputError, match=r"kernel must be one of .*, got 'rbff'; did you mean 'rbf'\?"
    ):
        kernels.bind("rbff")
    with pytest.raises(InputError, match=r"`gamma` must be non-negative, got -1.0"):
        kernels.bind("rbf", gamma=-1.0)
    with pytest.raises(InputError, match="`degree` must be an int >= 0, got -2"):
        kernels.bind("poly", degree=-2)
