"""SVR against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn import svm
from sklearn.datasets import load_diabetes

from jaxml.errors import InputError
from jaxml.svm import SVR
from tests import properties

X, Y = (part[:200] for part in load_diabetes(return_X_y=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"C": 100.0, "epsilon": 1.0}, {"kernel": "linear", "C": 10.0, "epsilon": 5.0}]
)
def test_the_optimum_is_that_of_libsvm(settings):
    weights = np.random.default_rng(0).uniform(0.0, 2.0, size=len(Y))
    wanted = svm.SVR(**settings, tol=1e-7).fit(X, Y, weights)
    with jax.enable_x64(True):
        found = SVR(**settings, tol=1e-7).fit(X, Y, weights)
        predicted = found.predict(X)
    properties.agree(SVR.predict, predicted, wanted.predict(X), by="scikit-learn", rtol=1e-6)
    np.testing.assert_array_equal(found.support_, wanted.support_)
    np.testing.assert_allclose(found.dual_coef_, wanted.dual_coef_, atol=1e-3)
    np.testing.assert_array_equal(found.n_support_, wanted.n_support_)
    np.testing.assert_allclose(found.intercept_, wanted.intercept_, rtol=1e-6)
    assert 0 <= found.relative_gap_ < 1e-8
    np.testing.assert_allclose(
        found.primal_ - found.dual_, found.duality_gap_, atol=1e-12 * float(found.primal_)
    )


def test_float32_is_near():
    wanted = svm.SVR(C=100.0, tol=1e-6).fit(X, Y)
    found = SVR(C=100.0).fit(np.asarray(X, np.float32), Y)
    np.testing.assert_allclose(found.predict(X), wanted.predict(X), atol=0.01)
    assert found.relative_gap_ < 1e-4


def test_linear_coefficients_are_for_uncentered_data():
    near = 100 * np.asarray(X)
    far = near + 3e3
    found = SVR(kernel="linear", C=0.1, epsilon=5.0).fit(far, Y)
    wanted = svm.SVR(kernel="linear", C=0.1, epsilon=5.0, tol=1e-6).fit(near, Y)
    np.testing.assert_allclose(found.predict(far), wanted.predict(near), atol=0.01)
    np.testing.assert_allclose(far @ found.coef_[0] + found.intercept_, found.predict(far))
    errors = np.maximum(0, np.abs(found.predict(far) - Y) - 5.0)
    primal = found.coef_[0] @ found.coef_[0] / 2 + 0.1 * errors.sum()
    np.testing.assert_allclose(found.primal_, primal, rtol=1e-6)


def test_warm_start_with_another_c():
    model = SVR(C=10.0, warm_start=True).fit(X, Y)
    assert model.fit(X, Y).n_iter_ == 0
    warm = model.set_params(C=3.0).fit(X, Y).predict(X)
    np.testing.assert_allclose(warm, SVR(C=3.0).fit(X, Y).predict(X), atol=0.01)


def test_invalid_epsilon():
    with pytest.raises(InputError, match=r"`epsilon` must be a finite number >= 0 .*, got -0.1"):
        SVR(epsilon=-0.1).fit(X, Y)
